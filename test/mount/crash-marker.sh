#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The crash marker: that data may be unflushed stands in the backing directory, on stable storage, before the
# first open for writing is answered, with what is concerned; it goes when all is flushed; what it says after a
# crash is what cannot be opened until somebody trusts it.

. "$(dirname "$0")/../lib/lib.sh"
LAST_CLOSE=
. "$(dirname "$0")/../lib/crash.sh"
. "$top_srcdir/test/lib/disk-fs.sh"
need_root
need_fuse
need_commands setfattr setpriv
need_tools fsops ioclient modectl pagestat
need_disk

FAILS='Structure needs cleaning'

nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
can_open() { timeout 60 head -c 1 "$MNT/$1"; }
write_some() { timeout 60 "$TOOLS/ioclient" -m plain -b 4k -s 64k -e 1 -F fsync "$MNT/$1"; }

ops() { timeout 60 "$TOOLS/fsops" "$MNT" <<<"$1"; }

# unfinished FILE: writes it and leaves it open on 8, dirty.
unfinished() {
	exec 8<>"$MNT/$1"
	head -c 64k /dev/urandom >&8
}

# crash: what is left when the host has gone down while 8 was open, as far as we can have it without a cut.
crash() {
	kill_cachefs "$MNT"
	exec 8>&-
	another_boot "$BACK"
}

# 8 checks
check_when() {
	must_mount "$BACK" "$MNT" cache=writeback
	write_some f >/dev/null
	succeeds "writeback: no marker" no_marker
	is "$(ls -A "$BACK" | grep -c cachefs)" -eq 0 "writeback: nor a directory for it"
	umount_cachefs "$MNT"
	must_mount "$BACK" "$MNT" cache=unsafe
	can_open f >/dev/null
	succeeds "unsafe: none before the first open for writing" no_marker
	exec 8<>"$MNT/f"
	disk_cut "$WORK/cut.img" 1 0 >"$WORK/cut.out"
	succeeds "unsafe: there is one when it has returned" has_marker
	e2fsck -fy "$WORK/cut.img" >"$WORK/fsck.out" 2>&1
	mkdir -p "$WORK/after"
	mount -o loop,ro "$WORK/cut.img" "$WORK/after"
	is "$(grep -E '^(boot|mount)' "$WORK/after/$MARKER" | sed 's/ 20.*//' | xargs)" = \
		"boot $(cat /proc/sys/kernel/random/boot_id) mount" "unsafe: on stable storage, with boot id and mount"
	umount "$WORK/after"
	sleep 7
	succeeds "unsafe: it stays while a file is open for writing" has_marker
	exec 8>&-
	succeeds "unsafe: it goes some seconds after the last close" soon no_marker
	write_some f >/dev/null
	has_marker || diag "none before umount"
	umount_cachefs "$MNT"
	succeeds "unsafe: and at the unmount" no_marker
}

# 3 checks
check_cost() {
	local i before

	must_mount "$BACK" "$MNT" cache=unsafe,on-close=none
	before=$(disk_loop_flushes)
	for ((i = 0; i < 1000; i++)); do : >"$MNT/n$i"; done
	between "$(($(disk_loop_flushes) - before))" 1 8 "1000 files: few flushes"
	before=$(disk_loop_flushes)
	for ((i = 0; i < 1000; i++)); do : >"$MNT/n$i"; done
	is "$(($(disk_loop_flushes) - before))" -eq 0 "1000 more soon after: none"
	is "$(grep -c . "$BACK/$MARKER")" -le 4 "the marker is as short as before"
	rm "$MNT"/n*
	umount_cachefs "$MNT"
}

# 4 checks
check_same_boot() {
	must_mount "$BACK" "$MNT" cache=unsafe
	unfinished f
	kill_cachefs "$MNT"
	exec 8>&-
	succeeds "killed: the marker stays" has_marker
	new_log
	must_mount "$BACK" "$MNT" cache=unsafe
	succeeds "killed: the next mount says what it does" logged 'an earlier process ended without flushing: flushed now'
	is "$(has_marker && echo there),$(dirty "$BACK/f")" = ",0" "killed: it has flushed, and removed the marker"
	succeeds "killed: the file opens" can_open f
	umount_cachefs "$MNT"
}

# 6 checks
check_flush_error() {
	must_mount "$BACK" "$MNT" cache=unsafe
	unfinished f
	kill_cachefs "$MNT"
	exec 8>&-
	disk_fail write EIO
	new_log
	mount_cachefs "$BACK" "$MNT" cache=unsafe || diag "not mounted"
	disk_clear
	succeeds "I/O error at the next mount: it mounts" fuse_mounted "$MNT"
	succeeds "I/O error at the next mount: said" logged 'may be lost, and that could not be written'
	fails "I/O error at the next mount: all is refused" "$FAILS" can_open g
	fails "I/O error at the next mount: for reading, too" "$FAILS" can_open f
	succeeds "I/O error: trusted" modectl trust "$MNT"
	succeeds "I/O error: opens" can_open f
	umount_cachefs "$MNT"
}

