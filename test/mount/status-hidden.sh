#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The hidden directory .cachefs: found by name, listed nowhere, for reading only, root's.

. "$(dirname "$0")/../lib/lib.sh"
. "$top_srcdir/test/lib/report.sh"
need_root
need_fuse
need_commands "$PYTHON" setfattr getfattr setpriv
MNT=$WORK/mnt
BACK=$WORK/back
mkdir "$BACK"
REFUSED="Permission denied|not permitted"
NOBODY=(setpriv --reuid 65534 --regid 65534 --clear-groups)
# An entry of that name in the backing directory, as cachefs's own records are.
mkdir "$BACK/.cachefs"
echo secret >"$BACK/.cachefs/status.json"
echo secret >"$BACK/.cachefs/inside"

# py CODE: with m, the mount, and d, its hidden directory; asserts.
py() {
	timeout 60 "$PYTHON" -c "import os, sys, json, errno, shutil, mmap
m = sys.argv[1]; d = m + '/.cachefs'; j = d + '/status.json'
def refused(number, call, *args, **more):
    try: call(*args, **more)
    except OSError as e: assert e.errno in (number, errno.EPERM), e
    else: raise AssertionError('it was not refused')
$1" "$MNT"
}

# checks OPTIONS: 40 checks
checks() {
	must_mount "$BACK" "$MNT" "$1"
	echo data >"$MNT/data"
	is "$(find "$MNT" | wc -l)" -eq 2 "$1: listed nowhere"
	is "$(ls -a "$MNT" | xargs)" = ". .. data" "$1: nor by ls -a"
	is "$(stat -c '%A %u %g %F' "$MNT/.cachefs")" = "dr-x------ 0 0 directory" "$1: attributes"
	is "$(stat -c '%A %u %g' "$MNT/.cachefs/metrics" "$MNT/.cachefs/status.json" | uniq)" = \
		"-r-------- 0 0" "$1: of its files"
	is "$(ls -a "$MNT/.cachefs" | xargs)" = ". .. metrics status.json" "$1: what is in it"
	succeeds "$1: ls -la" ls -la "$MNT/.cachefs"
	is "$(grep -c -- '-r-------- 1 root root' <<<"$output")" -eq 2 "$1: lists both"
	fails "$1: nothing of the backing's" "No such file" cat "$MNT/.cachefs/inside"
	is "$(grep -c secret "$MNT/.cachefs/status.json")" -eq 0 "$1: nor its contents"
	succeeds "$1: by a path through ." stat "$MNT/./.cachefs/../.cachefs/./metrics"
	succeeds "$1: statfs" stat -f "$MNT/.cachefs/status.json"

	# reading
	succeeds "$1: whole" py 'json.load(open(j))'
	succeeds "$1: any piece of it" py '
f = os.open(j, os.O_RDONLY); all = os.read(f, 1 << 20); n = len(all)
assert os.fstat(f).st_size == n and os.read(f, 1 << 20) == b""
for off in (0, 1, 7, n // 2, n - 1, n, n + 1, 1 << 40):
    for size in (1, 3, 4096, 1 << 20):
        assert os.pread(f, size, off) == all[off:off + size], (off, size)
assert os.lseek(f, -5, os.SEEK_END) == n - 5 and os.read(f, 9) == all[-5:]
assert os.lseek(f, 0, os.SEEK_DATA) == 0 and os.lseek(f, 3, os.SEEK_HOLE) == n
os.fsync(f)'
	is "$(tail -c 3 "$MNT/.cachefs/status.json")" = "]}" "$1: tail -c"
	is "$(dd if="$MNT/.cachefs/metrics" bs=2 skip=1 count=2 status=none)" = "TYPE" "$1: dd skip="
	succeeds "$1: cp" cp "$MNT/.cachefs/metrics" "$WORK/copy"
	is "$(tail -n 1 "$WORK/copy")" = "# EOF" "$1: copied to its end"
	succeeds "$1: cp within the mount" cp "$MNT/.cachefs/metrics" "$MNT/copy"
	is "$(tail -n 1 "$BACK/copy")" = "# EOF" "$1: to its end, too"
	rm "$MNT/copy"
	succeeds "$1: sendfile and mmap see what is new" py '
for i in range(1, 4):
    new = open(f"{m}/data{i}", "w")
    shutil.copyfile(j, m + "/.copy")
    assert f"data{i}" in open(m + "/.copy").read(); os.unlink(m + "/.copy")
    f = os.open(j, os.O_RDONLY); n = os.fstat(f).st_size; os.unlink(f"{m}/data{i}")
    t = os.open(m + "/.sent", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    sent = os.sendfile(t, f, 0, n)
    text = os.pread(t, n, 0); os.unlink(m + "/.sent")
    assert sent == n and f"data{i}".encode() in text, (sent, n, text)
    assert mmap.mmap(f, n, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE)[:1] == b"{"
    os.close(f); os.close(t); new.close()'
	soon all_closed
	succeeds "$1: two readers have each their own" py '
a = open(j, "rb", 0); x = a.read(10); f = open(m + "/data"); b = open(j, "rb", 0)
assert b"\"files\":[]" in (x + a.read()).replace(b"\n", b"") and b"\"data\"" in b.read()'
	succeeds "$1: O_PATH" py '
p = os.open(d, os.O_PATH); os.fstat(p)
json.load(open(os.open("status.json", os.O_RDONLY, dir_fd=p)))'

	# nothing else
	fails "$1: no writing" "$REFUSED" dd if=/dev/zero of="$MNT/.cachefs/metrics" count=1
	succeeds "$1: whatever the flags" py '
for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC, os.O_RDWR | os.O_APPEND):
    refused(errno.EACCES, os.open, j, flags)
refused(errno.EACCES, os.truncate, j, 0)
refused(errno.EPERM, os.open, d, os.O_TMPFILE | os.O_RDWR)
refused(errno.EEXIST, os.open, j, os.O_RDONLY | os.O_CREAT | os.O_EXCL)
refused(errno.EISDIR, os.open, d, os.O_RDWR)'
	fails "$1: no new file" "$REFUSED" touch "$MNT/.cachefs/new"
	fails "$1: no new directory" "$REFUSED" mkdir "$MNT/.cachefs/new"
	fails "$1: it is there" "File exists" mkdir "$MNT/.cachefs"
	fails "$1: not removed" "$REFUSED" rmdir "$MNT/.cachefs"
	fails "$1: nor its files" "$REFUSED" rm -f "$MNT/.cachefs/metrics"
	fails "$1: not renamed" "$REFUSED" mv "$MNT/.cachefs" "$MNT/other"
	succeeds "$1: nor replaced, exchanged or linked" py '
refused(errno.EPERM, os.rename, m + "/data", j)
refused(errno.EPERM, os.rename, m + "/data", d + "/new")
os.mkdir(m + "/dir"); refused(errno.EPERM, os.rename, m + "/dir", d); os.rmdir(m + "/dir")
refused(errno.EPERM, os.link, j, m + "/link"); refused(errno.EPERM, os.link, m + "/data", d + "/l")
refused(errno.EPERM, os.symlink, "x", d + "/s"); refused(errno.EPERM, os.mkfifo, d + "/p")'
	fails "$1: no chmod" "$REFUSED" chmod 777 "$MNT/.cachefs/metrics"
	fails "$1: no chown" "$REFUSED" chown 1 "$MNT/.cachefs"
	fails "$1: no times" "$REFUSED" touch -d 2001-01-01 "$MNT/.cachefs/metrics"
	fails "$1: no attributes set" "$REFUSED|not supported" \
		setfattr -n user.x -v 1 "$MNT/.cachefs/metrics"
	is "$(getfattr -d -m - "$MNT/.cachefs/metrics" "$MNT/.cachefs" 2>&1)" = "" "$1: nor there"
	fails "$1: others may not look" "$REFUSED" "${NOBODY[@]}" ls "$MNT/.cachefs"
	fails "$1: nor read" "$REFUSED" "${NOBODY[@]}" cat "$MNT/.cachefs/status.json"
	is "$(cat "$BACK/.cachefs/inside" "$BACK/.cachefs/status.json" | uniq)" = secret \
		"$1: the backing's own is untouched"
	rm "$MNT/data"
	succeeds "$1: unmounts, the daemon ends" umount_cachefs "$MNT"
}

plan $((40 * 3 + 3))
checks cache=writeback
checks cache=none,kernel-path=never,engine=threads
checks cache=unsafe,exclusive

# ---- while the disk answers nothing ----
. "$top_srcdir/test/lib/disk.sh"
stuck() { [ "$(disk_stat waiting)" -gt 0 ]; }
MNT=$WORK/slow
if reason=$(disk_missing mkfs.ext4); then
	skip 3 "$reason"
else
	disk_start "$WORK/disk" 64M && disk_attach || bail_out "no disk"
	trap 'status=$?; disk_thaw; umount_cachefs "$MNT"; umount "$WORK/slowback"; disk_stop
		(exit $status); cleanup' EXIT
	mkfs.ext4 -q -O '^has_journal' "$DISK_LOOP"
	mkdir "$WORK/slowback"
	mount -o noatime "$DISK_LOOP" "$WORK/slowback" || bail_out "no filesystem"
	must_mount "$WORK/slowback" "$MNT" cache=writeback,kernel-path=never
	exec 7<>"$MNT/f"
	dd if=/dev/zero bs=64k count=16 status=none >&7
	disk_freeze
	dd if=/dev/null conv=notrunc,fsync status=none >&7 &
	soon stuck
	succeeds "a disk that hangs: status.json does not" timeout 60 grep '"path":"f"' "$MNT/.cachefs/status.json"
	succeeds "a disk that hangs: metrics does not" timeout 60 grep -q '^# EOF' "$MNT/.cachefs/metrics"
	succeeds "the flush is still waiting" running $!
	disk_thaw
	wait $!
	exec 7>&-
fi
