#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# How often each mode flushes the device, whatever method the client writes with. Counted by the
# device; the files are allocated before, and there is no journal that would flush by itself.

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/setups.sh"
need_root
need_fuse
need_tools ioclient

CLIENTS="plain odirect odsync mmap libaio io_uring rwf_dsync"
UNSEEN="mmap rwf_dsync"
WRITES=64
FLUSHES=8

# expect SETUP CLIENT FLUSHES: sets min and max for WRITES writes and so many flushes. Stores to a
# mapping reach the daemon by the page, or in runs of pages, whenever the kernel writes them back.
expect() {
	local synchronous=0

	case $1 in
	unsafe* | *without*) min=0 max=0; return ;;
	writethrough | directsync) synchronous=1 ;;
	*) [[ $2 =~ dsync ]] && synchronous=1 ;;
	esac
	min=$(($3 + synchronous * WRITES))
	max=$min
	# the record of the sync attribute, written and removed
	if kernel_path always && [ $synchronous -eq 1 ]; then max=$((max + 8)); fi
	if [ "$2" = mmap ]; then
		[ $synchronous -eq 0 ] || min=$(($3 + 1))
	fi
}

# check MODE CLIENT FLUSHES [ARGUMENT...]: one write or flush at a time, since a device may serve
# several concurrent flushes at once.
check() {
	local mode=$1 client=$2 n=$3 file=f.$2 before

	shift 3
	exec 9<>"$MNT/$file"
	before=$(flushes "$LOOP")
	succeeds "$mode, $client: $WRITES writes, $n flushes" "$TOOLS/ioclient" -m "$client" -q 1 \
		-b 4k -s $((WRITES * 4))k "$@" "$MNT/$file"
	expect "$mode" "$client" "$n"
	between $(($(flushes "$LOOP") - before)) $min $max "$mode, $client: flushes of the device"
	exec 9>&-
}

make_fs ext4 64M
need_flush_counter
count=0
for mode in "${SETUPS[@]}"; do
	count=$((count + 4 * $(clients "$mode" "$CLIENTS" $UNSEEN | wc -w) + 1))
done
plan $count
MNT=$WORK/mnt
for client in $CLIENTS; do
	allocate "$BACK/f.$client" 1M
done
for mode in "${SETUPS[@]}"; do
	must_mount "$BACK" "$MNT" "$(mount_options "$mode")"
	for client in $(clients "$mode" "$CLIENTS" $UNSEEN); do
		flush=fdatasync
		[ "$client" != mmap ] || flush=msync
		check "$mode" "$client" 0
		check "$mode" "$client" $FLUSHES -F $flush -e $((WRITES / FLUSHES))
		settle
	done
	succeeds "$mode: unmounts, the daemon ends" umount_cachefs "$MNT"
done
