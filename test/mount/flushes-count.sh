#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# How often each mode flushes the device, whatever method the client writes with. Counted by the
# device; the files are allocated before, and there is no journal that would flush by itself.

. "$(dirname "$0")/../lib/lib.sh"
need_root
need_fuse
need_tools ioclient

CLIENTS="plain odirect odsync mmap libaio io_uring rwf_dsync"
SETUPS=(writethrough writeback none directsync unsafe "unsafe by the daemon" "none without flushes")
WRITES=64
FLUSHES=8

# clients SETUP: on the kernel path nobody can drop msync and RWF_DSYNC (kpath-exceptions.sh has those).
clients() {
	case $1 in
	unsafe) echo "plain odirect odsync libaio io_uring" ;;
	unsafe*) if kernel_path_always; then clients unsafe; else echo "$CLIENTS"; fi ;;
	writeback) echo "$CLIENTS" ;;
	*) if kernel_path_always; then echo "${CLIENTS/mmap/}"; else echo "$CLIENTS"; fi ;;
	esac
}

# mount_options SETUP
mount_options() {
	case $1 in
	none\ *) echo "cache=none,cache.no-flush=on" ;;
	unsafe\ *) echo "cache=unsafe,kernel-path=never" ;;
	*) echo "cache=$1" ;;
	esac
}

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
	if kernel_path_always && [ $synchronous -eq 1 ]; then max=$((max + 8)); fi
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

# Under unsafe the last close flushes in the background: not into the next count.
settle() {
	local last=-1 now i

	sync -f "$BACK"
	for ((i = 0; i < 50; i++)); do
		now=$(flushes "$LOOP")
		[ "$now" -ne "$last" ] || break
		last=$now
		sleep 0.1
	done
}

make_fs ext4 64M
need_flush_counter
count=0
for mode in "${SETUPS[@]}"; do
	count=$((count + 4 * $(clients "$mode" | wc -w) + 1))
done
plan $count
MNT=$WORK/mnt
for client in $CLIENTS; do
	allocate "$BACK/f.$client" 1M
done
for mode in "${SETUPS[@]}"; do
	must_mount "$BACK" "$MNT" "$(mount_options "$mode")"
	for client in $(clients "$mode"); do
		flush=fdatasync
		[ "$client" != mmap ] || flush=msync
		check "$mode" "$client" 0
		check "$mode" "$client" $FLUSHES -F $flush -e $((WRITES / FLUSHES))
		settle
	done
	succeeds "$mode: unmounts, the daemon ends" umount_cachefs "$MNT"
done
