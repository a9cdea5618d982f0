#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Under unsafe, what the daemon does not see it cannot drop: msync and single writes with RWF_DSYNC
# reach the device on the kernel path. Nothing else does, and kernel-path=never drops these too.

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

# The last close flushes in the background: not into the next count.
settle() {
	local last=-1 current i

	sync -f "$BACK"
	for ((i = 0; i < 50; i++)); do
		current=$(flushes "$LOOP")
		[ "$current" -ne "$last" ] || break
		last=$current
		sleep 0.1
	done
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

make_fs ext4 64M
need_flush_counter
plan $((2 * 21))
MNT=$WORK/mnt
allocate "$BACK/f" 1M
check auto $N
check never 0
