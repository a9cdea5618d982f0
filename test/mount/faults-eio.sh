#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A disk that fails below: EIO reaches the client, a failed flush is never forgotten until the file
# was closed by all, other files are not concerned, and the daemon lives.

. "$(dirname "$0")/../lib/lib.sh"
. "$top_srcdir/test/lib/disk-fs.sh"
need_root
need_fuse
need_tools ioclient pagestat
need_disk

# Files on a fresh filesystem; after an error ext4 may be read-only.
new_files() {
	new_disk errors=continue
	allocate "$BACK/bad" 256K
	allocate "$BACK/good" 256K
	allocate "$BACK/read" 256K
	sync -f "$BACK"
}

old_disk() {
	disk_clear
	umount "$BACK" || diag "the backing stays busy"
	disk_stop || diag "the disk does not stop"
}

# write_4k DD-OPTION...: to descriptor 9, at its position.
write_4k() {
	timeout 60 dd if=/dev/zero bs=4k count=1 conv=notrunc "$@" status=none >&9
}

# fsync of the very description that 9 is.
fsync_9() {
	timeout 60 dd if=/dev/null conv=notrunc,fsync status=none >&9
}

clean() {
	[ "$(dirty "$1")" -eq 0 ]
}

# In this shell, whose child the daemon is.
ends_with_2() {
	! umount_cachefs "$MNT" >"$WORK/end" && grep -q 'ended with status 2$' "$WORK/end" &&
		grep -q 'data was lost' "$WORK/mnt.log"
}

# Space that a thin disk promised and does not have, found out at write-back.
check_enospc_below() {
	new_files
	must_mount "$BACK" "$MNT" cache=writeback
	exec 9<>"$MNT/bad"
	disk_fail write ENOSPC
	succeeds "ENOSPC below: the write succeeds" write_4k
	fails "ENOSPC below: fsync fails with it" 'No space left on device' fsync_9
	disk_clear
	fails "ENOSPC below: fsync fails on" 'No space left on device' timeout 60 sync "$MNT/bad"
	exec 9>&-
	soon is_closed bad
	succeeds "ENOSPC below: opened again, fsync works" timeout 60 \
		"$TOOLS/ioclient" -m plain -s 256k -F fsync "$MNT/bad"
	succeeds "ENOSPC below: the daemon lives" running "$(daemon_pid "$MNT")"
	umount_cachefs "$MNT" >/dev/null
	old_disk
}

# Where the error shows: with the write itself in the modes that wait for the disk.
check_first_error() {
	case $1 in
	writeback)
		succeeds "$1: the write succeeds" write_4k
		fails "$1: fsync fails" 'Input/output error' fsync_9
		;;
	writethrough | directsync | none)
		fails "$1: the write fails" 'Input/output error' write_4k
		fails "$1: and an fsync after it" 'Input/output error' fsync_9
		;;
	unsafe)
		succeeds "$1: the write and a dropped flush succeed" write_4k conv=notrunc,fsync
		# the kernel writes the page back whenever it likes; here now, as somebody else's
		sync "$BACK/bad" 2>/dev/null
		soon clean "$BACK/bad"
		fails "$1: the next flush after a failed write-back fails" \
			'Input/output error' fsync_9
		;;
	esac
}

check() {
	local mode=$1

	new_files
	must_mount "$BACK" "$MNT" "cache=$mode,on-close=none"
	exec 9<>"$MNT/bad"
	disk_fail write EIO
	check_first_error "$mode"
	disk_clear
	fails "$mode: the disk works again, fsync fails on" 'Input/output error' fsync_9
	fails "$mode: also from another descriptor" 'Input/output error' \
		timeout 60 sync "$MNT/bad"
	fails "$mode: also after a write that succeeded" 'Input/output error' bash -c \
		'timeout 60 dd if=/dev/zero of="$1" bs=4k count=1 conv=notrunc,fsync' - "$MNT/bad"
	succeeds "$mode: another file is not concerned" timeout 60 \
		"$TOOLS/ioclient" -m plain -s 256k -F fsync "$MNT/good"
	exec 9>&-
	soon is_closed bad
	succeeds "$mode: closed by all and opened again, fsync works" timeout 60 \
		"$TOOLS/ioclient" -m plain -s 256k -F fsync "$MNT/bad"
	succeeds "$mode: and the bytes are there" timeout 60 \
		"$TOOLS/ioclient" -m plain -s 256k -r "$MNT/bad"

	disk_fail flush EIO
	if [ "$mode" = unsafe ]; then
		succeeds "$mode: a disk that cannot flush does not matter" timeout 60 \
			"$TOOLS/ioclient" -m odsync -s 16k -b 4k -F fsync "$MNT/bad"
	else
		fails "$mode: O_DSYNC writes report a failed flush" 'Input/output error' \
			timeout 60 "$TOOLS/ioclient" -m odsync -s 16k -b 4k "$MNT/bad"
	fi
	disk_clear

	drop_cache "$BACK/read" 2>/dev/null
	disk_fail read EIO
	fails "$mode: a failed read reaches the reader" 'Input/output error' \
		timeout 60 dd if="$MNT/read" of=/dev/null bs=64k
	disk_clear
	succeeds "$mode: and works again when the disk does" timeout 60 \
		dd if="$MNT/read" of=/dev/null bs=64k
	succeeds "$mode: the daemon lives" running "$(daemon_pid "$MNT")"
	# data was lost, and the daemon's end says so
	succeeds "$mode: unmounts, the daemon ends with status 2" ends_with_2
	old_disk
}

plan $((5 * 13 + 5))
for mode in $MODES; do
	check "$mode"
done
check_enospc_below
