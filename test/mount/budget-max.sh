#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# dirty-max while the disk stands still: the writer of a file waits at the limit, and everything else
# goes on; what ends the wait: a disk that goes on, a limit that is raised or removed, an error, another
# mode, the daemon's end. By mount option and by rule; with cachestat(2) and without.

. "$(dirname "$0")/../lib/lib.sh"
. "$top_srcdir/test/lib/disk-fs.sh"
need_root
need_fuse
need_tools ioclient pagestat
need_disk setfattr

MAX=$((4 << 20))
SIZE=$((32 << 20))

# The files' blocks are allocated, so that writing them needs nothing of the disk.
new_files() {
	local f

	for f; do
		rm -f "$BACK/$f"
		allocate "$BACK/$f" 32M
	done
	sync -f "$BACK"
	# the crash marker is written before the disk stands still
	for f; do
		: >>"$MNT/$f"
	done
}

# start FILE: a writer of all of it in the background, WRITER.
start() {
	"$TOOLS/ioclient" -m plain -b 128k -s 32M "$MNT/$1" >"$WORK/writer.$1" 2>&1 &
	WRITER=$!
}

dirty_bytes() {
	"$TOOLS/pagestat" -b "$BACK/$1" | sed 's/.*dirty=\([0-9]*\) writeback=\([0-9]*\).*/\1 \2/' |
		awk '{ print $1 + $2 }'
}

more_dirty() { [ "$(dirty_bytes "$1")" -gt "$2" ]; }
not_mounted() { ! fuse_mounted "$MNT"; }

# Waits until the writer of FILE makes no progress: as much is dirty as half a second ago.
stands() {
	local i before=-1 now

	for ((i = 0; i < 40; i++)); do
		now=$(dirty_bytes "$1")
		[ "$now" -eq 0 ] || [ "$now" -ne "$before" ] || return 0
		before=$now
		sleep 0.5
	done
	return 1
}

# held FILE TEXT: three checks that its writer waits at the limit.
held() {
	soon more_dirty "$1" $((MAX / 2))
	stands "$1"
	succeeds "$2: the writer waits" running "$WRITER"
	is "$(dirty_bytes "$1")" -le $MAX "$2: not more than the limit is unflushed"
	is "$(dirty_bytes "$1")" -gt $((MAX / 2)) "$2: nearly as much as the limit is"
}

# ends TEXT: the writer goes on to its end.
ends() {
	succeeds "$1: the writer goes on to its end" wait_end "$WRITER" 60
	running "$WRITER" && disk_thaw # or it could not be waited for
	wait "$WRITER"
	is $? -eq 0 "$1: without an error"
}

check() {
	local text=$1

	must_mount "$BACK" "$MNT" "cache=unsafe,$1"
	new_files a b
	disk_freeze
	start a
	held a "$text"
	succeeds "$text: the file can be read meanwhile" \
		timeout 60 dd if="$MNT/a" of=/dev/null bs=128k count=8 status=none
	disk_thaw
	ends "$text: the disk goes on"
	succeeds "$text: what was written is there" \
		"$TOOLS/ioclient" -m plain -b 128k -s 32M -r "$MNT/a"

	disk_freeze
	start b
	held b "$text, another file"
	succeeds "$text: a remount takes the limit away" timeout 60 "$MOUNT_CACHEFS" "$BACK" "$MNT" -o remount,dirty-max=0
	ends "$text: without the limit"
	is "$(dirty_bytes b)" -gt $((4 * MAX)) "$text: all of it is unflushed then"
	disk_thaw
	succeeds "$text: unmounts, the daemon ends" umount_cachefs "$MNT"
}

