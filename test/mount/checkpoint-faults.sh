#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Checkpoints where something is wrong: no space for one, or for the writes that one makes allocate; a backing
# that is read-only or dead; a daemon that is killed; names and opens that a rollback must not run into. What
# was kept before is kept, and the writers go on.

. "$(dirname "$0")/../lib/lib.sh"
LAST_CLOSE=
. "$(dirname "$0")/../lib/crash.sh"
need_root
need_fuse
need_commands mkfs.xfs xfs_io
need_tools ioclient modectl pagestat

has_checkpoint() { [ "$(modectl status "$MNT/$1" checkpoint_age)" -ge 0 ]; }
no_checkpoint() { [ "$(modectl status "$MNT/$1" checkpoint_age)" -eq -1 ]; }
write_4k() { head -c 4k /dev/urandom >&8; }

# new_image FILE MIB: in the backing, of random bytes
new_image() {
	dd if=/dev/urandom of="$BACK/$1" bs=1M count="$2" status=none
	sync -f "$BACK"
}

# crash FILE...: as the host going down while it was being written; what was there is in $WORK/was
crash() {
	kill_cachefs "$MNT"
	exec 8>&-
	another_boot "$BACK"
}

# 6 checks
check_first() {
	new_image i 4
	cp "$BACK/i" "$WORK/was"
	must_mount "$BACK" "$MNT" cache=unsafe,checkpoint=3600
	exec 8<>"$MNT/i"
	succeeds "first open for writing: a checkpoint soon" soon has_checkpoint i
	write_4k
	crash
	must_mount "$BACK" "$MNT" cache=unsafe,checkpoint=3600
	fails "crash: refused" 'Structure needs cleaning' head -c 1 "$MNT/i"
	succeeds "crash: rollback can be done" modectl dry-run "$MNT" i
	succeeds "crash: rollback" modectl rollback "$MNT" i
	succeeds "crash: it is what it was" cmp "$MNT/i" "$WORK/was"
	umount_cachefs "$MNT"
	# not what was flushed since
	must_mount "$BACK" "$MNT" cache=writeback
	head -c 8k /dev/zero | dd of="$MNT/i" conv=notrunc,fsync status=none
	umount_cachefs "$MNT"
	cp "$BACK/i" "$WORK/was"
	must_mount "$BACK" "$MNT" cache=writeback,checkpoint=3600
	exec 8<>"$MNT/i"
	modectl set "$MNT/i" unsafe >/dev/null
	soon has_checkpoint i
	write_4k
	crash
	must_mount "$BACK" "$MNT" cache=writeback,after-crash=rollback
	succeeds "switched live to unsafe: no older checkpoint" cmp "$MNT/i" "$WORK/was"
	umount_cachefs "$MNT"
	rm "$BACK"/i*
}

# 9 checks
check_rollback_refused() {
	new_image i 1
	must_mount "$BACK" "$MNT" cache=unsafe,checkpoint=1
	exec 8<>"$MNT/i"
	write_4k
	soon has_checkpoint i
	fails "open: EBUSY" 'errno 16' modectl rollback "$MNT" i
	exec 8>&-
	soon clean i
	exec 8<"$MNT/i"
	fails "open for reading: EBUSY" 'errno 16' modectl rollback "$MNT" i
	exec 8>&-
	soon is_closed i
	ln "$MNT/i" "$MNT/other"
	fails "hard links: EMLINK" 'errno 31' modectl rollback "$MNT" i
	rm "$MNT/other"
	fails "another user: EPERM" 'errno 1\)' setpriv --reuid 65534 --regid 65534 --clear-groups \
		"$TOOLS/modectl" rollback "$MNT" i
	: >"$BACK/none" # nobody opens it for writing, so there is no checkpoint of it, however short the open
	fails "no checkpoint: ENOENT" 'errno 2\)' modectl rollback "$MNT" none
	fails "no file: ENOENT" 'errno 2\)' modectl rollback "$MNT" nothing
	fails "a directory: EINVAL" 'errno 22' modectl rollback "$MNT" .cachefs
	succeeds "closed by all: done" modectl rollback "$MNT" i
	umount_cachefs "$MNT"
	succeeds "the tainted file is kept" test -e "$BACK"/i.tainted-*
	rm -f "$BACK"/i*
}

# 3 checks
check_unlinked() {
	new_image i 4
	must_mount "$BACK" "$MNT" cache=unsafe,checkpoint=1
	exec 8<>"$MNT/i"
	soon has_checkpoint i
	rm "$MNT/i"
	for _ in 1 2 3 4 5 6; do write_4k && sleep 0.4; done
	succeeds "unlinked: no error of it" not_logged 'no checkpoint could be taken'
	exec 8>&-
	succeeds "unlinked: unmounts" umount_cachefs "$MNT"
	must_mount "$BACK" "$MNT" cache=unsafe,checkpoint=1
	: >"$MNT/x"
	is "$(find "$BACK/.cachefs/checkpoints" -type f -size +1M | wc -l)" -eq 0 "unlinked: its checkpoints are collected"
	umount_cachefs "$MNT"
}

not_logged() { ! logged "$@"; }

room() { [ $(($(stat -f -c '%a * 50 >= %b' "$BACK"))) -eq 1 ]; }

