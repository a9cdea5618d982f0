#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What modes owe holds when the worker is killed: the crash marker and its lock, the flush after the last close, a failed
# flush, the sync attribute, live switches, files that are refused.

. "$(dirname "$0")/../lib/lib.sh"
LAST_CLOSE=
. "$(dirname "$0")/../lib/crash.sh"
. "$(dirname "$0")/../lib/recover.sh"
. "$top_srcdir/test/lib/disk-fs.sh"
need_root
need_fuse
need_commands lsattr
need_tools ioclient modectl pagestat
need_disk

KILLS=${CACHEFS_LONG:+200}
KILLS=${KILLS:-12}

write_1m() { head -c 1M /dev/urandom | dd bs=64k iflag=fullblock conv=notrunc status=none of="$MNT/$1"; }
write_4k() { timeout 60 dd if=/dev/zero bs=4k count=1 conv=notrunc "$@" status=none >&9; }
fsync_9() { timeout 60 dd if=/dev/null conv=notrunc,fsync status=none >&9; }
mode_of() { modectl show "$MNT/$1"; }
second_mount() {
	timeout 60 "$MOUNT_CACHEFS" "$BACK" "$WORK/second" -o cache=unsafe || return
	umount "$WORK/second"
}

# A fresh filesystem; after an error ext4 may be read-only.
new_files() {
	new_disk errors=continue
	for file in f g h; do
		allocate "$BACK/$file" 1M
	done
	sync -f "$BACK"
}

old_disk() {
	disk_clear
	umount "$BACK" || diag "the backing stays busy"
	disk_stop || diag "the disk does not stop"
}

# 10 checks
check_marker() {
	local before

	must_mount "$BACK" "$MNT" cache=unsafe
	exec 8<>"$MNT/f"
	head -c 1M /dev/urandom >&8
	before=$(cat "$BACK/$MARKER")
	for ((i = 0; i < 5; i++)); do
		kill_worker "$MNT" || break
	done
	is "$i" -eq 5 "marker: five workers were killed"
	is "$(cat "$BACK/$MARKER")" = "$before" "marker: it goes on, of the same time"
	is "$(dirty "$BACK/f")" -gt 0 "marker: nothing was flushed for it"
	fails "marker: nobody else can have its lock" 'another mount' second_mount
	is "$(grep -c 'an earlier process ended' "$WORK/mnt.log")" -eq 0 "marker: nor was anybody told of a crash"
	succeeds "marker: another file opens" write_1m g
	exec 8>&-
	succeeds "marker: the last close flushes" written_back clean f
	succeeds "marker: and it goes" soon no_marker
	kill_worker "$MNT"
	succeeds "marker: killed with nothing open: none comes" no_marker
	umount_cachefs "$MNT"
	succeeds "marker: unmounted: none" no_marker
}

all_clean() { clean f && clean g && clean h; }

# 4 checks
check_last_close() {
	must_mount "$BACK" "$MNT" cache=unsafe
	disk_delay write 300
	for file in f g h; do
		write_1m "$file"
	done
	kill_worker "$MNT"
	# on a machine that is busy all of them may have been made by now, seconds ago
	succeeds "last close: the marker stays while flushes are owed" eval 'has_marker || all_clean'
	disk_clear
	succeeds "last close: all are flushed after the kill" written_back all_clean
	succeeds "last close: the marker goes" soon no_marker
	write_1m f
	kill_now "$MNT"
	succeeds "last close: killed at once" written_back clean f
	umount_cachefs "$MNT"
}

# 4 checks a mode
check_error() {
	new_files
	must_mount "$BACK" "$MNT" "cache=$1,on-close=none"
	exec 9<>"$MNT/f"
	disk_fail write EIO
	write_4k 2>/dev/null
	if [ "$1" = unsafe ]; then
		sync "$BACK/f" 2>/dev/null
		written_back clean f
	fi
	fails "error, $1: seen by a flush" 'Input/output error' fsync_9
	disk_clear
	kill_worker "$MNT"
	fails "error, $1: by one after a kill" 'Input/output error' fsync_9
	fails "error, $1: and by another client" 'Input/output error' timeout 60 sync "$MNT/f"
	exec 9>&-
	soon is_closed f
	succeeds "error, $1: closed by all, and opened again" timeout 60 \
		"$TOOLS/ioclient" -m plain -s 256k -F fsync "$MNT/f"
	umount_cachefs "$MNT"
	old_disk
}

# A flush is in the disk, and fails there, while the worker is killed: it comes again. 2 checks
check_error_in_flight() {
	local flush

	new_files
	must_mount "$BACK" "$MNT" cache=writeback
	exec 9<>"$MNT/f"
	write_4k
	disk_delay write 1000
	disk_fail write EIO count=1 # no other request can have the error again
	fsync_9 2>"$WORK/flush" &
	flush=$!
	sleep 0.3
	kill_worker "$MNT"
	wait "$flush"
	is $? -ne 0 "error in flight: the flush that comes again fails"
	disk_clear
	fails "error in flight: so does the next" 'Input/output error' fsync_9
	exec 9>&-
	umount_cachefs "$MNT"
	old_disk
}

