#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A worker is killed while one of its threads drops the kernel's pages, and waits in there for a page that a read has
# locked which only another worker can answer. Without an exception for such threads the mount would be dead:
# the process could not end before its successor was there.

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/disk-fs.sh"
. "$(dirname "$0")/../lib/recover.sh"
need_root
need_fuse
need_disk
need_commands python3

# send FILE: all of it by sendfile(2), which reads through the kernel's own pages; prints its checksum
send() {
	timeout 100 python3 - "$1" <<-'END' | sha256sum
		import os, socket, sys, threading
		a, b = socket.socketpair()
		fd = os.open(sys.argv[1], os.O_RDONLY)
		def send():
		    off, size = 0, os.fstat(fd).st_size
		    while off < size:
		        off += os.sendfile(a.fileno(), fd, off, size - off)
		    a.close()
		threading.Thread(target=send).start()
		while True:
		    data = b.recv(65536)
		    if not data:
		        break
		    sys.stdout.buffer.write(data)
	END
}

in_notification() {
	grep -qs invalidate_inode_pages2 "/proc/$1/task/"*/stack
}

plan 9
new_disk
must_mount "$BACK" "$MNT" cache=writeback,kernel-path=never,hang-timeout=2
need_recover "$MNT"
head -c 256K /dev/urandom >"$WORK/bytes"
cp "$WORK/bytes" "$MNT/f"
sync "$MNT/f"
drop_cache "$BACK/f"
exec 7<"$MNT/f" # an open drops pages, too: before they are locked
# CACHEFS_IOC_HANDOFF wants the kernel to drop all pages of the file; asked for when the read is under way
mkfifo "$WORK/go"
exec 6<>"$WORK/go"
timeout 200 python3 -c 'import fcntl, sys
print("ready", flush=True)
sys.stdin.readline()
fcntl.ioctl(7, 2 << 30 | 64 << 16 | 0xcf << 8 | 5, bytes(64))' <&6 >"$WORK/dropper" &
dropper=$!
soon [ -s "$WORK/dropper" ]
disk_delay read 4000
(send "$MNT/f" >"$WORK/sent" 2>"$WORK/sent.err") &
reader=$!
reading() { [ "$(disk_stat waiting)" -gt 0 ]; }
soon reading
echo >&6
old=$(worker_pid "$MNT")
succeeds "a thread waits for a locked page" within 20 in_notification "$old"
kill -KILL "$old"
other_worker() { [ -n "$(worker_pid "$MNT")" ] && [ "$(worker_pid "$MNT")" != "$old" ]; }
succeeds "killed then: another worker serves" within 60 other_worker
# its successors drop pages, too, and some of them before they are ready to serve
killed_again=0
for ms in 02 04 05 06 07 08 09 10 11 12 14 16; do
	soon other_worker || break
	old=$(worker_pid "$MNT")
	sleep 0.0$ms
	kill -KILL "$old" && killed_again=$((killed_again + 1))
done
is $killed_again -eq 12 "it is killed as well, and so are those after it"
succeeds "and another one serves all the same" soon other_worker
disk_clear
wait $reader
is $? -eq 0 "the reader has no error"
is "$(cat "$WORK/sent")" = "$(sha256sum <"$WORK/bytes")" "and all bytes"
wait $dropper
is $? -eq 0 "nor has who asked for it"
exec 6>&- 7<&-
gone() { [ ! -e "/proc/$old" ]; }
succeeds "the old process ends" within 60 gone
succeeds "unmounts, the supervisor ends" umount_cachefs "$MNT"
