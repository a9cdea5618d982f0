#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The daemon is told to end, or its supervisor dies, while one of its threads drops the kernel's pages and clients go on
# reading through those: each page that a reader has locked is behind a request that no loop takes any more. The
# thread waits for the page, the end for the thread, and the reader, whose open file keeps the connection, for the
# end: unless requests are refused until then.

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/disk-fs.sh"
. "$(dirname "$0")/../lib/recover.sh"
need_root
need_fuse
need_disk
need_commands python3

# Readers of FILE by sendfile(2), through the kernel's own pages, again and again until it fails.
send_all() {
	exec timeout 300 python3 - "$1" <<-'END'
		import os, sys, threading
		null = os.open("/dev/null", os.O_WRONLY)
		def send(fd, off):
		    try:
		        while True:
		            n = os.sendfile(null, fd, off, 1 << 20)
		            off = off + n if n else 0
		    except OSError as e:
		        os.write(1, b"%d\n" % e.errno) # ENOTCONN; ECONNABORTED in the last moment; EIO for a page
		fds = [os.open(sys.argv[1], os.O_RDONLY) for i in range(8)]
		for i, fd in enumerate(fds):
		    threading.Thread(target=send, args=(fd, i << 20)).start()
	END
}

in_notification() {
	grep -qs invalidate_inode_pages2 "/proc/$1/task/"*/stack
}
# Dead, even where nobody waits for it: the worker is not our child.
gone() { ! grep -qs '^State:.[^Z]' "/proc/$1/status"; }

# end_with NAME HOW [OPTION]: HOW ends the mount; both of its processes must go, and the readers.
end_with() {
	local worker supervisor reader dropper

	must_mount "$BACK" "$MNT" "cache=writeback,kernel-path=never${3:+,$3}"
	drop_cache "$BACK/f"
	supervisor=$(daemon_pid "$MNT")
	worker=$(server_pid "$MNT")
	exec 7<"$MNT/f"
	disk_delay read 300
	send_all "$MNT/f" >"$WORK/sent" 2>&1 &
	reader=$!
	reading() { [ "$(disk_stat waiting)" -gt 0 ]; }
	soon reading
	# CACHEFS_IOC_HANDOFF wants the kernel to drop all pages of the file
	timeout 300 python3 -c 'import fcntl
while True:
    try:
        fcntl.ioctl(7, 2 << 30 | 64 << 16 | 0xcf << 8 | 5, bytes(64))
    except OSError as e:
        if e.errno != 16:
            break' &
	dropper=$!
	exec 7<&-
	succeeds "$1: a thread waits for a locked page" within 20 in_notification "$worker"
	"$2" "$supervisor" "$worker"
	succeeds "$1: who served ends" within 60 gone "$worker"
	succeeds "$1: and so does the supervisor" within 60 gone "$supervisor"
	disk_clear
	succeeds "$1: the readers end" within 60 ended $reader
	succeeds "$1: and who asked for the pages to be dropped" within 60 ended $dropper
	wait "$supervisor" "$reader" "$dropper" 2>/dev/null
		is "$(grep -vxE "107|103|5" "$WORK/sent")" = "" "$1: with the error of a mount that has ended"
	sed -i "/^$supervisor /d" "$WORK/daemons"
	fails "$1: nothing is mounted" '^$' fuse_mounted "$MNT"
}

by_sigterm() { kill -TERM "$1"; }
by_group() { kill -TERM "$1" "$2"; }
by_death() { kill -KILL "$1"; }

plan 28
new_disk
head -c 8M /dev/urandom >"$BACK/f"
sync "$BACK/f"
end_with "SIGTERM" by_sigterm
end_with "SIGTERM for both" by_group
end_with "death of the supervisor" by_death
end_with "recover=off" by_sigterm recover=off
