#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The kernel opens the backing file with the client's flags and ignores those of the descriptor that was
# registered. So a mode that a client did not ask for itself would be lost on the kernel path: here are
# clients that ask for nothing, in modes that promise something, seen from the device and the page cache.
# Once on a new mount, once after a remount from a mode that used the kernel path.

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/kpath.sh"
need_root
need_fuse
need_tools kpath ioclient pagestat
need_kernel_path

WRITES=32
CLIENTS="plain libaio io_uring"

# 3 checks
check_client() {
	local text="$1, $2" before n file=f.$2

	exec 9<>"$MNT/$file"
	before=$(flushes "$LOOP")
	succeeds "$text: $WRITES writes" timeout 60 "$TOOLS/ioclient" -m "$2" -q 1 -b 4k \
		-s $((WRITES * 4))k "$MNT/$file"
	n=$(($(flushes "$LOOP") - before))
	case $mode in
	none) is "$n" -eq 0 "$text: no flush that nobody asked for" ;;
	*) is "$n" -eq $WRITES "$text: each write flushed the device" ;;
	esac
	case $mode in
	writethrough) is "$(dirty "$BACK/$file")" -eq 0 "$text: nothing dirty" ;;
	*) is "$(cached "$BACK/$file")" -eq 0 "$text: nothing in the page cache" ;;
	esac
	exec 9>&-
}

used() {
	local client

	for client in $CLIENTS; do
		"$TOOLS/ioclient" -m plain -s 64k -F fsync "$MNT/f.$client" || return 1
	done
	soon all_closed # for what is open now cannot follow
}

make_fs ext4 64M
need_flush_counter
plan $((3 * (2 * 3 * $(wc -w <<<"$CLIENTS") + 3)))
MNT=$WORK/mnt
for client in $CLIENTS; do
	allocate "$BACK/f.$client" 1M
done
for mode in writethrough none directsync; do
	must_mount "$BACK" "$MNT" "cache=$mode"
	for client in $CLIENTS; do
		check_client "$mode" "$client"
	done
	umount_cachefs "$MNT"
	must_mount "$BACK" "$MNT" cache=writeback
	succeeds "writeback, then $mode: files were used on the kernel path" used
	succeeds "writeback, then $mode: remounts" remount "cache=$mode"
	for client in $CLIENTS; do
		check_client "writeback, then $mode" "$client"
	done
	succeeds "$mode: unmounts, the daemon ends" umount_cachefs "$MNT"
done