has_attr() { [[ $(lsattr -d "$BACK/$1" 2>/dev/null) == *S*" "* ]]; }
has_no_attr() { ! has_attr "$1"; }
no_records() { [ "$(find "$BACK/.cachefs/sync-attr" -type f | wc -l)" -eq 0 ]; }

# 7 checks
check_attr() {
	local before

	must_mount "$BACK" "$MNT" cache=writethrough,kernel-path=always
	if grep -q 'kernel path: not used' "$WORK/mnt.log"; then
		umount_cachefs "$MNT"
		skip 7 "no kernel path"
		return
	fi
	exec 8<>"$MNT/f"
	succeeds "attribute: it is there" has_attr f
	before=$(disk_loop_flushes)
	for ((i = 0; i < 5; i++)); do
		kill_worker "$MNT"
		has_attr f || break
	done
	is "$i" -eq 5 "attribute: and after each of five kills"
	head -c 64k /dev/urandom >&8
	is "$(dirty "$BACK/f")" -eq 0 "attribute: what is written is on the disk"
	fails "attribute: nobody else can clear it" 'another mount' second_mount
	exec 8>&-
	succeeds "attribute: it goes with the last close" soon has_no_attr f
	succeeds "attribute: and its record" soon no_records
	exec 8<>"$MNT/f"
	kill_worker "$MNT"
	exec 8>&-
	umount_cachefs "$MNT"
	succeeds "attribute: the unmount leaves none" has_no_attr f
}

# A switch returns when what was written before is as durable as the new mode promises, whoever finished it.
switch_once() {
	modectl set "$MNT/f" unsafe >/dev/null || return 1
	head -c 64k /dev/urandom | dd bs=64k iflag=fullblock conv=notrunc status=none of="$MNT/f" || return 1
	head -c 4k /dev/urandom >&8
	modectl set "$MNT/f" "$1" >/dev/null || return 1
	[ "$(dirty "$BACK/f")" -eq 0 ] || { echo "$1: dirty after the switch"; return 1; }
	[ "$1" != none ] || [ "$(cached "$BACK/f")" -eq 0 ] || { echo "none: in the page cache"; return 1; }
	case $(mode_of f) in
	*"$1"*) ;;
	*) echo "wanted $1, is $(mode_of f)"; return 1 ;;
	esac
}
switch_round() { switch_once writeback && switch_once none && switch_once writethrough; }

remount_once() {
	timeout 60 "$MOUNT_CACHEFS" "$BACK" "$MNT" -n -o remount,cache=unsafe || return 1
	head -c 64k /dev/urandom | dd bs=64k iflag=fullblock conv=notrunc status=none of="$MNT/g" || return 1
	timeout 60 "$MOUNT_CACHEFS" "$BACK" "$MNT" -n -o remount,cache=writeback || return 1
	[ "$(dirty "$BACK/g")" -eq 0 ] || { echo "g, closed, is dirty after the remount"; return 1; }
}

# 4 checks
check_switch() {
	local before

	must_mount "$BACK" "$MNT" cache=writeback,kernel-path=never
	exec 8<>"$MNT/f"
	succeeds "switch: files change their mode under kills" under_kills "$KILLS" 20 200 switch_round
	succeeds "switch: the mount does" under_kills "$KILLS" 20 200 remount_once
	exec 8>&-
	umount_cachefs "$MNT"
	is "$(grep -c 'Sanitizer' "$WORK/mnt.log")" -eq 0 "switch: nothing in the log"
	# a pending one stays pending
	must_mount "$BACK" "$MNT" cache=writeback
	if ! grep -q 'kernel path: not used' "$WORK/mnt.log"; then
		exec 8<>"$MNT/f"
		modectl set -k "$MNT/f" none >/dev/null
		before=$(mode_of f)
		kill_worker "$MNT"
		is "$(mode_of f)" = "$before" "switch: what was pending is pending"
		exec 8>&-
	else
		skip 1 "no kernel path"
	fi
	umount_cachefs "$MNT"
}

# 6 checks
check_refused() {
	mkdir -p "$BACK/.cachefs"
	chmod 700 "$BACK/.cachefs"
	printf 'cachefs crash marker 1\nboot another 2026-01-01T00:00:00Z\npattern "f"\nend\n' >"$BACK/$MARKER"
	must_mount "$BACK" "$MNT" cache=unsafe
	fails "refused: before a kill" 'Structure needs cleaning' cat "$MNT/f"
	kill_worker "$MNT"
	fails "refused: after it" 'Structure needs cleaning' cat "$MNT/f"
	succeeds "refused: others are not" write_1m g
	succeeds "refused: until it is trusted" "$top_builddir/cachefsctl" trust "$MNT/f"
	kill_worker "$MNT"
	succeeds "refused: which is not forgotten" write_1m f
	umount_cachefs "$MNT"
	is "$(grep -c '^trusted.*"f"' "$BACK/$MARKER")" -eq 1 "refused: the next mount knows it, too"
	rm -f "$BACK/$MARKER"
}

plan $((10 + 4 + 4 * 3 + 2 + 7 + 4 + 6))
mkdir "$WORK/second"
new_files
must_mount "$BACK" "$MNT" cache=writeback
need_recover "$MNT"
umount_cachefs "$MNT"
check_marker
check_last_close
check_attr
check_switch
check_refused
old_disk
for mode in writeback unsafe writethrough; do
	check_error "$mode"
done
check_error_in_flight
