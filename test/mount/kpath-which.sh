#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Which opens are on the kernel path: their reads and writes go on while the daemon is stopped, others
# wait for it. In each mode, with each kind of client; all of them have the same file open.

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/kpath.sh"
need_root
need_fuse
need_tools kpath
need_kernel_path

# check OPTIONS WANT: 2 checks
check() {
	must_mount "$BACK" "$MNT" "$1"
	is "$(who 2>&1)" = "$2" "$1: who serves what"
	succeeds "$1: unmounts, the daemon ends" umount_cachefs "$MNT"
}

plan $((5 * 2 + 4 * 2))
make_fs ext4 64M
MNT=$WORK/mnt
for mode in $MODES; do
	check "cache=$mode" "$(on_kernel_path "$mode")"
done
check "cache=none,cache.no-flush=on" "$ON_DAEMON"
check "cache=writeback,kernel-path=never" "$ON_DAEMON"
check "cache=unsafe,kernel-path=never" "$ON_DAEMON"
check "cache=writeback,kernel-path=auto,engine=threads" "$(on_kernel_path writeback)"
