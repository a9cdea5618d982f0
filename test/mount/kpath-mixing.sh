#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Any order and mixture of opens and mappings of one file, on the kernel path and beside it: no EIO, no
# ENODEV, no wrong byte. And nothing stays registered after the last close: the space of a file comes
# back only when the kernel has let go of it.

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/kpath.sh"
need_root
need_fuse
need_tools kpath
need_kernel_path

SECONDS_EACH=4
[ "${CACHEFS_LONG:-0}" != 1 ] || SECONDS_EACH=120
FILES=20

free_kib() {
	sync -f "$BACK"
	df -k --output=avail "$BACK" | tail -n 1
}

# Eventually; the kernel forgets an inode a little after its last close.
space_is_back() {
	soon enough "$1" || { echo "free: $(free_kib) KiB, before: $1 KiB"; return 1; }
}
enough() { [ "$(free_kib)" -ge "$1" ]; }

# Files that are open twice, unlinked, then closed.
use_and_unlink() {
	local i f

	for ((i = 0; i < FILES; i++)); do
		f=$MNT/gone$i
		head -c 1M /dev/zero >"$f" || return 1
		{
			rm "$f"
			head -c 4096 <&7 >/dev/null && head -c 4096 /dev/zero >&8
		} 7<"$f" 8<>"$f" || return 1
	done
}

# 9 checks
check() {
	local before

	must_mount "$BACK" "$MNT" "cache=$1"
	echo >"$MNT/first" # what cachefs itself keeps in the backing is there then
	before=$(free_kib)
	succeeds "$1: every pair, in both orders" timeout 60 "$TOOLS/kpath" mix "$MNT/mix"
	diag "$output"
	succeeds "$1: 100 threads on one file" \
		timeout 60 "$TOOLS/kpath" storm "$MNT" 1 100 $SECONDS_EACH
	diag "$output"
	succeeds "$1: 100 threads on 7 files" \
		timeout 60 "$TOOLS/kpath" storm "$MNT" 7 100 $SECONDS_EACH
	diag "$output"
	rm "$MNT"/storm* "$MNT/mix"
	succeeds "$1: after that nothing holds the files" space_is_back "$before"
	exec 9<>"$MNT/held"
	head -c 4M /dev/zero >&9
	rm "$MNT/held"
	is "$(free_kib)" -le $((before - 4096)) "$1: an open file keeps its space"
	exec 9>&-
	succeeds "$1: and gives it back when it is closed" space_is_back "$before"
	succeeds "$1: $FILES files used, unlinked and closed" use_and_unlink
	succeeds "$1: nothing holds those files" space_is_back "$before"
	succeeds "$1: unmounts, the daemon ends" umount_cachefs "$MNT"
}

plan $((2 * 9 + 1))
make_fs ext4 64M
MNT=$WORK/mnt
check writeback
check unsafe
succeeds "the backing filesystem is free" umount "$BACK"
