#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Another mode while files are open on the kernel path: between writeback and unsafe flushes follow at once, into
# writethrough by the sync attribute; what such a file cannot follow into is refused, and nothing has changed then.

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/kpath.sh"
need_root
need_fuse
need_tools kpath ioclient pagestat
need_kernel_path

N=8

# Writes and fdatasyncs on descriptor 9; prints how many flushes the device saw.
flushed_writes() {
	local before i

	before=$(flushes "$LOOP")
	for ((i = 0; i < N; i++)); do
		dd if=/dev/zero bs=4k count=1 conv=notrunc,fdatasync status=none >&9 || return 1
	done
	echo $(($(flushes "$LOOP") - before))
}

# follow MODE WANT: 2 checks
follow() {
	succeeds "remount to $1 while a file is open and written" remount "cache=$1"
	is "$(flushed_writes)" -eq "$2" "$1: flushes of the device for $N fdatasyncs"
}

# refused MODE: 2 checks
refused() {
	fails "remount to $1 is refused" 'files are open on the kernel path.*kernel-path=never' \
		remount "cache=$1"
	is "$(flushed_writes)" -eq $N "still writeback"
}

start_writer() {
	timeout 60 "$TOOLS/ioclient" -m plain -b 4k -s 1M -n 100000000 "$MNT/busy" >"$WORK/busy.out" 2>&1 &
	writer=$!
}

stop_writer() {
	running "$writer" || { cat "$WORK/busy.out"; return 1; }
	kill "$writer"
	wait "$writer" 2>/dev/null
	timeout 60 "$TOOLS/ioclient" -m odirect -b 4k -s 1M -r "$MNT/busy"
}

make_fs ext4 64M
need_flush_counter
plan 29
MNT=$WORK/mnt
allocate "$BACK/f" 1M
allocate "$BACK/busy" 1M
must_mount "$BACK" "$MNT" cache=writeback
exec 9<>"$MNT/f"
start_writer
is "$(flushed_writes)" -eq $N "writeback: flushes of the device for $N fdatasyncs"
follow unsafe 0
is "$(dirty "$BACK/f")" -gt 0 "unsafe: dirty"
succeeds "remount back to writeback" remount cache=writeback
is "$(dirty "$BACK/f")" -eq 0 "the remount flushed what unsafe had left"
is "$(flushed_writes)" -eq $N "writeback again: flushes of the device"
follow unsafe 0
follow writeback $N
for mode in none directsync; do
	refused $mode
done
succeeds "remount to writethrough: the sync attribute of the inode stands in" remount cache=writethrough
is "$(flushed_writes)" -ge $((2 * N)) "writethrough: each write is flushed, and each fdatasync"
is "$(lsattr "$BACK/f" | cut -c1-8 | tr -d -c S)" = S "the backing file has the attribute"
succeeds "remount to writeback: it is taken away" remount cache=writeback
is "$(lsattr "$BACK/f" | cut -c1-8 | tr -d -c S)" = "" "the backing file has no attribute"
succeeds "the writer ran all the time, and wrote what it should" stop_writer
exec 9>&-
soon all_closed
succeeds "remount to none after the close" remount cache=none
exec 9<>"$MNT/f"
"$TOOLS/ioclient" -m plain -b 4k -s 64k "$MNT/f" >/dev/null
is "$(cached "$BACK/f")" -eq 0 "none: nothing in the page cache"
succeeds "remount to writeback: files that are open stay with the daemon" remount cache=writeback
is "$(flushed_writes)" -eq $N "writeback: flushes of the device"
succeeds "so that a remount to none is possible" remount cache=none
exec 9>&-
soon all_closed
succeeds "remount to writeback with no file open" remount cache=writeback
is "$(who 2>&1)" = "$(on_kernel_path writeback)" "new opens are on the kernel path again"
succeeds "unmounts, the daemon ends" umount_cachefs "$MNT"
