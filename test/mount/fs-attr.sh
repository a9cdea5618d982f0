#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Attributes, sizes and allocation: as on a plain file of the same filesystem; and for how long the
# kernel trusts what it knows.

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/fsops.sh"
need_root
need_fuse
need_commands filefrag
need_tools fsops

attributes() {
	same "$1: times" <<-SCRIPT
	mknod f file 0644
	symlink f l
	mkdir d 0755
	utimens f 1.000000001 2000000000.999999999
	times f
	utimens f omit 5.5
	times f
	utimens f 6.6 omit
	times f
	utimens f omit omit
	times f
	utimens f now omit
	times f
	utimens f 3000000000.123456789 -1.5
	times f
	utimens f now now
	times f
	utimens l 7.7 8.8
	times l
	utimens d 9.9 10.10
	times d
	mknod d/x file 0644
	times d
	utimens d 9.9 10.10
	unlink d/x
	times d
	open 0 f rdwr
	utimens f 1 2
	write 0 x
	times f
	utimens f 1 2
	ftruncate 0 100
	times f
	utimens f 1 2
	ftruncate 0 100
	times f
	utimens f 1 2
	fallocate 0 keep 0 8192
	times f
	utimens f 1 2
	chmod f 0600
	times f
	utimens none 1 2
	utimens f 1 0.1000000000
	SCRIPT
	same "$1: modes and owners" <<-SCRIPT
	mknod f file 0644
	mkdir d 0755
	symlink f l
	open 0 f rdonly
	chmod f 07777
	stat f
	fchmod 0 0123
	fstat 0
	chown f 1 2
	stat f
	chown f -1 3
	chown l 4 5
	stat l
	stat f
	chown d 6 7
	chmod d 03711
	stat d
	chmod none 0
	chown none 0 0
	SCRIPT
	same "$1: sizes" <<-SCRIPT
	mknod f file 0644
	mkdir d 0755
	mknod p fifo 0644
	truncate f 1000000
	stat f
	blocks f
	truncate f 10
	stat f
	truncate f -1
	truncate d 0
	truncate p 0
	truncate none 0
	open 0 f rdwr
	write 0 0123456789
	ftruncate 0 5
	ftruncate 0 10
	read 0 0
	ftruncate 0 -1
	open 1 f rdonly
	ftruncate 1 1
	read 1 9
	read 1 10
	read 1 100000
	write 0 tail 8190
	fstat 1
	read 1 8188
	write 0 x -1
	write 0 x 0x7fffffffffffffff
	ftruncate 0 0x7ffffffffff
	fstat 0
	ftruncate 0 0
	fstat 0
	SCRIPT
	same "$1: allocation" <<-SCRIPT
	open 0 f rdwr,creat 0644
	fallocate 0 0 0 1048576
	fsync 0
	stat f
	blocks f
	fallocate 0 keep 1048576 1048576
	fsync 0
	stat f
	blocks f
	write 0 @131000 0
	write 0 data 1000000
	fsync 0
	fallocate 0 punch,keep 65536 65536
	fallocate 0 zero 4096 4096
	read 0 4090
	read 0 65530
	blocks f
	fallocate 0 punch 0 4096
	fallocate 0 0 -1 10
	fallocate 0 0 0 0
	fallocate 0 0 0x7fffffffffffff00 0x7fffffff
	open 1 f rdonly
	fallocate 1 0 0 10
	ftruncate 0 100
	stat f
	open 2 h rdwr,creat 0644
	ftruncate 2 4194304
	write 2 @65536 1048576
	fsync 2
	seek 2 data 0
	seek 2 hole 0
	seek 2 hole 1048576
	seek 2 data 1200000
	seek 2 data 4194304
	seek 2 hole 4194304
	seek 2 data -1
	seek 2 end 0
	seek 2 end -10
	seek 2 cur 5
	seek 2 set 7
	write 2 seven
	read 2 7
	SCRIPT
	same "$1: copy_file_range" <<-SCRIPT
	open 0 a rdwr,creat 0644
	open 1 b rdwr,creat 0644
	open 2 a rdonly
	write 0 @100000
	write 0 start 0
	write 0 end 99997
	copy 2 0 1 0 200000
	fstat 1
	read 1 99990
	copy 2 3 1 100001 1000
	read 1 100000
	copy 2 100000 1 0 10
	copy 0 0 0 200000 1000
	copy 0 0 0 10 1000
	copy 1 0 2 0 10
	fstat 0
	fstat 1
	read 0 199990
	SCRIPT
}

# df of a path, without the names; free blocks may change a little by what others write.
sizes() {
	stat -f -c "%s %S %b %c %l" "$1"
}

free_blocks() {
	stat -f -c "%f" "$1"
}

