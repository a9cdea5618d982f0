#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Random operations on a file of the mount, compared with a plain file, while the worker is killed again and
# again: each mode, by four threads, with and without O_DIRECT.
# CACHEFS_SEED repeats a run; CACHEFS_LONG=1 makes it 200 kills a mode.

. "$(dirname "$0")/../lib/lib.sh"
LAST_CLOSE=
. "$(dirname "$0")/../lib/setups.sh"
. "$(dirname "$0")/../lib/recover.sh"
need_root
need_fuse
need_tools opstorm

KILLS=8 MAX=500 OPS=2000
[ "${CACHEFS_LONG:-0}" != 1 ] || { KILLS=200 MAX=2000 OPS=20000; }
KILLS=${RECOVER_KILLS:-$KILLS}

storm() {
	# shellcheck disable=SC2046
	timeout 600 "$TOOLS/opstorm" $(storm_options "$1") -t 4 -S $((KILL_SEED + round)) -n $OPS \
		"$MNT/storm" "$WORK/plain"
}

MNT=$WORK/mnt
for mode in $MODES; do
	BACK=$WORK/back.$mode
	mkdir "$BACK"
	must_mount "$BACK" "$MNT" "cache=$mode"
	[ $tap_planned -gt 0 ] || { need_recover "$MNT"; plan $((2 * $(wc -w <<<"$MODES"))); }
	succeeds "$mode: as on a plain file, through $KILLS kills" under_kills $KILLS 100 $MAX storm "$mode"
	diag "$mode: $((round + 1)) rounds of $OPS operations, $(killed) workers killed, CACHEFS_SEED=$KILL_SEED"
	succeeds "$mode: unmounts, the supervisor ends" umount_cachefs "$MNT"
	rm -rf --one-file-system "$BACK"
done