# The limit of a rule, for one file; the mount has none, so other files are not held up.
check_rule() {
	echo "a unsafe dirty-max=4M" >"$WORK/rules"
	must_mount "$BACK" "$MNT" "cache=unsafe,rules=$WORK/rules"
	new_files a b
	disk_freeze
	start a
	held a "rule"
	succeeds "rule: another file is not held up" \
		timeout 60 "$TOOLS/ioclient" -m plain -b 128k -s 32M "$MNT/b"
	echo "a unsafe dirty-max=16M" >"$WORK/rules"
	timeout 60 "$MOUNT_CACHEFS" "$BACK" "$MNT" -o "remount,rules=$WORK/rules" &
	REMOUNT=$!
	soon more_dirty a $((2 * MAX))
	stands a
	is "$(dirty_bytes a)" -gt $((2 * MAX)) "rule: more is allowed by a larger limit, at once"
	is "$(dirty_bytes a)" -le $((4 * MAX)) "rule: but not more than that"
	succeeds "rule: and the writer waits again" running "$WRITER"
	disk_thaw
	ends "rule: the disk goes on"
	succeeds "rule: the remount ends, which flushed the others" wait_end "$REMOUNT" 60
	succeeds "rule: unmounts, the daemon ends" umount_cachefs "$MNT"
}

# A limit given to a file that is open.
check_remount() {
	must_mount "$BACK" "$MNT" "cache=unsafe,kernel-path=never"
	new_files a
	exec 8<>"$MNT/a"
	succeeds "remount: gives a limit" "$MOUNT_CACHEFS" "$BACK" "$MNT" -o remount,dirty-max=4M
	fails "remount: a limit above the other one is refused" "dirty-max=4M is less than" \
		"$MOUNT_CACHEFS" "$BACK" "$MNT" -o remount,dirty-limit=8M
	disk_freeze
	start a
	held a "remount"
	disk_thaw
	ends "remount: the disk goes on"
	exec 8>&-
	succeeds "remount: unmounts, the daemon ends" umount_cachefs "$MNT"
}

# SIGTERM, while the writer waits: it is let go on, and the daemon's end flushes everything.
check_end() {
	local pid

	must_mount "$BACK" "$MNT" "cache=unsafe,dirty-max=4M"
	new_files a
	disk_freeze
	start a
	held a "SIGTERM"
	pid=$(daemon_pid "$MNT")
	kill -TERM "$pid"
	soon not_mounted
	disk_thaw
	succeeds "SIGTERM: the daemon ends" wait_end "$pid" 60
	wait "$pid"
	is $? -eq 0 "SIGTERM: without an error"
	sed -i "/^$pid /d" "$WORK/daemons"
	succeeds "SIGTERM: the writer ends, too" wait_end "$WRITER" 60
	is "$(dirty_bytes a)" -eq 0 "SIGTERM: nothing is unflushed then"
}

# All write-back fails: nobody waits for what never becomes clean, and the flush says so.
check_error() {
	must_mount "$BACK" "$MNT" "cache=writeback,dirty-max=4M"
	new_files a
	disk_fail write EIO
	start a
	ends "EIO"
	fails "EIO: a flush reports it" "Input/output error" timeout 60 sync "$MNT/a"
	disk_clear
	umount_cachefs "$MNT" >"$WORK/umount.out" # the daemon says that data was lost
	ok "EIO: unmounts"
}

# The modes that bypass the page cache have nothing unflushed, and no limit; a live switch between them
# and a cached mode takes the limit away, or brings it.
check_direct() {
	must_mount "$BACK" "$MNT" "cache=none,dirty-max=4M,dirty-limit=1M,dirty-age=0.1"
	new_files a
	exec 8<>"$MNT/a"
	succeeds "none: writes go on" timeout 60 "$TOOLS/ioclient" -m plain -b 128k -s 32M "$MNT/a"
	succeeds "none: unaligned ones, too" \
		timeout 60 dd if=/dev/zero of="$MNT/a" bs=1000 count=100 conv=notrunc status=none
	succeeds "none to unsafe" timeout 60 setfattr -n user.cachefs.cache.now -v unsafe "$MNT/a"
	disk_freeze
	start a
	held a "none to unsafe"
	disk_thaw
	ends "none to unsafe"
	exec 8>&-
	succeeds "none: unmounts, the daemon ends" umount_cachefs "$MNT"
}

SETUPS=(dirty-max=4M dirty-max=4M,engine=threads,threads=1 dirty-max=4M,mask-caps=cachestat)
plan $((${#SETUPS[@]} * 15 + 11 + 8 + 7 + 4 + 9))
new_disk "" 256M
for setup in "${SETUPS[@]}"; do
	check "$setup"
done
check_rule
check_remount
check_end
check_direct
check_error
