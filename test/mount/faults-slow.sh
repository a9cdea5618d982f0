#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The disk stands still under one file's flush: what needs no disk goes on, reads and writes of
# other files as well as names and attributes, by each engine, and with a single loop. And when the
# disk goes on, everything that waited is done.

. "$(dirname "$0")/../lib/lib.sh"
. "$top_srcdir/test/lib/disk-fs.sh"
need_root
need_fuse
need_tools ioclient pagestat
need_disk

LIMIT=60 # seconds for what takes milliseconds; what waits for the disk takes for ever

# A request waits at the frozen disk: the flush is really stuck.
stuck() {
	[ "$(disk_stat waiting)" -gt 0 ]
}

quick() {
	timeout $LIMIT "$@"
}

# The files' own blocks are allocated and cached, so nothing here needs the disk.
check_alive() {
	local text=$1

	succeeds "$text: another cached file can be read" \
		quick "$TOOLS/ioclient" -m plain -b 4k -s 256k -r "$MNT/other"
	succeeds "$text: another file can be written" \
		quick "$TOOLS/ioclient" -m plain -b 4k -s 256k "$MNT/other"
	succeeds "$text: stat" quick stat "$MNT/other" "$MNT/dir/in"
	succeeds "$text: ls" quick ls -la "$MNT" "$MNT/dir"
	succeeds "$text: the file itself can be read" \
		quick "$TOOLS/ioclient" -m plain -b 4k -s 256k -r "$MNT/slow"
}

# check OPTIONS: many flushes stuck, more than a loop has threads.
check() {
	local text=$1 i pids=() failed=0

	must_mount "$BACK" "$MNT" "cache=writeback,$1"
	quick "$TOOLS/ioclient" -m plain -b 4k -s 256k -F fsync "$MNT/slow" >/dev/null
	quick "$TOOLS/ioclient" -m plain -b 4k -s 256k -F fsync "$MNT/other" >/dev/null
	ls -la "$MNT" "$MNT/dir" >/dev/null
	exec 8<>"$MNT/slow"
	"$TOOLS/ioclient" -m plain -b 4k -s 16k "$MNT/slow" >/dev/null
	disk_freeze
	for i in {1..20}; do
		dd if=/dev/null conv=notrunc,fsync status=none >&8 &
		pids+=($!)
	done
	succeeds "$text: a flush waits for the frozen disk" soon stuck
	check_alive "$text"
	for i in "${pids[@]}"; do
		running "$i" || failed=$((failed + 1))
	done
	is $failed -eq 0 "$text: no flush returned before the disk did"
	disk_thaw
	failed=0
	for i in "${pids[@]}"; do
		wait_end "$i" 60 && wait "$i" || failed=$((failed + 1))
	done
	is $failed -eq 0 "$text: all flushes return when the disk goes on"
	exec 8>&-
	is "$(dirty "$BACK/slow")" -eq 0 "$text: and nothing is dirty then"
	succeeds "$text: unmounts, the daemon ends" umount_cachefs "$MNT"
}

# The flushes of several files wait; so do direct writes, which need the disk themselves.
check_many_files() {
	local text="many files, $1" i pids=()

	must_mount "$BACK" "$MNT" "cache=writeback,$1"
	quick "$TOOLS/ioclient" -m plain -b 4k -s 256k -F fsync "$MNT/slow" >/dev/null
	quick "$TOOLS/ioclient" -m plain -b 4k -s 256k -F fsync "$MNT/other" >/dev/null
	ls -la "$MNT" "$MNT/dir" >/dev/null
	for i in {1..12}; do
		"$TOOLS/ioclient" -m plain -b 4k -s 16k "$MNT/dir/f$i" >/dev/null
	done
	disk_freeze
	for i in {1..12}; do
		sync "$MNT/dir/f$i" &
		pids+=($!)
	done
	succeeds "$text: flushes wait for the frozen disk" soon stuck
	sleep 0.3
	check_alive "$text"
	disk_thaw
	for i in "${pids[@]}"; do
		wait_end "$i" 60
	done
	succeeds "$text: unmounts, the daemon ends" umount_cachefs "$MNT"
}

SETUPS=(engine=uring engine=threads engine=uring,threads=1 engine=threads,threads=1)
plan $((${#SETUPS[@]} * (10 + 7)))
new_disk
mkdir "$BACK/dir"
touch "$BACK/dir/in"
allocate "$BACK/slow" 256K
allocate "$BACK/other" 256K
for i in {1..12}; do
	allocate "$BACK/dir/f$i" 64K
done
for setup in "${SETUPS[@]}"; do
	check "$setup"
	check_many_files "$setup"
done
