#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the daemon does by itself goes on when the worker is killed: checkpoints are taken and none is left half made,
# writers are held up by dirty-max, and what the kernel has cached of files that change is dropped.

. "$(dirname "$0")/../lib/lib.sh"
LAST_CLOSE=
. "$(dirname "$0")/../lib/crash.sh"
. "$(dirname "$0")/../lib/recover.sh"
need_root
need_fuse
need_tools ioclient mapcheck pagestat

KILLS=12
[ "${CACHEFS_LONG:-0}" != 1 ] || KILLS=200
MAX=$((4 << 20))

checkpoints() { find "$BACK/.cachefs/checkpoints" -type f -name '[0-9]*.[0-9]*' 2>/dev/null; }
newest() { checkpoints | sed 's/.*\///' | sort -n | tail -n 1; }
newer() { [ "$(newest)" != "$1" ]; }
unfinished() { find "$BACK/.cachefs/checkpoints" -name unfinished -o -name '*.new' | wc -l; }
write_64k() {
	head -c 64k /dev/urandom | dd bs=64k iflag=fullblock seek=$((RANDOM % 64)) conv=notrunc status=none of="$MNT/f"
}
writes() {
	local i

	for ((i = 0; i < 20; i++)); do
		write_64k || return 1
		sleep 0.01
	done
}

# 6 checks
check_checkpoints() {
	local old

	must_mount "$BACK" "$MNT" cache=unsafe,checkpoint=1
	exec 8<>"$MNT/f"
	head -c 4M /dev/urandom >&8
	succeeds "checkpoints: there is one" within 20 eval '[ -n "$(checkpoints)" ]'
	kill_worker "$MNT"
	old=$(newest)
	write_64k
	succeeds "checkpoints: a newer one after a kill, of the file that stayed open" within 20 newer "$old"
	succeeds "checkpoints: kills at any moment" under_kills "$KILLS" 100 900 writes
	is "$(checkpoints | wc -l)" -le 2 "checkpoints: two at most"
	old=$(newest)
	write_64k
	succeeds "checkpoints: and they go on" within 20 newer "$old"
	exec 8>&-
	umount_cachefs "$MNT"
	must_mount "$BACK" "$MNT" cache=unsafe,checkpoint=1
	is "$(unfinished)" -eq 0 "checkpoints: nothing half made is left"
	umount_cachefs "$MNT"
}

too_dirty() {
	local now

	now=$("$TOOLS/pagestat" -b "$BACK/g" | sed 's/.*dirty=\([0-9]*\) .*/\1/')
	[ "${now:-0}" -le $((2 * MAX)) ] || echo "$now bytes are dirty"
}

# 3 checks
check_limits() {
	local writer

	must_mount "$BACK" "$MNT" cache=writeback,dirty-max=4M
	allocate "$MNT/g" 64M
	start_kills "$MNT" "$KILLS" 20 200
	timeout 120 "$TOOLS/ioclient" -m plain -b 128k -s 64M "$MNT/g" >"$WORK/writer" 2>&1 &
	writer=$!
	while running "$writer"; do
		too_dirty
		sleep 0.01
	done >"$WORK/dirty"
	wait "$writer"
	is $? -eq 0 "dirty-max: the writer comes to its end"
	is "$(wc -l <"$WORK/dirty")" -eq 0 "dirty-max: and was held up all the time"
	succeeds "dirty-max: as many workers were killed" wait_kills
	umount_cachefs "$MNT"
}

# 2 checks
check_stale() {
	must_mount "$BACK" "$MNT" cache=writeback,kernel-path=never
	truncate -s 64k "$MNT/h"
	succeeds "pages: none of the kernel's own is stale" under_kills "$KILLS" 20 200 timeout 100 "$TOOLS/mapcheck" stale "$MNT/h" 200
	succeeds "pages: nor later" timeout 100 "$TOOLS/mapcheck" stale "$MNT/h" 200
	umount_cachefs "$MNT"
}

MNT=$WORK/mnt
make_fs xfs 320M
must_mount "$BACK" "$MNT" cache=writeback
need_recover "$MNT"
umount_cachefs "$MNT"
plan 11
check_checkpoints
check_limits
check_stale
