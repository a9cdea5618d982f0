#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A full backing filesystem: clients get ENOSPC as they do without the mount, what was accepted is
# kept, and after something was removed writes work again. Each mode, on ext4 and XFS.

. "$(dirname "$0")/../lib/lib.sh"
need_root
need_fuse
need_commands setpriv
need_tools ioclient

LEFT=$((12 << 20)) # bytes that a test may fill; filling a whole XFS takes too long
BLOCK=65536

# Takes all but about LEFT of BACK away.
take_space() {
	local free

	free=$(df -B1 --output=avail "$BACK" | tail -n 1)
	fallocate -l $((free - LEFT)) "$BACK/taken" || bail_out "fallocate on $BACK failed"
}

# fill FILE: until it is full; prints ioclient's message.
fill() {
	timeout 60 "$TOOLS/ioclient" -m plain -b $BLOCK -s 1G "$1" 2>&1
}

has_space() {
	[ "$(stat -f -c %a "$BACK")" -ge $((8 * 256)) ]
}

whole_blocks() {
	echo $(($(stat -c %s "$1") / BLOCK * BLOCK))
}

verify() {
	timeout 60 "$TOOLS/ioclient" -m plain -b $BLOCK -r -s "$(whole_blocks "$1")" "$1"
}

check() {
	local text="$1, $2" size

	must_mount "$BACK" "$MNT" "cache=$2"
	fails "$text: a full filesystem is ENOSPC" 'No space left on device' fill "$MNT/full"
	size=$(whole_blocks "$MNT/full")
	is "$size" -ge $((native * 9 / 10)) "$text: as much was written as without the mount"
	fails "$text: still ENOSPC" 'No space left on device' \
		timeout 60 dd if=/dev/zero of="$MNT/full2" bs=64k count=400 conv=fsync
	succeeds "$text: fsync of what was accepted" timeout 60 sync "$MNT/full"
	succeeds "$text: what was accepted reads back" verify "$MNT/full"
	succeeds "$text: preallocation is refused, not hung" \
		bash -c '! timeout 60 fallocate -l 64M "$1" 2>&1' - "$MNT/full3"
	rm -f "$MNT/full2" "$MNT/full3"
	succeeds "$text: an overwrite works on the full filesystem" timeout 60 \
		"$TOOLS/ioclient" -m plain -b $BLOCK -s $((1 << 20)) -F fsync "$MNT/full"
	cp "$MNT/full" "$WORK/kept"
	rm "$MNT/full"
	# its blocks are free once the kernel has forgotten the inode, a moment after the reply
	soon has_space
	succeeds "$text: after removing it, writes and their fsync work" timeout 60 \
		"$TOOLS/ioclient" -m plain -b $BLOCK -s 4M -F fsync "$MNT/again"
	succeeds "$text: unmounts, the daemon ends" umount_cachefs "$MNT"
	succeeds "$text: the backing holds the bytes" verify "$BACK/again"
	succeeds "$text: the full file was complete" verify "$WORK/kept"
	rm "$BACK/again"
	sync -f "$BACK"
}

# Blocks reserved for root are not a user's, though root's daemon writes for it.
check_reserved() {
	local text="reserved blocks, $1" user native

	rm -rf "$BACK/user"
	install -d -m 777 "$BACK/user"
	setpriv --reuid 65534 --regid 65534 --clear-groups bash -c \
		'cat /dev/zero >"$1" 2>/dev/null' - "$BACK/user/f"
	native=$(stat -c %s "$BACK/user/f")
	rm "$BACK/user/f"
	sync -f "$BACK"
	must_mount "$BACK" "$MNT" "cache=$1"
	fails "$text: a user's write is ENOSPC" 'No space left on device' \
		setpriv --reuid 65534 --regid 65534 --clear-groups \
		timeout 60 dd if=/dev/zero of="$MNT/user/f" bs=64k
	user=$(stat -c %s "$MNT/user/f")
	between "$user" $((native * 9 / 10)) $((native * 11 / 10)) \
		"$text: when it is without the mount"
	fails "$text: nor does fallocate take them" 'No space left on device' \
		setpriv --reuid 65534 --regid 65534 --clear-groups \
		timeout 60 fallocate -l 2M "$MNT/user/g"
	rm -f "$MNT/user/f" "$MNT/user/g"
	succeeds "$text: unmounts" umount_cachefs "$MNT"
}

# A limit on a user's blocks, or on a subvolume's where XFS has no quota: it holds for user 65534 in
# $BACK/user, though root's daemon writes, and does not for root in $BACK/root.
make_quota() {
	make_fs xfs 320M
	umount "$BACK"
	if mount -t xfs -o uquota "/dev/$LOOP" "$BACK" 2>/dev/null &&
		xfs_quota -x -c 'limit bhard=4m 65534' "$BACK" >/dev/null 2>&1; then
		quota="a user's on XFS"
		mkdir "$BACK/user"
	elif command -v mkfs.btrfs >/dev/null &&
		{ modprobe -q btrfs; grep -qw btrfs /proc/filesystems; } &&
		make_fs btrfs 128M && btrfs quota enable "$BACK" >/dev/null 2>&1 &&
		btrfs subvolume create "$BACK/user" >/dev/null 2>&1 &&
		btrfs qgroup limit 4M "$BACK/user" >/dev/null 2>&1; then
		quota="a subvolume's on btrfs"
	fi
	install -d -m 777 "$BACK/user"
	mkdir "$BACK/root"
}

check_quota() {
	local text="quota ($quota), $1"

	if [ -z "$quota" ]; then
		skip 4 "no quota on XFS and btrfs here"
		return
	fi
	must_mount "$BACK" "$MNT" "cache=$1"
	fails "$text: a user's write beyond it is EDQUOT" 'Disk quota exceeded' \
		setpriv --reuid 65534 --regid 65534 --clear-groups \
		timeout 60 dd if=/dev/zero of="$MNT/user/f" bs=64k count=200
	between "$(stat -c %s "$MNT/user/f")" $((2 << 20)) $((4 << 20)) \
		"$text: what the quota allows was written"
	succeeds "$text: writes elsewhere are not concerned" \
		timeout 60 dd if=/dev/zero of="$MNT/root/g" bs=64k count=200 conv=fsync
	rm -f "$MNT/user/f" "$MNT/root/g"
	succeeds "$text: unmounts" umount_cachefs "$MNT"
	sync -f "$BACK"
}

check_filesystem() {
	local mode

	make_fs "$1" "$2"
	take_space
	fill "$BACK/full" >/dev/null
	native=$(whole_blocks "$BACK/full")
	rm "$BACK/full"
	sync -f "$BACK"
	for mode in $MODES; do
		check "$1" "$mode"
	done
}

MNT=$WORK/mnt
plan $((2 * 5 * 11 + 5 * 4 + 5 * 4))
check_filesystem ext4 64M
check_filesystem xfs 320M
make_fs ext4 24M -m 20
for mode in $MODES; do
	check_reserved "$mode"
done
quota=
make_quota
for mode in $MODES; do
	check_quota "$mode"
done