# 5 checks
check_two_mounts() {
	local other=$WORK/other first=$MNT

	sync -f "$BACK" 2>/dev/null # the filesystem's error of before is told to the next who asks: not to a mount
	must_mount "$BACK" "$MNT" cache=unsafe
	exec 8<>"$MNT/f"
	fails "two mounts: the second under unsafe is refused" 'another mount of (it|the same SOURCE) owns' \
		mount_cachefs "$BACK" "$other" cache=unsafe
	succeeds "two mounts: the second under writeback is not" mount_cachefs "$BACK" "$other" cache=writeback
	modectl set -k "$other/g" unsafe >/dev/null
	fails "two mounts: until it needs the marker" 'busy' timeout 60 dd if=/dev/zero of="$other/g" count=1 conv=notrunc status=none
	MNT=$other
	succeeds "two mounts: the log says why" logged 'another mount of the same SOURCE owns it'
	MNT=$first
	exec 8>&-
	umount_cachefs "$other"
	umount_cachefs "$MNT"
	must_mount "$BACK" "$MNT" cache=unsafe
	succeeds "two mounts: when the first has ended, the other writes" write_some g
	umount_cachefs "$MNT"
}

# 8 checks
check_unwritable() {
	local sum

	sum=$(md5sum <"$BACK/f")
	rm -rf "$BACK/.cachefs"
	dd if=/dev/zero of="$BACK/fill" bs=64k status=none 2>/dev/null
	while dd if=/dev/zero bs=1k count=1 status=none >>"$BACK/fill2" 2>/dev/null; do :; done
	must_mount "$BACK" "$MNT" cache=unsafe
	fails "full: an open for writing fails" 'No space left on device' write_some f
	succeeds "full: said" logged 'the crash marker could not be written'
	succeeds "full: reading works" can_open f
	is "$(md5sum <"$BACK/f")" = "$sum" "full: nothing was written"
	rm "$BACK"/fill*
	succeeds "full: with space again it works" write_some f
	umount_cachefs "$MNT"
	rm -rf "$BACK/.cachefs"
	mkdir "$BACK/.cachefs"
	chown 65534 "$BACK/.cachefs"
	new_log
	"$MOUNT_CACHEFS" "$BACK" "$MNT" -o cache=writeback >"$WORK/out" 2>&1
	is "$?,$(grep -o 'belongs to user 65534' "$WORK/out")" = "32,belongs to user 65534" "another user's directory: no mount"
	rm -rf "$BACK/.cachefs"
	must_mount "$BACK" "$MNT" cache=unsafe
	unfinished f
	crash
	mount -o remount,ro "$BACK"
	must_mount "$BACK" "$MNT" cache=writeback
	fails "read-only after a crash: refused" "$FAILS" can_open f
	umount_cachefs "$MNT"
	must_mount "$BACK" "$MNT" cache=writeback,after-crash=trust
	succeeds "read-only after a crash: trusted" can_open f
	umount_cachefs "$MNT"
	mount -o remount,rw "$BACK"
	must_mount "$BACK" "$MNT" cache=writeback,after-crash=trust
	umount_cachefs "$MNT"
}

# 16 checks
check_one_file() {
	write_back_files
	must_mount "$BACK" "$MNT" cache=writeback
	modectl set "$MNT/u" unsafe >/dev/null
	succeeds "one file: no marker by its mode alone" no_marker
	unfinished u
	is "$(grep -E '^(mount|pattern|file)' "$BACK/$MARKER" | sed 's/file [^ ]* /file /')" = 'file "u"' \
		"one file: the marker names it"
	crash
	new_log
	must_mount "$BACK" "$MNT" cache=writeback
	succeeds "one file: the log names it" logged '"u" ('
	fails "one file: refused" "$FAILS" can_open u
	succeeds "one file: another is not" write_some g
	fails "one file: truncate(2) neither" "$FAILS" truncate -s 1 "$MNT/u"
	mv "$MNT/u" "$MNT/v"
	fails "one file: refused under another name" "$FAILS" can_open v
	succeeds "one file: a new one of the old name is not" write_some u
	ln "$MNT/v" "$MNT/link"
	fails "one file: a new link of it is" "$FAILS" can_open link
	rm "$MNT/link"
	fails "one file: not everybody may trust it" 'not permitted' nobody "$TOOLS/modectl" trust "$MNT" v
	umount_cachefs "$MNT"
	must_mount "$BACK" "$MNT" cache=writeback,modes-by=root
	fails "one file: refused by the next mount, too" "$FAILS" can_open v
	chown 65534 "$MNT/v"
	fails "one file: nor its owner with modes-by=root" 'not permitted' nobody "$TOOLS/modectl" trust "$MNT" v
	umount_cachefs "$MNT"
	must_mount "$BACK" "$MNT" cache=writeback
	fails "no such file" 'No such file' modectl trust "$MNT" nothing
	succeeds "one file: its owner may" nobody "$TOOLS/modectl" trust "$MNT" v
	succeeds "one file: opens" can_open v
	succeeds "one file: nothing is left of the marker" no_marker
	umount_cachefs "$MNT"
}