# On the kernel path nobody asks us: who writes faster than we look has the error. So there is a pause when less
# than a fiftieth of the filesystem is left, which is when its checkpoints are given up.
overwrite() {
	local i

	if [ "$1" = kernel-path=never ]; then
		timeout 120 "$TOOLS/ioclient" -m plain -b 64k -s 60M -p 7 "$MNT/i"
		return
	fi
	for ((i = 0; i < 60; i++)); do
		room || soon no_checkpoint i || return 1
		timeout 60 "$TOOLS/ioclient" -m plain -b 64k -o ${i}M -s 1M -p 7 "$MNT/i" || return 1
	done
}

# 6 checks
check_no_space() {
	new_image i 60
	new_log
	# the first open for writing has one; another would only come when there is space again
	must_mount "$BACK" "$MNT" "cache=unsafe,checkpoint=3600,$1"
	exec 8<>"$MNT/i"
	soon has_checkpoint i
	fallocate -l "$(($(stat -f -c '%a * %S' "$BACK") - 24 * 1048576))" "$BACK/fill"
	succeeds "full, $1: overwriting 60 MiB goes on" overwrite "$1"
	succeeds "full, $1: its checkpoints are given up" soon no_checkpoint i
	succeeds "full, $1: said" logged 'given up'
	timeout 60 "$TOOLS/ioclient" -m plain -b 64k -s 60M -p 8 "$MNT/i" >/dev/null
	succeeds "full, $1: every byte is there" timeout 60 "$TOOLS/ioclient" -m plain -b 64k -s 60M -p 8 -r "$MNT/i"
	rm "$BACK/fill"
	sync -f "$BACK"
	write_4k
	timeout 60 "$MOUNT_CACHEFS" "$BACK" "$MNT" -o remount,checkpoint=1 || diag "no remount"
	succeeds "full, $1: with space again it has one" soon has_checkpoint i
	exec 8>&-
	succeeds "full, $1: unmounts" umount_cachefs "$MNT"
	rm "$BACK/i"
}

# 4 checks
check_read_only() {
	new_image i 4
	new_log
	must_mount "$BACK" "$MNT" cache=unsafe,checkpoint=1
	exec 8<>"$MNT/i"
	soon has_checkpoint i
	sleep 2.5
	cp "$BACK/i" "$WORK/was"
	# the filesystem dies under it; what is in its log is on the disk
	xfs_io -x -c 'shutdown -f' "$BACK"
	write_4k 2>/dev/null
	sleep 2.5
	succeeds "shut down: the daemon lives" running "$(daemon_pid "$MNT")"
	exec 8>&-
	umount_cachefs "$MNT" >/dev/null 2>&1
	is "$(grep -c 'data was lost\|could not be flushed\|failed' "$WORK/mnt.log")" -gt 0 "shut down: said"
	umount "$BACK" || umount -l "$BACK"
	mount -t xfs -o noatime "/dev/$LOOP" "$BACK" || bail_out "the filesystem does not come back"
	has_marker && another_boot "$BACK"
	must_mount "$BACK" "$MNT" cache=unsafe,after-crash=rollback
	succeeds "shut down: the checkpoint was kept" cmp "$MNT/i" "$WORK/was"
	succeeds "unmounts" umount_cachefs "$MNT"
	rm -f "$BACK"/i*
}

# 2 checks. Killed at random moments while checkpoints are taken, one after the other.
check_kill() {
	local k bad=0 kills=${CHECKPOINT_KILLS:-8}

	[ "${CACHEFS_LONG:-0}" != 1 ] || kills=60
	new_image i 16
	for ((k = 0; k < kills; k++)); do
		must_mount "$BACK" "$MNT" cache=unsafe,checkpoint=1,after-crash=trust
		exec 8<>"$MNT/i"
		soon has_checkpoint i || { bad=$((bad + 1)); diag "kill $k: no checkpoint"; }
		timeout 60 "$TOOLS/ioclient" -m plain -b 4k -s 16M -p $k -n 4 "$MNT/i" >/dev/null 2>&1 &
		sleep "1.$((RANDOM % 10))"
		kill_cachefs "$MNT"
		exec 8>&-
		wait $! 2>/dev/null
		another_boot "$BACK"
		must_mount "$BACK" "$MNT" cache=unsafe,checkpoint=1
		modectl rollback "$MNT" i >"$WORK/out" 2>&1 || { bad=$((bad + 1)); diag "kill $k: $(cat "$WORK/out")"; }
		[ "$(stat -c %s "$MNT/i")" -eq $((16 << 20)) ] && cat "$MNT/i" >/dev/null || bad=$((bad + 1))
		umount_cachefs "$MNT" || bad=$((bad + 1))
		rm -f "$BACK"/i.tainted-*
	done
	is "$bad" -eq 0 "killed $kills times while checkpoints were taken: each time there is one"
	is "$(find "$BACK/.cachefs/checkpoints" -type f -name '*.*' | wc -l)" -le 3 "and none is left over"
}

plan $((6 + 9 + 3 + 2 * 6 + 4 + 2))
MNT=$WORK/mnt
make_fs xfs 320M
check_first
check_rollback_refused
check_unlinked
check_no_space kernel-path=never
check_no_space kernel-path=auto
check_read_only
check_kill