# Others write on the same filesystem at the same time.
as_free() {
	local before

	before=$(free_blocks "$BACK")
	[ $(($(free_blocks "$MNT") - before)) -lt 5000 ] && [ $((before - $(free_blocks "$MNT"))) -lt 5000 ]
}

shared_copy() {
	dd if=/dev/urandom of="$MNT/source" bs=64k count=16 status=none
	sync "$MNT/source"
	cp --reflink=never "$MNT/source" "$MNT/plain"
	"$TOOLS/fsops" "$MNT" <<-SCRIPT >"$WORK/copied"
	open 0 source rdonly
	open 1 shared rdwr,creat 0644
	copy 0 0 1 0 1048576
	fsync 1
	SCRIPT
	sync "$MNT/shared"
	is "$(tail -n 2 "$WORK/copied" | head -n 1)" = "copy 0 0 1 0 1048576: 1048576" \
		"$1: copied at once"
	succeeds "$1: the copy is equal" cmp "$MNT/source" "$MNT/shared"
	filefrag -v "$BACK/shared" >"$WORK/frag"
	is "$(grep -c shared <(tail -n +4 "$WORK/frag" | head -n -1))" -ge 1 \
		"$1: the copy shares its extents"
	rm "$MNT/source" "$MNT/plain" "$MNT/shared"
}

# Seen after the timeout, whatever it was that changed behind the mount.
behind() {
	echo one >"$BACK/behind"
	echo gone >"$BACK/removed"
	stat "$MNT/behind" "$MNT/removed" >/dev/null
	cat "$MNT/behind" >/dev/null
	echo longer >"$BACK/behind"
	chmod 601 "$BACK/behind"
	rm "$BACK/removed"
	mkdir "$BACK/made"
	echo new >"$BACK/made/file"
	sleep 1.2
	is "$(stat -c '%s %a' "$MNT/behind")" = "7 601" "changes behind the mount: attributes"
	is "$(cat "$MNT/behind")" = longer "changes behind the mount: data"
	fails "changes behind the mount: a name removed" "No such file" stat "$MNT/removed"
	is "$(cat "$MNT/made/file")" = new "changes behind the mount: names made"
	echo other >"$BACK/other" && mv "$BACK/other" "$BACK/behind"
	sleep 1.2
	is "$(cat "$MNT/behind")" = other "changes behind the mount: a name replaced"
	rm -r "$BACK/behind" "$BACK/made"
}

# kept COMMAND: the kernel may drop what it keeps whenever it wants the memory (and does when a test beside
# this one empties its caches), so one round in which it did not is enough.
kept() {
	local i

	for i in 1 2 3 4 5; do
		! "$@" || return 0
	done
	return 1
}

attr_kept() {
	chmod 644 "$MNT/behind"
	stat "$MNT/behind" >/dev/null
	chmod 601 "$BACK/behind"
	sleep 1.2
	[ "$(stat -c %a "$MNT/behind")" = 644 ]
}

name_kept() {
	local name=later.$RANDOM$RANDOM

	! stat "$MNT/$name" || return 1
	echo >"$BACK/$name"
	sleep 1.2
	! stat "$MNT/$name"
}

exclusive() {
	echo one >"$BACK/behind"
	must_mount "$BACK" "$MNT" "exclusive"
	succeeds "exclusive: a name that is not there is kept" kept name_kept
	succeeds "exclusive: attributes are kept" kept attr_kept
	echo through >"$MNT/behind"
	is "$(stat -c %s "$MNT/behind")" = 8 "exclusive: own changes are seen"
	echo mine >"$MNT/mine" && mv "$MNT/mine" "$MNT/behind"
	is "$(cat "$MNT/behind")" = mine "exclusive: own names are seen"
	mkdir "$MNT/later2" && rmdir "$MNT/later2"
	fails "exclusive: own removals are seen" "No such file" stat "$MNT/later2"
	rm "$BACK/behind" "$BACK"/later.*
	succeeds "unmounts, the daemon ends" umount_cachefs "$MNT"
}

plan 37
same_mount
attributes "$(stat -f -c %T "$WORK")"
is "$(sizes "$MNT")" = "$(sizes "$BACK")" "statfs as the backing's"
succeeds "free blocks as the backing's" soon as_free
behind
succeeds "unmounts, the daemon ends" umount_cachefs "$MNT"
exclusive
for type in xfs btrfs; do
	make_fs $type 320M
	FS=$BACK
	mkdir "$FS/native" "$FS/back"
	NATIVE=$FS/native
	BACK=$FS/back
	must_mount "$BACK" "$MNT" "cache=none"
	attributes "$type, cache=none"
	shared_copy $type
	succeeds "$type: unmounts, the daemon ends" umount_cachefs "$MNT"
done
