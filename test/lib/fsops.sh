# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Tests that compare a mount with a plain directory of the same filesystem, by the program fsops.
# Source lib.sh first. NATIVE and MNT must be set before same is called.

same_count=0

# same TEXT: runs the script on standard input in a new directory of mode 1777 in $NATIVE and in
# $MNT; one check that both print the same. What the mount printed is in $output.
same() {
	local text=$1 base script=$WORK/script d

	cat >"$script"
	same_count=$((same_count + 1))
	for base in "$NATIVE" "$MNT"; do
		d=$base/d$same_count
		mkdir "$d" && chmod 1777 "$d"
		if ! "$TOOLS/fsops" "$d" <"$script" >"$WORK/out.$(basename "$base")" 2>&1; then
			not_ok "$text" "fsops in $d:" \
				"$(tail -n 3 "$WORK/out.$(basename "$base")")"
			return 1
		fi
	done
	output=$(cat "$WORK/out.$(basename "$MNT")")
	if diff -U 2 "$WORK/out.$(basename "$NATIVE")" "$WORK/out.$(basename "$MNT")" \
		>"$WORK/same.diff"; then
		ok "$text"
	else
		not_ok "$text" "natively (-) and on the mount (+):" "$(tail -n +3 "$WORK/same.diff")"
	fi
}

# same_mount [OPTIONS]: NATIVE, BACK and MNT on the filesystem of the work directory; mounted.
same_mount() {
	NATIVE=$WORK/native
	BACK=$WORK/back
	MNT=$WORK/mnt
	mkdir -p "$NATIVE" "$BACK"
	must_mount "$BACK" "$MNT" "$1"
}
