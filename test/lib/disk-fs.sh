# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# An ext4 on a disk that can fail, for mount tests: BACK is where it is mounted, MNT where the test mounts it
# with cachefs. Both are unmounted, and the disk ends, on every way out. Source lib.sh first.

. "$top_srcdir/test/lib/disk.sh"

MNT=$WORK/mnt
BACK=$WORK/fs

end_disk() {
	local status=$?

	exec 8>&- 9>&-
	if [ -n "$DISK_PID" ]; then
		disk_thaw
		disk_clear
		[ ! -e "$MNT" ] || umount_cachefs "$MNT" >/dev/null 2>&1
		umount "$BACK" 2>/dev/null
		disk_stop
	fi
	(exit $status)
	cleanup
}
trap end_disk EXIT

# need_disk [COMMAND...]
need_disk() {
	local reason

	reason=$(disk_missing mkfs.ext4 "$@") && skip_all "$reason"
}

# new_disk [MOUNT-OPTION [SIZE]]: a fresh one. No journal, whose commits would touch the disk by themselves.
new_disk() {
	BACK=$WORK/fs
	disk_start "$WORK/disk" "${2:-64M}" || bail_out "the disk does not start"
	disk_attach || bail_out "no loop device"
	mkfs.ext4 -q -O '^has_journal' -E lazy_itable_init=0 "$DISK_LOOP" || bail_out "mkfs.ext4"
	mkdir -p "$BACK"
	mount -o "noatime${1:+,$1}" "$DISK_LOOP" "$BACK" || bail_out "mount"
}
