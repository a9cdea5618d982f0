#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A guest that syncs all it writes does not notice that the worker of its image is killed again and again, nor an
# upgrade: no I/O error in its kernel log, every file as it was written, and its file system in order.
# CACHEFS_LONG=1: 20 kills and an upgrade, of a guest in each mode.

. "$(dirname "$0")/../lib/lib.sh"
LAST_CLOSE=
. "$(dirname "$0")/../lib/recover.sh"
. "$(dirname "$0")/../lib/guest.sh"
need_root
need_fuse
need_guest

KILLS=6 MAX=700
# MOUNT-OPTIONS|DRIVE-OPTIONS
SETUPS=("cache=none|cache=none,aio=native" "cache=writeback,kernel-path=never|cache=writeback,aio=threads")
if [ "${CACHEFS_LONG:-0}" = 1 ]; then
	KILLS=20 MAX=2000
	SETUPS+=("cache=writeback|cache=none,aio=native" "cache=directsync|cache=directsync,aio=threads"
		"cache=writethrough|cache=writethrough,aio=threads" "cache=unsafe|cache=writeback,aio=io_uring")
fi
KILLS=${RECOVER_KILLS:-$KILLS}

end() {
	local status=$?

	stop_kills
	guest_stop
	(exit $status)
	cleanup
}
trap end EXIT

can_upgrade() { "$top_builddir/cachefsctl" --help | grep -q '^ *upgrade'; }

# 9 checks
check() {
	local name=$1

	BACK=$WORK/back
	mkdir "$BACK"
	truncate -s 64M "$BACK/image"
	mkfs.ext4 -q -F "$BACK/image" || bail_out "mkfs.ext4"
	must_mount "$BACK" "$MNT" "$1"
	[ $tap_planned -gt 0 ] || { need_recover "$MNT"; plan $((9 * ${#SETUPS[@]})); }
	succeeds "$name: a guest starts" guest_start "$MNT/image" "$2" || diag "$(tail -n 20 "$GUEST_LOG" "$WORK/qemu.err")"
	succeeds "$name: it works" guest_works 1
	succeeds "$name: the worker is killed $KILLS times" under_kills $KILLS 100 $MAX sleep 0.2
	succeeds "$name: the guest works on" guest_works 20
	if can_upgrade; then
		succeeds "$name: the daemon is upgraded" timeout 60 "$top_builddir/cachefsctl" upgrade "$MNT"
		guest_works 20
	else
		skip 1 "cachefsctl has no upgrade"
	fi
	succeeds "$name: the guest ends" guest_end || diag "$(tail -n 20 "$GUEST_LOG" "$WORK/qemu.err")"
	is "$(guest_complaints)" = "" "$name: nothing was wrong for it"
	diag "$name: $(guest_ticks) files written and synced, $(killed) workers killed"
	succeeds "$name: unmounts, the supervisor ends" umount_cachefs "$MNT"
	succeeds "$name: its file system is in order" e2fsck -fn "$BACK/image"
	rm -rf --one-file-system "$BACK"
}

MNT=$WORK/mnt
guest_initrd
for setup in "${SETUPS[@]}"; do
	check "${setup%%|*}" "${setup#*|}"
done
