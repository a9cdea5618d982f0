#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Under unsafe the last close for writing flushes in the background: it is seen in the page cache of the backing
# file and in the status, hinders nobody, and its errors are not forgotten. The end of a mount waits for it.

. "$(dirname "$0")/../lib/lib.sh"
LAST_CLOSE=
. "$(dirname "$0")/../lib/crash.sh"
. "$top_srcdir/test/lib/disk-fs.sh"
need_root
need_fuse
need_tools ioclient modectl pagestat
need_disk

write_1m() { head -c 1M /dev/urandom | tee "$WORK/bytes" | dd bs=64k iflag=fullblock conv=notrunc status=none of="$MNT/$1"; }
status() { modectl status "$MNT/$1" "$2"; }
flushing() { [ "$(status "$1" flushing)" = "$2" ]; }
opened() { head -c 1M /dev/urandom >&8; }
fsync_it() { timeout 60 "$TOOLS/ioclient" -m plain -b 4k -s 4k -e 1 -F fsync "$MNT/$1"; }

# 9 checks
check_close() {
	must_mount "$BACK" "$MNT" cache=unsafe
	exec 8<>"$MNT/f"
	opened
	timeout 60 sync "$MNT/f"
	is "$(dirty "$BACK/f")" -gt 0 "close: dirty before it, whatever flushes there were"
	exec 9<"$MNT/f"
	exec 8>&-
	succeeds "close: clean soon after the last for writing" written_back clean f
	exec 9<&-
	exec 8<>"$MNT/f" 9<>"$MNT/f"
	opened
	exec 9>&-
	sleep 1
	is "$(dirty "$BACK/f")" -gt 0 "close: not after the first of two"
	exec 8>&-
	succeeds "close: after the second" written_back clean f
	umount_cachefs "$MNT"
	must_mount "$BACK" "$MNT" cache=unsafe,on-close=none
	write_1m f
	sleep 7 # longer than the marker lasts otherwise
	is "$(dirty "$BACK/f")" -gt 0 "on-close=none: dirty"
	succeeds "on-close=none: the marker says so" has_marker
	modectl flush "$MNT/f"
	is "$(dirty "$BACK/f")" -eq 0 "on-close=none: flushed when asked for"
	timeout 60 "$MOUNT_CACHEFS" "$BACK" "$MNT" -o remount,on-close=flush || diag "remount failed"
	write_1m f
	succeeds "on-close=flush by a remount: clean" written_back clean f
	umount_cachefs "$MNT"
	succeeds "unmounted: no marker" no_marker
}

# 6 checks
check_slow() {
	must_mount "$BACK" "$MNT" cache=unsafe
	exec 8<>"$MNT/f"
	head -c 1M /dev/urandom | tee "$WORK/bytes" >&8
	disk_freeze
	exec 8>&-
	succeeds "slow disk: status says that it is flushed" soon flushing f 1
	succeeds "slow disk: and .cachefs/status.json does" eval 'tr -d " \n" <"$MNT/.cachefs/status.json" | grep "\"flushing\":true"'
	succeeds "slow disk: it opens again, and has the bytes" timeout 60 cmp "$MNT/f" "$WORK/bytes"
	succeeds "slow disk: another file is written" timeout 60 dd if=/dev/zero of="$MNT/g" bs=4k count=1 conv=notrunc status=none
	disk_thaw
	succeeds "slow disk: over at last" soon flushing f 0
	is "$(dirty "$BACK/f")" -eq 0 "slow disk: it is clean"
	umount_cachefs "$MNT"
}

# 5 checks
check_switch() {
	must_mount "$BACK" "$MNT" cache=unsafe
	exec 8<>"$MNT/f"
	opened
	modectl set "$MNT/f" writeback >/dev/null
	is "$(dirty "$BACK/f")" -eq 0 "switched to writeback: flushed"
	succeeds "switched to writeback: the marker goes although it is open" soon no_marker
	opened
	modectl set "$MNT/f" unsafe >/dev/null
	succeeds "switched to unsafe: the marker is there" has_marker
	opened
	is "$(dirty "$BACK/f")" -gt 0 "switched to unsafe: dirty"
	exec 8>&-
	succeeds "switched to unsafe: the last close flushes" written_back clean f
	umount_cachefs "$MNT"
}

