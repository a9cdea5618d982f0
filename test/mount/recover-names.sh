#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Names are made, renamed, linked and removed by eight threads while the worker is killed again and again:
# each call gives what it gives once (test/lib/namestorm.h), files without a name keep their contents, and
# afterwards the tree, on the mount and in the backing, is what it should be.
# CACHEFS_SEED repeats a run; CACHEFS_LONG=1 makes it 200 kills a mode.

. "$(dirname "$0")/../lib/lib.sh"
LAST_CLOSE=
. "$(dirname "$0")/../lib/modes.sh"
. "$(dirname "$0")/../lib/recover.sh"
need_root
need_fuse
need_tools namestorm

KILLS=10 MAX=500 SECONDS_EACH=3
[ "${CACHEFS_LONG:-0}" != 1 ] || { KILLS=200 MAX=2000 SECONDS_EACH=30; }
KILLS=${RECOVER_KILLS:-$KILLS}
SETUPS=(writeback writeback,kernel-path=never directsync unsafe)

storm() {
	mkdir "$MNT/d.$round" || return 1
	timeout 600 "$TOOLS/namestorm" -S $((KILL_SEED + round)) -s $SECONDS_EACH -w 60 -B "$BACK/d.$round" \
		"$MNT/d.$round" && rmdir "$MNT/d.$round"
}

# What the kernel has forgotten while no worker was there may keep a descriptor each (FORGET is never sent
# again), but not without limit: a kill leaves no more than this.
LEFT=64
few_descriptors() {
	forget
	[ "$(descriptors "$MNT")" -le $((first + LEFT * $(killed))) ]
}

MNT=$WORK/mnt
for setup in "${SETUPS[@]}"; do
	BACK=$WORK/back.$setup
	mkdir "$BACK"
	must_mount "$BACK" "$MNT" "cache=$setup"
	[ $tap_planned -gt 0 ] || { need_recover "$MNT"; plan $((4 * ${#SETUPS[@]})); }
	first=$(descriptors "$MNT")
	succeeds "$setup: each result is exact, through $KILLS kills" under_kills $KILLS 100 $MAX storm
	diag "$setup: $((round + 1)) rounds, $(killed) workers killed, CACHEFS_SEED=$KILL_SEED"
	is "$(find "$BACK" -mindepth 1 -not -path "$BACK/.cachefs*" | head -n 5)" = "" "$setup: nothing is left in the backing"
	succeeds "$setup: no more than $LEFT descriptors a kill are left" soon few_descriptors
	diag "$setup: $first descriptors at first, $(descriptors "$MNT") at the end"
	succeeds "$setup: unmounts, the supervisor ends" umount_cachefs "$MNT"
	rm -rf --one-file-system "$BACK"
done
