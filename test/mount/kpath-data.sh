#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the kernel path writes, everybody sees, and what others write, it sees: appends, truncation,
# mappings, splice, sizes, times, privileges, unlinked files. The same on every backing filesystem, and
# with the daemon alone.

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/kpath.sh"
need_root
need_fuse
need_tools kpath ioclient
need_kernel_path

# written by METHOD: no daemon sees it. 3 checks
check_method() {
	succeeds "$1, $2: writes" timeout 60 "$TOOLS/ioclient" -m "$2" -s 1M -b 4k "$MNT/m"
	succeeds "$1, $2: an O_DIRECT client reads it" \
		timeout 60 "$TOOLS/ioclient" -m odirect -r -s 1M -b 4k "$MNT/m"
	succeeds "$1, $2: the backing has it" "$TOOLS/ioclient" -m plain -r -s 1M "$BACK/m"
	rm "$MNT/m"
}

METHODS="plain mmap libaio io_uring splice sendfile"

# 9 + 3 a method checks
check() {
	local m

	must_mount "$BACK" "$MNT" "$2"
	data_checks "$1"
	for m in $METHODS; do
		check_method "$1" "$m"
	done
	succeeds "$1: unmounts, the daemon ends" umount_cachefs "$MNT"
	rm -rf "${BACK:?}"/*
}

each=$((9 + 3 * $(wc -w <<<"$METHODS")))
plan $((5 * each))
make_fs ext4 96M
MNT=$WORK/mnt
check "ext4, writeback" cache=writeback
check "ext4, unsafe" cache=unsafe
check "ext4, writeback, never" cache=writeback,kernel-path=never
for type in xfs btrfs; do
	modprobe -q $type 2>/dev/null
	if command -v mkfs.$type >/dev/null && grep -qw $type /proc/filesystems; then
		make_fs $type 320M
		check "$type, writeback" cache=writeback
	else
		skip $each "no $type here"
	fi
done
