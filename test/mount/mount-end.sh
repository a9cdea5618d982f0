#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The ends that a mount can have: umount2(2) behind the daemon's back, SIGTERM while files are open.
# Whatever the end, everything is flushed, the daemon ends with status 0, and other mounts go on.

. "$(dirname "$0")/../lib/lib.sh"
need_root
need_fuse
need_tools ioclient pagestat

# Leaves 1 MiB that nobody flushed, held open on descriptor 7 so that no close flushes it. Sets
# pages: what is dirty now.
make_dirty() {
	exec 7<>"$MNT/f"
	head -c 1M /dev/urandom | tee "$WORK/bytes" >&7
	pages=$(dirty "$BACK/f")
}

daemon_ended() {
	local pid

	pid=$(daemon_pid "$MNT")
	wait_end "$pid" 60 || { echo "it still runs after 60 s"; return 1; }
	sed -i "/^$pid /d" "$WORK/daemons"
	wait "$pid"
}

not_mounted() {
	! grep -q " $MNT " /proc/self/mounts
}

# flushed TEXT: 2 checks
flushed() {
	is "$(dirty "$BACK/f")" -eq 0 "$1: everything was flushed"
	succeeds "$1: the backing holds the bytes" cmp "$BACK/f" "$WORK/bytes"
	rm "$BACK/f"
}

# 5 checks
check_umount2() {
	local text="umount2, $1"

	must_mount "$BACK" "$MNT" "cache=$1"
	make_dirty
	is "$pages" -ge 0 "$text: written"
	exec 7>&-
	succeeds "$text: unmounts" umount -i "$MNT"
	succeeds "$text: the daemon ends with status 0" daemon_ended
	flushed "$text"
}

# 5 checks
check_lazy() {
	must_mount "$BACK" "$MNT" cache=unsafe
	make_dirty
	is "$pages" -gt 0 "lazy: dirty"
	succeeds "lazy: unmounts" umount -i -l "$MNT"
	head -c 4096 /dev/zero | tee -a "$WORK/bytes" >&7
	exec 7>&-
	succeeds "lazy: the open file worked on, the daemon ends after it" daemon_ended
	flushed "lazy"
}

# check_signal MODE KERNEL-PATH: 6 checks, one less for always. A file on the kernel path needs no daemon: its
# client can write on.
check_signal() {
	local text="SIGTERM, $1, kernel-path=$2"

	must_mount "$BACK" "$MNT" "cache=$1,kernel-path=$2"
	make_dirty
	is "$pages" -ge 0 "$text: written, the file is open"
	kill -TERM "$(daemon_pid "$MNT")"
	succeeds "$text: the daemon ends with status 0" daemon_ended
	succeeds "$text: nothing is mounted" not_mounted
	[ "$2" = always ] || is "$(head -c 1 /dev/zero 2>/dev/null | timeout 60 dd status=none conv=notrunc \
		bs=1 count=1 2>&1 >&7 | wc -l)" -ge 1 "$text: the open file gives errors, no hang"
	# while it is open: no close has flushed it
	flushed "$text"
	exec 7>&-
}

# 6 checks
check_two() {
	local other=$WORK/other

	mkdir "$other.back"
	must_mount "$BACK" "$MNT" cache=unsafe
	must_mount "$other.back" "$other" cache=none
	make_dirty
	is "$pages" -gt 0 "two mounts: dirty on the first"
	exec 7>&-
	kill -TERM "$(daemon_pid "$MNT")"
	succeeds "two mounts: one ends" daemon_ended
	flushed "two mounts"
	succeeds "two mounts: the other goes on" \
		"$TOOLS/ioclient" -m plain -s 64k -F fsync "$other/g"
	succeeds "two mounts: and ends" umount_cachefs "$other"
}

# 3 checks
check_statistics() {
	must_mount "$BACK" "$MNT" cache=unsafe
	"$TOOLS/ioclient" -m plain -s 64k -b 4k -e 1 -F fsync "$MNT/g" >/dev/null
	kill -USR1 "$(daemon_pid "$MNT")"
	succeeds "SIGUSR1: statistics in the log" soon grep -q 'dropped 16' "$WORK/mnt.log"
	succeeds "SIGUSR1: the daemon goes on" running "$(daemon_pid "$MNT")"
	succeeds "SIGUSR1: unmounts" umount_cachefs "$MNT"
}

plan $((5 * 5 + 5 + 5 * (6 + 5) + 6 + 3))
MNT=$WORK/mnt
make_fs ext4 64M
for mode in $MODES; do
	check_umount2 "$mode"
done
check_lazy
for mode in $MODES; do
	check_signal "$mode" never
	check_signal "$mode" always
done
check_two
check_statistics
