#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A rollback just after the last close: the daemon is told of a close after it has returned, and flushes then. The
# rollback waits for that. What it puts aside stays refused under its new name.

. "$(dirname "$0")/../lib/lib.sh"
LAST_CLOSE=
. "$(dirname "$0")/../lib/crash.sh"
. "$top_srcdir/test/lib/disk-fs.sh"
need_root
need_fuse
need_commands mkfs.xfs
need_tools modectl pagestat
need_disk mkfs.xfs

FAILS='Structure needs cleaning'

can_open() { timeout 60 head -c 1 "$MNT/$1" >/dev/null; }
status() { modectl status "$MNT/$1" "$2"; }
flushing() { [ "$(status "$1" flushing)" = "$2" ]; }
has_checkpoint() { [ "$(status "$1" checkpoint_age)" -ge 0 ] 2>/dev/null; }

# with_checkpoint FILE: open on 8, changed since its checkpoint, of "good".
with_checkpoint() {
	timeout 60 "$MOUNT_CACHEFS" "$BACK" "$MNT" -o remount,checkpoint=1 || bail_out "no remount"
	exec 8<>"$MNT/$1"
	echo good >&8
	soon has_checkpoint "$1" || bail_out "no checkpoint is taken"
	timeout 60 "$MOUNT_CACHEFS" "$BACK" "$MNT" -o remount,checkpoint=0 || bail_out "no remount"
	echo more >&8
}

# 3 checks
check_closing() {
	local i wrong=0

	with_checkpoint f
	fails "while it is open: refused" 'busy' modectl rollback "$MNT" f
	for ((i = 0; i < 20; i++)); do
		echo "$i" >&8
		exec 8>&-
		modectl rollback "$MNT" f >>"$WORK/rollback" 2>&1 || wrong=$((wrong + 1))
		exec 8>>"$MNT/f"
	done
	is "$wrong" -eq 0 "just after its last close: it waits" || tail -n 5 "$WORK/rollback" | sed 's/^/# /'
	exec 8>&-
	is "$(head -n 1 "$MNT/f")" = good "its first line was never lost"
}

# 3 checks
check_flushing() {
	local pid

	with_checkpoint slow
	disk_freeze
	exec 8>&-
	soon flushing slow 1 || diag "it is not flushed"
	timeout 600 "$TOOLS/modectl" rollback "$MNT" slow >"$WORK/slow" 2>&1 9>&- &
	pid=$!
	sleep 2 # longer than it waits for a close
	succeeds "while its last close is flushed: it waits" running "$pid"
	disk_thaw
	succeeds "while its last close is flushed: it is done at last" wait "$pid"
	! grep -q '^modectl' "$WORK/slow" || diag "$(cat "$WORK/slow")"
	is "$(head -n 1 "$BACK/slow")" = good "while its last close is flushed: the file is there"
}

# crashed FILE: it was harmed, by a rule.
crashed() {
	with_checkpoint "$1"
	kill_cachefs "$MNT"
	exec 8>&-
	another_boot "$BACK" || bail_out "no marker"
	must_mount "$BACK" "$MNT" "$RULE${2:+,$2}"
}

# 5 checks
check_kept() {
	local kept

	crashed a.img
	kept=$(modectl rollback "$MNT" a.img | cut -d' ' -f2)
	succeeds "harmed by a rule, put back: it opens" can_open a.img
	fails "what was put aside is refused" "$FAILS" can_open "$kept"
	modectl trust "$MNT"
	succeeds "until it is trusted" can_open "$kept"
	crashed b.img after-crash=rollback
	succeeds "after-crash=rollback: it opens" can_open b.img
	fails "after-crash=rollback: what was put aside is refused" "$FAILS" can_open "$(cd "$BACK" && ls -d b.img.tainted-*)"
	modectl trust "$MNT"
}

RULE='cache=writeback,rule=*.img=unsafe'
plan $((3 + 3 + 5 + 1))
BACK=$WORK/fs
disk_start "$WORK/disk" 512M || bail_out "the disk does not start"
disk_attach || bail_out "no loop device"
mkfs.xfs -q -f "$DISK_LOOP" || bail_out "mkfs.xfs"
mkdir -p "$BACK"
mount -o noatime "$DISK_LOOP" "$BACK" || bail_out "mount"
must_mount "$BACK" "$MNT" cache=unsafe
check_closing
check_flushing
umount_cachefs "$MNT"
must_mount "$BACK" "$MNT" "$RULE"
check_kept
succeeds "unmounts, the daemon ends" umount_cachefs "$MNT"
