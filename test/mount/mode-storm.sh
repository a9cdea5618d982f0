#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Modes set at random, with wrong values and wrong ioctls among them, from several threads on files that are being
# read, written, renamed and reloaded: the daemon lives, answers with documented errors only, and serves
# the modes that it says afterwards.
#	CACHEFS_STORM_SEED	repeats a run

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/modes.sh"
need_root
need_fuse
need_commands getfattr setfattr
need_tools ctlstorm ioclient modectl pagestat

seconds=$([ "${CACHEFS_LONG:-0}" = 1 ] && echo 60 || echo 3)
seed=${CACHEFS_STORM_SEED:-$((RANDOM << 15 | RANDOM))}

# The kernel may believe for a moment that the file has no name left: "Link counts" in doc/kernel-facts.md.
linked() { ln "$MNT/b" "$MNT/b.wt" 2>"$WORK/link.out" || ! grep -q 'No such file' "$WORK/link.out"; }

# Renames, links and reloads beside it.
disturb() {
	local i

	for ((i = 0; ; i++)); do
		[ ! -e "$WORK/stop" ] || return 0
		mv "$MNT/c" "$MNT/c.wt"
		soon linked
		cat "$WORK/link.out" >&2
		[ $((i % 20)) -ne 0 ] || kill -HUP "$1"
		mv "$MNT/c.wt" "$MNT/c"
		rm "$MNT/b.wt"
		cat "$MNT/.cachefs/status.json" >"$WORK/status"
	done
}

# 5 checks
check() {
	local disturber mode

	must_mount "$BACK" "$MNT" "cache=writeback,kernel-path=$1,rule=*.wt=writethrough"
	disturb "$(daemon_pid "$MNT")" 2>"$WORK/disturb.out" &
	disturber=$!
	succeeds "$1: only documented errors, seed $seed" timeout 200 "$TOOLS/ctlstorm" "$seconds" "$seed" \
		"$MNT/a" "$MNT/b" "$MNT/d" "$MNT/e" "$MNT/dir" "$MNT"
	diag "$output"
	touch "$WORK/stop"
	wait $disturber
	rm "$WORK/stop"
	is "$(cat "$WORK/disturb.out")" = "" "$1: nor did those beside it fail"
	succeeds "$1: the daemon lives" running "$(daemon_pid "$MNT")"
	soon all_closed
	for mode in $MODES; do
		set_now a "$mode"
		[ "$mode $mode" = "$(now a) $(acts_as a)" ] || diag "$mode: $(now a) $(acts_as a)"
	done >"$WORK/modes.out"
	is "$(cat "$WORK/modes.out")" = "" "$1: a file can have each mode, and acts so"
	succeeds "$1: unmounts, the daemon ends" umount_cachefs "$MNT"
}

make_fs ext4 64M
need_flush_counter
plan $((2 * 5))
MNT=$WORK/mnt
mkdir "$BACK/dir"
for f in a b c d e; do
	allocate "$BACK/$f" 64K
done
check never
check auto
