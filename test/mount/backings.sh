#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What can stand below: ext4, XFS, btrfs, tmpfs, overlayfs, read-only ones; each mode mounts and
# works, or is refused with the reason. And how SOURCE and MOUNTPOINT may lie to each other.

. "$(dirname "$0")/../lib/lib.sh"
need_root
need_fuse
need_tools ioclient

# refused TEXT PATTERN SRC OPTIONS: one line, status 32, nothing mounted. 4 checks
refused() {
	local text=$1 pattern=$2 status

	"$MOUNT_CACHEFS" "$3" "$MNT" -o "$4" >"$WORK/refused" 2>&1
	status=$?
	is $status -eq 32 "$text: status 32"
	is "$(wc -l <"$WORK/refused")" -eq 1 "$text: one line"
	if grep -Eq "$pattern" "$WORK/refused"; then
		ok "$text: says why"
	else
		not_ok "$text: says why" "wanted: $pattern" "$(cat "$WORK/refused")"
	fi
	succeeds "$text: nothing is mounted" not_mounted
}

not_mounted() {
	! grep -q " $MNT " /proc/self/mounts
}

# serves TEXT OPTIONS: data, flush, names, and what the backing then holds. 7 checks
serves() {
	local text=$1

	must_mount "$BACK" "$MNT" "$2"
	succeeds "$text: writes and fsync, aligned" \
		"$TOOLS/ioclient" -m plain -s 256k -b 4k -F fsync "$MNT/a"
	succeeds "$text: unaligned" \
		"$TOOLS/ioclient" -m plain -s 100000 -b 1000 -o 777 -F fdatasync "$MNT/a"
	succeeds "$text: reads back" \
		"$TOOLS/ioclient" -m plain -r -s 100000 -b 1000 -o 777 "$MNT/a"
	succeeds "$text: rename, link, mkdir" names
	fails "$text: ENOENT" 'No such file' cat "$MNT/a"
	succeeds "$text: unmounts, the daemon ends" umount_cachefs "$MNT"
	succeeds "$text: the backing holds it" \
		"$TOOLS/ioclient" -m plain -r -s 100000 -b 1000 -o 777 "$BACK/d/b"
	rm -rf "$BACK/d" "$BACK/c"
}

names() {
	mkdir "$MNT/d" && mv "$MNT/a" "$MNT/d/b" && ln "$MNT/d/b" "$MNT/c" &&
		[ "$(stat -c %h "$MNT/c")" = 2 ] && [ "$(ls "$MNT")" = $'c\nd' ]
}

# serves_all TYPE: 5 * 7 checks
serves_all() {
	local mode

	rm -rf "$BACK/lost+found"
	for mode in $MODES; do
		serves "$1, $mode" "cache=$mode"
	done
}

# check_memory TYPE: what has no direct I/O. 3 * 7 + 3 * 4 checks
check_memory() {
	local mode

	for mode in writethrough writeback unsafe; do
		serves "$1, $mode" "cache=$mode"
	done
	for mode in none directsync; do
		refused "$1, $mode" "$BACK.*direct I/O.*cache=$mode" "$BACK" "cache=$mode"
	done
	refused "$1, a switch" "$BACK.*direct I/O.*cache.direct=on" "$BACK" \
		"cache=unsafe,cache.direct=on"
}

# check_readonly TEXT: $BACK is read-only and has a file f of 64k. 5 * 4 checks
check_readonly() {
	local mode

	for mode in $MODES; do
		must_mount "$BACK" "$MNT" "cache=$mode"
		succeeds "$1, $mode: reads" "$TOOLS/ioclient" -m plain -r -s 64k "$MNT/f"
		fails "$1, $mode: open for writing is EROFS" 'Read-only file system' \
			dd if=/dev/zero of="$MNT/f" conv=notrunc count=1 status=none
		fails "$1, $mode: so is mkdir" 'Read-only file system' mkdir "$MNT/d"
		succeeds "$1, $mode: unmounts, the daemon ends" umount_cachefs "$MNT"
	done
}

track_mount() {
	echo "$1" >>"$WORK/mounts"
}

check_filesystems() {
	local type

	for type in ext4 xfs btrfs; do
		modprobe -q "$type" 2>/dev/null
		if command -v "mkfs.$type" >/dev/null && grep -qw "$type" /proc/filesystems; then
			make_fs "$type" 320M
			serves_all "$type"
		else
			skip 35 "no $type here"
		fi
	done
}

check_tmpfs() {
	BACK=$WORK/tmpfs
	mkdir "$BACK"
	mount -t tmpfs none "$BACK" && track_mount "$BACK"
	check_memory tmpfs
}