write_back_files() {
	rm -f "$BACK"/*.img "$BACK"/*.raw "$BACK/v"
	for f in u g a.img b.img c.raw; do
		head -c 64k /dev/urandom >"$BACK/$f"
	done
	sync -f "$BACK"
}

# 8 checks
check_pattern() {
	local i

	write_back_files
	must_mount "$BACK" "$MNT" "cache=writeback,rule=*.img=unsafe"
	for ((i = 0; i < 50; i++)); do : >"$MNT/$i.img"; done
	unfinished a.img
	is "$(grep -E '^(mount|pattern|file)' "$BACK/$MARKER")" = 'pattern "*.img"' "rule: one line for all its files"
	crash
	must_mount "$BACK" "$MNT" cache=writeback
	fails "rule: refused" "$FAILS" can_open a.img
	fails "rule: those that were not open, too" "$FAILS" can_open b.img
	succeeds "rule: other names are not" write_some c.raw
	mv "$MNT/a.img" "$MNT/a.raw"
	fails "rule: renamed it stays refused" "$FAILS" can_open a.raw
	mv "$MNT/c.raw" "$MNT/c.img" # in doubt
	sleep 0.1
	succeeds "rule: a new file is not" write_some new.img
	succeeds "rule: all are trusted" modectl trust "$MNT"
	succeeds "rule: open again" can_open a.raw
	umount_cachefs "$MNT"
}

# 6 checks
check_mount() {
	write_back_files
	must_mount "$BACK" "$MNT" cache=unsafe
	unfinished u
	crash
	must_mount "$BACK" "$MNT" cache=unsafe
	fails "mount: all are refused" "$FAILS" can_open g
	succeeds "mount: a new file is not" write_some fresh
	fails "mount: not everybody may trust it" 'not permitted' nobody "$TOOLS/modectl" trust "$MNT"
	succeeds "mount: one is trusted" modectl trust "$MNT" g
	succeeds "mount: it opens" can_open g
	fails "mount: the others do not" "$FAILS" can_open u
	umount_cachefs "$MNT"
	must_mount "$BACK" "$MNT" cache=unsafe,after-crash=trust
	succeeds "mount: after-crash=trust opens them" can_open u
	umount_cachefs "$MNT"
	succeeds "mount: nothing is left of the marker" no_marker
}

# 7 checks
check_truncate() {
	write_back_files
	must_mount "$BACK" "$MNT" cache=writeback
	ops "truncate u 90" >/dev/null
	succeeds "truncate(2): no marker under writeback" no_marker
	umount_cachefs "$MNT"
	# on-close=none: it stays for a minute
	must_mount "$BACK" "$MNT" cache=unsafe,on-close=none
	ops "truncate u 80" >/dev/null
	succeeds "truncate(2): there is a marker when it has returned" has_marker
	is "$(stat -c %s "$BACK/u")" -eq 80 "truncate(2): it is done"
	umount_cachefs "$MNT"
	must_mount "$BACK" "$MNT" cache=unsafe,on-close=none
	ops "open 0 g rdonly,trunc" >/dev/null
	succeeds "open(2) for reading, with O_TRUNC: there is one" has_marker
	crash
	must_mount "$BACK" "$MNT" cache=unsafe
	fails "open(2) for reading, with O_TRUNC: refused after the crash" "$FAILS" can_open g
	modectl trust "$MNT"
	write_some u >/dev/null
	soon no_marker
	ops "truncate u 70" >/dev/null
	succeeds "truncate(2): flushed as after a close" written_back clean u
	succeeds "truncate(2): and then the marker goes" soon no_marker
	umount_cachefs "$MNT"
}

plan $((8 + 3 + 4 + 6 + 5 + 8 + 16 + 8 + 8 + 7))
new_disk errors=continue
for f in f g; do allocate "$BACK/$f" 64K; done
sync -f "$BACK"
check_when
check_cost
check_same_boot
check_flush_error
check_two_mounts
check_unwritable
check_one_file
check_pattern
check_mount
check_truncate
