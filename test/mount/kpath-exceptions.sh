#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The exceptions that doc/modes.md lists, and where each one ends. Under unsafe, what the daemon does not see it
# cannot drop: msync and single writes with RWF_DSYNC reach the device on the kernel path. Nothing else does,
# and kernel-path=never drops these too. Under kernel-path=always, mappings use the page cache of the backing
# file in every mode, until a flush, and O_DIRECT has the backing's alignment. syncfs(2) reaches no daemon.

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/kpath.sh"
need_root
need_fuse
need_tools kpath ioclient pagestat
need_kernel_path

N=16

# count TEXT WANT CLIENT [ARGUMENT...]: flushes of the device. 2 checks
count() {
	local text=$1 want=$2 client=$3 before file=$MNT/f

	shift 3
	exec 9<>"$file"
	before=$(flushes "$LOOP")
	succeeds "$text: runs" timeout 60 "$TOOLS/ioclient" -m "$client" -q 1 -b 4k -s $((N * 4))k \
		"$@" "$file"
	is $(($(flushes "$LOOP") - before)) -eq "$want" "$text: flushes of the device"
	exec 9>&-
	settle
}

# check OPTION EXCEPTED: 10 * 2 + 1 checks
check() {
	must_mount "$BACK" "$MNT" "cache=unsafe,kernel-path=$1"
	count "$1: RWF_DSYNC" "$2" rwf_dsync
	count "$1: msync" "$2" mmap -F msync -e 1
	count "$1: fsync" 0 plain -F fsync -e 1
	count "$1: fdatasync" 0 plain -F fdatasync -e 1
	count "$1: fdatasync by libaio" 0 libaio -F fdatasync -e 1
	count "$1: fdatasync by io_uring" 0 io_uring -F fdatasync -e 1
	count "$1: opened O_DSYNC" 0 odsync
	count "$1: opened O_SYNC" 0 osync
	count "$1: opened O_DIRECT" 0 odirect -F fdatasync -e 1
	count "$1: a mapping without msync" 0 mmap
	succeeds "$1: unmounts, the daemon ends" umount_cachefs "$MNT"
}

# check_mapped MODE: 6 checks
check_mapped() {
	must_mount "$BACK" "$MNT" "cache=$1,kernel-path=always"
	exec 9<>"$MNT/f"
	succeeds "always, $1: stores to a mapping" "$TOOLS/ioclient" -m mmap -b 4k -s $((N * 4))k "$MNT/f"
	is "$(cached "$BACK/f")" -gt 0 "always, $1: stores to a mapping are cached"
	succeeds "always, $1: fsync" sync "$MNT/f"
	is "$(dirty "$BACK/f")" -eq 0 "always, $1: nothing dirty after it"
	exec 9>&-
	drop_cache "$BACK/f"
	succeeds "always, $1: the disk has the bytes" \
		"$TOOLS/ioclient" -m odirect -r -b 4k -s $((N * 4))k "$BACK/f"
	succeeds "always, $1: unmounts, the daemon ends" umount_cachefs "$MNT"
}

# check_alignment MODE: 5 checks
check_alignment() {
	local client=("$TOOLS/ioclient" -m odirect -s 64000 -b 1000 -o 512)

	must_mount "$BACK" "$MNT" "cache=$1,kernel-path=always"
	fails "always, $1: unaligned O_DIRECT" "Invalid argument" "${client[@]}" "$MNT/f"
	succeeds "always, $1: unaligned without O_DIRECT" "${client[@]/odirect/plain}" "$MNT/f"
	umount_cachefs "$MNT"
	must_mount "$BACK" "$MNT" "cache=$1,kernel-path=auto"
	succeeds "auto, $1: unaligned O_DIRECT" "${client[@]}" "$MNT/f"
	is "$(cached "$BACK/f")" -eq 0 "auto, $1: unaligned O_DIRECT is not cached"
	succeeds "auto, $1: unmounts, the daemon ends" umount_cachefs "$MNT"
}

# 4 checks
check_syncfs() {
	must_mount "$BACK" "$MNT" cache=writeback,kernel-path=auto
	exec 9<>"$MNT/f"
	"$TOOLS/ioclient" -m plain -b 4k -s $((N * 4))k "$MNT/f" >/dev/null
	succeeds "syncfs succeeds" sync -f "$MNT"
	is "$(dirty "$BACK/f")" -gt 0 "and flushes nothing"
	sync "$MNT/f"
	is "$(dirty "$BACK/f")" -eq 0 "fsync does"
	exec 9>&-
	succeeds "syncfs: unmounts, the daemon ends" umount_cachefs "$MNT"
}

make_fs ext4 64M
need_flush_counter
plan $((2 * 21 + 3 * 6 + 2 * 5 + 4))
MNT=$WORK/mnt
allocate "$BACK/f" 1M
check auto $N
check never 0
for mode in writethrough none directsync; do
	check_mapped $mode
done
check_alignment none
check_alignment directsync
check_syncfs