check_overlay() {
	local disk

	make_fs ext4 64M
	disk=$BACK
	mkdir "$disk"/{lower,upper,work}
	"$TOOLS/ioclient" -m plain -s 64k "$disk/lower/low" >/dev/null
	BACK=$WORK/overlay
	mkdir "$BACK"
	if ! mount -t overlay overlay "$BACK" \
		-o "lowerdir=$disk/lower,upperdir=$disk/upper,workdir=$disk/work"; then
		skip 37 "no overlayfs here"
		return
	fi
	track_mount "$BACK"
	rm "$disk/lower/low"
	serves_all overlay
	# a file that is copied up when it is written
	umount "$BACK"
	"$TOOLS/ioclient" -m plain -s 64k "$disk/lower/low" >/dev/null
	mount -t overlay overlay "$BACK" \
		-o "lowerdir=$disk/lower,upperdir=$disk/upper,workdir=$disk/work"
	must_mount "$BACK" "$MNT" cache=writeback
	exec 7<"$MNT/low"
	echo new | dd of="$MNT/low" conv=notrunc,fsync status=none
	is "$(head -c 3 "$MNT/low")" = new "overlay: a file is copied up and then read"
	exec 7<&-
	succeeds "overlay: unmounts after it" umount_cachefs "$MNT"
}

check_readonly_backings() {
	local writable

	make_fs ext4 32M
	"$TOOLS/ioclient" -m plain -s 64k "$BACK/f" >/dev/null
	writable=$BACK
	mkdir "$WORK/ro"
	mount --bind "$BACK" "$WORK/ro" && mount -o remount,bind,ro "$WORK/ro"
	track_mount "$WORK/ro"
	BACK=$WORK/ro
	check_readonly "read-only bind"
	umount "$WORK/ro" && umount "$writable" && mount -o ro "/dev/$LOOP" "$WORK/ro"
	check_readonly "read-only filesystem"
}

# 13 checks, and one more under kernel-path=always
check_places() {
	local src=$WORK/place

	mkdir -p "$src/sub" "$src/below" "$WORK/links" "$WORK/mnt2"
	echo text >"$src/file"
	mount -t tmpfs none "$src/below" && track_mount "$src/below"
	echo hidden >"$src/below/not-served"

	must_mount "$src" "$MNT" cache=writeback
	is "$(ls "$MNT/below")" = "" "what is mounted below SOURCE is not served"
	if kernel_path always; then
		fails "a second mount that needs the lock as well is refused" \
			"$src: another mount of it owns the sync attributes" \
			"$MOUNT_CACHEFS" "$src" "$WORK/mnt2" -o "cache=unsafe,$CACHEFS_TEST_OPTS"
		must_mount "$src" "$WORK/mnt2" cache=writeback,kernel-path=auto
	else
		must_mount "$src" "$WORK/mnt2" cache=unsafe
	fi
	echo two >"$WORK/mnt2/file"
	is "$(cat "$MNT/file")" = two "two mounts of one SOURCE serve the same file"
	succeeds "the second unmounts" umount_cachefs "$WORK/mnt2"
	succeeds "the first unmounts" umount_cachefs "$MNT"

	must_mount "$src" "$src/sub" cache=none
	is "$(timeout 60 cat "$src/sub/file")" = two "MOUNTPOINT inside SOURCE"
	is "$(timeout 60 ls "$src/sub/sub")" = "" "the mount itself is not served"
	succeeds "it unmounts" umount_cachefs "$src/sub"

	ln -s "$src" "$WORK/links/src"
	ln -s "$MNT" "$WORK/links/mnt"
	must_mount "$WORK/links/src" "$WORK/links/mnt" cache=directsync
	is "$(findmnt -no SOURCE "$MNT")" = "$src" "symbolic links: the source shown is the real one"
	succeeds "symbolic links: unmounts" umount_cachefs "$MNT"

	umount "$src/below"
	must_mount "$src" "$src" cache=unsafe
	echo self >"$src/file"
	is "$(timeout 60 cat "$src/file")" = self "mounted over itself: serves"
	is "$(timeout 60 ls "$src")" = $'below\nfile\nsub' "mounted over itself: lists"
	succeeds "mounted over itself: unmounts" umount_cachefs "$src"
	is "$(cat "$src/file")" = self "mounted over itself: the directory has it afterwards"
}

MNT=$WORK/mnt
mkdir "$MNT"
extra=0
! kernel_path always || extra=1
plan $((3 * 35 + 33 + 37 + 40 + 13 + extra))
check_filesystems
check_tmpfs
check_overlay
check_readonly_backings
check_places