# bad_close: a last close whose flush fails
bad_close() {
	new_log
	exec 8<>"$MNT/f"
	opened
	disk_fail write EIO
	exec 8>&-
	soon logged 'the flush after its last close failed'
	disk_clear
}

# 11 checks
check_errors() {
	must_mount "$BACK" "$MNT" cache=unsafe
	succeeds "EIO: logged" bad_close
	is "$(status f error)" -eq 5 "EIO: in the status"
	fails "EIO: a flush of it fails, dropped or not" 'Input/output error' fsync_it f
	fails "EIO: and again" 'Input/output error' fsync_it f
	modectl set "$MNT/f" writeback >/dev/null 2>&1
	fails "EIO: in another mode, too" 'Input/output error' fsync_it f
	modectl clear "$MNT/f" >/dev/null 2>&1
	succeeds "EIO: other files are flushed" fsync_it g
	succeeds "EIO: trust" modectl trust "$MNT" f
	is "$(status f error)" -eq 0 "EIO: trusted, the status is clean"
	succeeds "EIO: trusted, it is flushed" fsync_it f
	bad_close
	umount_cachefs "$MNT" >/dev/null
	must_mount "$BACK" "$MNT" cache=unsafe
	fails "EIO before the unmount: refused by the next mount" 'Structure needs cleaning' fsync_it f
	modectl trust "$MNT"
	succeeds "EIO before the unmount: trusted" fsync_it f
	umount_cachefs "$MNT"
}

daemon_ended() {
	local pid

	pid=$(daemon_pid "$MNT")
	wait_end "$pid" 60 || return 1
	sed -i "/^$pid /d" "$WORK/daemons"
	wait "$pid"
}

# 3 checks each
check_end() {
	local thawer

	must_mount "$BACK" "$MNT" cache=unsafe
	new_log
	exec 8<>"$MNT/f"
	head -c 1M /dev/urandom | tee "$WORK/bytes" >&8
	disk_freeze
	exec 8>&-
	{ soon logged 'waiting for data to be flushed'; disk_thaw; } &
	thawer=$!
	if [ "$1" = umount ]; then
		umount "$MNT"
	else
		exec 8<"$MNT/f"
		kill -TERM "$(daemon_pid "$MNT")"
	fi
	succeeds "$1: the daemon ends with status 0" daemon_ended
	exec 8<&-
	wait $thawer
	is "$(dirty "$BACK/f"),$(cmp -n 1M "$BACK/f" "$WORK/bytes"),$(has_marker && echo marker)" = "0,," \
		"$1: all is flushed, the marker is gone"
	succeeds "$1: said what it waited for" logged 'waiting for data to be flushed'
}

all_clean() {
	local f

	for f in "$BACK"/small*; do
		[ "$(dirty "$f")" -eq 0 ] || return 1
	done
}

# Closed all at once, at the end of the shell: files that are closed one at a time, by a shell that has to wait for a
# processor, are a few at a time, and those are flushed for themselves.
write_small() {
	local i file

	for ((i = $1; i < $1 + 600; i++)); do
		exec {file}>"$MNT/small$i" && echo $i >&"$file"
	done
}

# 3 checks
check_many() {
	local i before n

	must_mount "$BACK" "$MNT" cache=unsafe
	before=$(disk_loop_flushes)
	for ((i = 0; i < 3000; i += 600)); do (write_small $i); done
	soon no_marker
	n=$(($(disk_loop_flushes) - before))
	succeeds "3000 files closed: all are clean" all_clean
	between "$n" 1 300 "3000 files closed: not a flush each ($n)"
	succeeds "3000 files closed: their bytes" eval '[ "$(cat "$BACK"/small* | sort -n | md5sum)" = "$(seq 0 2999 | md5sum)" ]'
	umount_cachefs "$MNT"
	rm "$BACK"/small*
}

plan $((9 + 6 + 5 + 11 + 2 * 3 + 3))
new_disk errors=continue
for f in f g; do allocate "$BACK/$f" 1M; done
sync -f "$BACK"
check_close
check_slow
check_switch
check_errors
check_end umount
check_end SIGTERM
check_many
