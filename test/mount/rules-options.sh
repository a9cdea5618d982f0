#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Rules on the command line and in a file: what is wrong with them is said before anything is mounted;
# where a file is found; what a remount makes of them.
. "$(dirname "$0")/../lib/lib.sh"
LAST_CLOSE=
need_root
need_fuse
need_commands findmnt pgrep

nothing_left() {
	! grep -q " $MNT " /proc/self/mounts && ! pgrep -f "$WORK/mnt( |$)" >/dev/null
}

# refused PATTERN OPTIONS: status 1, one line like PATTERN, nothing left. 1 check
refused() {
	local status

	output=$(timeout 60 "$MOUNT_CACHEFS" "$SRC" "$MNT" -o "$2" 2>&1 </dev/null)
	status=$?
	if [ $status -eq 1 ] && [ "$(wc -l <<<"$output")" -eq 1 ] && grep -Eq "$1" <<<"$output" &&
		nothing_left; then
		ok "refused: ${2//$WORK\//}"
	else
		not_ok "refused: ${2//$WORK\//}" "status $status, wanted 1, a line like: $1" "$output"
	fi
}

# 6 checks
check_refusals() {
	printf 'a none\nb[ unsafe\n' >"$WORK/bad"
	refused "$WORK/bad:2:2: .*'\\[' is not closed" "rules=$WORK/bad"
	refused "$WORK/nowhere.*No such file" "rules=$WORK/nowhere"
	refused "$WORK/src.*Is a directory" "rules=$SRC"
	refused 'option "rule", column 7 of "\*.img=unsfe".*did you mean "unsafe"' 'rule=*.img=unsfe'
	refused '"=MODE" is missing' 'rule=*.img'
	refused 'did you mean "owner"' modes-by=ownr
}

# The options that are in force, as the daemon says them, without those of every test mount, which stand
# behind.
shown() {
	findmnt -m -no OPTIONS "$MNT" | grep -oE 'cache=.*' |
		sed -E 's/,(kernel-path|engine|threads|[a-z]+-timeout|exclusive|foreground|log-level)\b.*//'
}

in_table() { [ -n "$(shown)" ]; }

# 8 checks
check_in_force() {
	printf 'a none\n' >"$WORK/good"
	ln -s good "$WORK/link"
	cd "$WORK" || bail_out "no work directory"
	must_mount src mnt 'rules=link,rule="x,y=none",modes-by=root'
	soon in_table # in front a daemon answers before its supervisor has written to libmount's table
	is "$(shown)" = "cache=writeback,rules=$WORK/link,rule=x\\,y=none,modes-by=root" \
		"a relative name is made absolute, a link stays"
	succeeds "a remount takes other rules" \
		"$MOUNT_CACHEFS" src mnt -o remount,rules=good,rule=b=unsafe,rule=c=none,modes-by=owner
	is "$(shown)" = "cache=writeback,rules=$WORK/good,rule=b=unsafe,rule=c=none" \
		"which replace those before"
	succeeds "and keeps them where it gives none" "$MOUNT_CACHEFS" src mnt -o remount,cache=unsafe
	is "$(shown)" = "cache=unsafe,rules=$WORK/good,rule=b=unsafe,rule=c=none" "as they were"
	fails "a wrong rule changes nothing" 'unsfe' \
		"$MOUNT_CACHEFS" src mnt -o remount,cache=none,rule=b=unsfe
	fails "nor does more than fits into a remount" 'into a file' \
		"$MOUNT_CACHEFS" src mnt -o "remount,rules=$(printf 'a%.0s' {1..5000})"
	is "$(shown)" = "cache=unsafe,rules=$WORK/good,rule=b=unsafe,rule=c=none" "as before"
	umount_cachefs "$MNT"
}

SRC=$WORK/src
MNT=$WORK/mnt
mkdir "$SRC" "$MNT"
plan $((6 + 8))
check_refusals
check_in_force
