#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Checkpoints by the module alone, without a mount: what is taken, kept, put back, and what a kill in
# the middle leaves, on filesystems with reflinks and without.

. "$(dirname "$0")/../lib/lib.sh"
need_root
need_tools ckpt pagestat
need_commands setfattr setfacl strace

KILLS=50
[ -z "$CACHEFS_LONG" ] || KILLS=500
CKPT=$TOOLS/ckpt

# Is this filesystem to be had here? make_fs ends the test where it is not.
have() {
	command -v "mkfs.$1" >/dev/null && grep -qw "$1" /proc/filesystems ||
		{ command -v "mkfs.$1" >/dev/null && modprobe -q "$1"; }
}

# checkpoint FILE N: where it is.
checkpoint() {
	echo "$BACK/$("$CKPT" info "$BACK" "$1" "$2" | cut -d ' ' -f 3)"
}

same() {
	cmp "$1" "$2"
}

# What the attributes of FILE are, but its times and links.
attributes() {
	stat -c '%a %u %g' "$1"
	getfattr -d -m - -e hex "$1" 2>/dev/null | tail -n +2
	getfacl -c "$1" 2>/dev/null
	lsattr "$1" 2>/dev/null | cut -d ' ' -f 1
}

# ---- taking ----

# 8 checks
test_taking() {
	local type=$1 i

	dd if=/dev/urandom of="$BACK/a" bs=1M count=4 status=none
	setfattr -n user.color -v blue "$BACK/a"
	setfacl -m u:1234:r "$BACK/a"
	chown 1001:1002 "$BACK/a"
	chmod 2640 "$BACK/a"
	touch -d '2020-01-02 03:04:05' "$BACK/a"
	is "$("$CKPT" probe "$BACK")" = yes "$type: has reflinks"
	succeeds "$type: a checkpoint is taken" "$CKPT" take "$BACK" a
	is "$(attributes "$(checkpoint a 0)")" = "$(attributes "$BACK/a")" "$type: with the attributes"
	is "$(stat -c %Y "$(checkpoint a 0)")" = "$(stat -c %Y "$BACK/a")" "$type: and the time"
	for i in 1 2 3; do
		cp "$BACK/a" "$WORK/a.$i"
		"$CKPT" take "$BACK" a
		dd if=/dev/urandom of="$BACK/a" bs=4k seek=7 count=16 conv=notrunc status=none
	done >"$WORK/take.log"
	is "$(find "$BACK/.cachefs/checkpoints" -type f -name '[0-9]*.*' | wc -l)" -eq 2 "$type: two are kept"
	succeeds "$type: the newest is the image then" same "$WORK/a.3" "$(checkpoint a 0)"
	succeeds "$type: so is the one before" same "$WORK/a.2" "$(checkpoint a 1)"
	sync -f "$BACK"
	between "$("$CKPT" info "$BACK" a 0 | cut -d ' ' -f 2)" 65536 524288 \
		"$type: what it alone holds is what was overwritten since"
}

# 3 checks: a writer at full speed, buffered, and many checkpoints.
test_prefix() {
	local type=$1 i writer taken ok=0 last=0 now moved=0 then

	truncate -s 32M "$BACK/numbers"
	then=$(stat -c %y "$BACK/numbers")
	"$CKPT" write "$BACK/numbers" 9>&- &
	writer=$!
	for ((i = 0; i < 12; i++)); do
		soon written_since "$then"
		"$CKPT" take "$BACK" numbers >>"$WORK/prefix.log" 2>&1 && taken=0 || taken=1
		then=$(stat -c %y "$BACK/numbers")
		[ $taken -eq 0 ] &&
			now=$("$CKPT" verify "$(checkpoint numbers 0)" 2>>"$WORK/prefix.log") || continue
		ok=$((ok + 1))
		[ "$now" -le "$last" ] || moved=$((moved + 1))
		last=$now
	done
	is "$(running $writer && echo running)" = running "$type: the writer goes on"
	kill -KILL $writer
	wait $writer 2>/dev/null
	is $ok -eq 12 "$type: each of 12 checkpoints has all that was written before what it has" ||
		diag "$(cat "$WORK/prefix.log")"
	is $moved -ge 6 "$type: and they are of different moments"
	rm "$BACK/numbers"
	"$CKPT" collect "$BACK"
}

# A writer may rest for a while.
written_since() { [ "$(stat -c %y "$BACK/numbers")" != "$1" ]; }

# 3 checks: the same in ranges, the writer behind the gate.
test_ranges() {
	local type=$1

	truncate -s 64M "$BACK/numbers"
	succeeds "$type: each of 12 checkpoints in ranges is a state that the file had" \
		"$CKPT" ranges "$BACK" numbers 12
	is "$(sort -nu <<<"$output" | wc -l)" -ge 6 "$type: and they are of different moments"
	truncate -s 5000001 "$BACK/numbers"
	"$CKPT" take-ranges "$BACK" numbers >"$WORK/take.log" 2>&1 || diag "$(cat "$WORK/take.log")"
	succeeds "$type: an end that is not the end of a block" same "$BACK/numbers" "$(checkpoint numbers 0)"
	rm "$BACK/numbers"
	"$CKPT" collect "$BACK"
}

# ---- putting back ----

# 13 checks
test_rollback() {
	local type=$1 before kept

	rm -f "$BACK"/a*
	"$CKPT" collect "$BACK"
	mkdir -p "$BACK/d"
	setfacl -d -m u:77:rwx "$BACK/d"
	: >"$BACK/d/a"
	setfacl -b "$BACK/d/a"
	[ "$type" != btrfs ] || chattr +C "$BACK/d/a"
	dd if=/dev/urandom of="$BACK/d/a" bs=1M count=4 status=none
	cp "$BACK/d/a" "$WORK/good"
	"$CKPT" take "$BACK" d/a 2 >"$WORK/take.log" 2>&1 || diag "$(cat "$WORK/take.log")"
	dd if=/dev/urandom of="$BACK/d/a" bs=1M count=3 seek=2 conv=notrunc status=none
	cp "$BACK/d/a" "$WORK/bad"
	setfattr -n user.color -v blue "$BACK/d/a"
	chown 1001:1002 "$BACK/d/a"
	chmod 2640 "$BACK/d/a"
	before=$(attributes "$BACK/d/a")
	find "$BACK" -ls | sort >"$WORK/tree.before"
	succeeds "$type: a dry run" "$CKPT" dry-run "$BACK" d/a
	find "$BACK" -ls | sort >"$WORK/tree.after"
	succeeds "$type: changes nothing" same "$WORK/tree.before" "$WORK/tree.after"
	ln "$BACK/d/a" "$BACK/link"
	fails "$type: not for a file with two links" EMLINK "$CKPT" rollback "$BACK" d/a
	rm "$BACK/link"
	succeeds "$type: a rollback" "$CKPT" rollback "$BACK" d/a
	kept=$output
	succeeds "$type: has put the checkpoint there" same "$BACK/d/a" "$WORK/good"
	succeeds "$type: kept the tainted file" same "$BACK/d/$kept" "$WORK/bad"
	is "$(grep -c '^a\.tainted-[0-9]\{8\}T[0-9]\{6\}Z$' <<<"$kept")" -eq 1 "$type: under its name ($kept)"
	is "$(attributes "$BACK/d/a")" = "$before" "$type: with the attributes of the image now"
	is "$("$CKPT" each "$BACK")" = "d/a 4194304" "$type: the checkpoints are the new file's"
	ln -s a "$BACK/d/symlink"
	cp "$BACK/d/a" "$BACK/d/other"
	fails "$type: not in the place of a symbolic link to it" ESTALE "$CKPT" rollback "$BACK" d/a symlink
	fails "$type: nor of another file" ESTALE "$CKPT" rollback "$BACK" d/a other
	cp "$WORK/bad" "$BACK/d/a"
	succeeds "$type: and again" "$CKPT" rollback "$BACK" d/a
	rm -r "$BACK/d"
}

# state: old, or new and the tainted file kept, or what is wrong.
state() {
	local kept=("$BACK"/image.tainted-*)

	if cmp -s "$BACK/image" "$WORK/bad"; then
		[ -e "${kept[0]}" ] && echo "old, and a file ${kept[0]}" || echo old
	elif ! cmp -s "$BACK/image" "$WORK/good"; then
		echo "neither old nor new"
	elif [ ${#kept[@]} -ne 1 ] || ! cmp -s "${kept[0]}" "$WORK/bad"; then
		echo "new, but kept: ${kept[*]}"
	else
		echo new
	fi
}

# after_kill: counts what there is when the leftovers were collected, and ends with the image rolled back.
after_kill() {
	local now

	# the name must be one of the two before anybody looks after it
	cmp -s "$BACK/image" "$WORK/bad" || cmp -s "$BACK/image" "$WORK/good" ||
		echo "before collect: neither" >>"$WORK/kills.wrong"
	"$CKPT" collect "$BACK" 2>>"$WORK/kills.wrong"
	now=$(state)
	case $now in
	old) olds=$((olds + 1)); "$CKPT" rollback "$BACK" image >/dev/null 2>>"$WORK/kills.wrong" ;;
	new) news=$((news + 1)) ;;
	*) echo "after kill: $now" >>"$WORK/kills.wrong" ;;
	esac
	cmp -s "$BACK/image" "$WORK/good" || echo "after the second try: not new" >>"$WORK/kills.wrong"
	[ "$("$CKPT" each "$BACK")" = "image 4194304" ] ||
		echo "checkpoints: $("$CKPT" each "$BACK")" >>"$WORK/kills.wrong"
	[ -z "$(find "$BACK/.cachefs" -name rollback)" ] || echo "the record is left" >>"$WORK/kills.wrong"
	rm -f "$BACK"/image.tainted-*
	cp "$WORK/bad" "$BACK/image"
}

# 3 checks. At random moments, and just before each system call that changes something.
test_kills() {
	local type=$1 i olds=0 news=0 call n

	: >"$WORK/kills.wrong"
	cp "$WORK/good" "$BACK/image"
	"$CKPT" take "$BACK" image >/dev/null
	cp "$WORK/bad" "$BACK/image"
	for ((i = 0; i < KILLS; i++)); do
		"$CKPT" rollback "$BACK" image >/dev/null 2>&1 &
		sleep "0.0$(printf '%02d' $((RANDOM % 60)))"
		kill -KILL $! 2>/dev/null
		wait $! 2>/dev/null
		after_kill
	done
	is "$(cat "$WORK/kills.wrong")" = "" "$type: old or new after each of $KILLS kills ($olds old, $news new)"
	olds=0 news=0
	for call in ioctl:3 linkat:1 fsync:1 fsync:2 fsync:3 fsync:4 fsync:5 fsync:6 renameat:1 \
		renameat2:1 syncfs:1 renameat:2 unlinkat:1; do
		n=${call#*:}
		strace -f -qq -o /dev/null -e trace="${call%:*}" \
			-e inject="${call%:*}:signal=KILL:when=$n" \
			"$CKPT" rollback "$BACK" image >/dev/null 2>&1 &
		wait $! 2>/dev/null
		after_kill
	done
	is "$(cat "$WORK/kills.wrong")" = "" "$type: and after one at each step ($olds old, $news new)"
	is "$((olds > 3 && news > 1))" -eq 1 "$type: which were before the exchange and after it"
	"$CKPT" drop "$BACK" image
	rm "$BACK/image"
}

# ---- what goes wrong ----

# 7 checks
test_gone() {
	local type=$1

	for f in b c; do
		dd if=/dev/urandom of="$BACK/$f" bs=64k count=1 status=none
		"$CKPT" take "$BACK" $f >/dev/null
	done
	mv "$BACK/c" "$BACK/moved"
	exec 8<"$BACK/b"
	rm "$BACK/b"
	is "$("$CKPT" each "$BACK" | sort | xargs)" = "b 65536 c 65536" "$type: checkpoints of a file that is gone"
	succeeds "$type: are collected" "$CKPT" collect "$BACK"
	exec 8<&-
	is "$("$CKPT" each "$BACK")" = "c 65536" "$type: that of one that has moved is not"
	succeeds "$type: nor lost" "$CKPT" rollback "$BACK" moved
	rm "$BACK"/moved*
	fails "$type: no checkpoint, no rollback" ENOENT "$CKPT" rollback "$BACK" full
	succeeds "$type: collect with nothing left" "$CKPT" collect "$BACK"
	is "$(ls "$BACK/.cachefs/checkpoints")" = "" "$type: leaves nothing"
}

# 7 checks
test_full_and_read_only() {
	local type=$1 first

	dd if=/dev/urandom of="$BACK/full" bs=1M count=8 status=none
	cp "$BACK/full" "$WORK/full.was"
	"$CKPT" take "$BACK" full >/dev/null
	first=$(checkpoint full 0)
	# no room for so much as a directory entry, or the clone's extents
	fill "$BACK"
	fails "$type: full: no checkpoint" ENOSPC take_until_failed full
	succeeds "$type: full: the earlier ones are intact" same "$WORK/full.was" "$(checkpoint full 0)"
	is "$(find "$BACK/.cachefs" -name unfinished | wc -l)" -eq 0 "$type: full: nothing unfinished is left"
	rm -r "$BACK/fill"
	sync -f "$BACK"
	succeeds "$type: with room again it works" "$CKPT" take "$BACK" full
	mount -o remount,ro "$BACK"
	fails "$type: read-only: no checkpoint" EROFS "$CKPT" take "$BACK" full
	fails "$type: read-only: no rollback" EROFS "$CKPT" dry-run "$BACK" full
	succeeds "$type: read-only: the earlier ones are intact" same "$WORK/full.was" "$(checkpoint full 0)"
	mount -o remount,rw "$BACK"
	: "$first"
}

# Until not one more byte of data or name fits.
fill() {
	local i size target

	mkdir "$1/fill"
	for size in 64M 1M 64K 4K; do
		for ((i = 0; i < 2000; i++)); do
			fallocate -l $size "$1/fill/$size.$i" 2>/dev/null || break
		done
	done
	sync -f "$1"
	for ((i = 0; i < 60000; i++)); do
		printf -v target '%0900d' $i
		ln -s "$target" "$1/fill/s$i" 2>/dev/null || break
	done
	sync -f "$1"
}

# A filesystem keeps a reserve for metadata: it lasts for some.
take_until_failed() {
	local i

	for ((i = 0; i < 200; i++)); do
		"$CKPT" take "$BACK" "$1" >/dev/null || return 1
		# makes the next clone's extents cost something
		dd if=/dev/urandom of="$BACK/$1" bs=4k seek=$((i * 2)) count=1 conv=notrunc \
			status=none 2>/dev/null
		cp "$BACK/$1" "$WORK/full.was" 2>/dev/null
	done
}

FILESYSTEMS=$(for t in xfs btrfs; do have $t && echo $t; done)
[ -n "$FILESYSTEMS" ] || skip_all "neither XFS nor btrfs here"
plan $(($(wc -w <<<"$FILESYSTEMS") * 43 + 2))

BACK=$WORK/plain
make_fs ext4 32M
is "$("$CKPT" probe "$BACK")" = no "ext4 has no reflinks"
mkdir "$WORK/tmpfs"
mount -t tmpfs tmpfs "$WORK/tmpfs" && echo "$WORK/tmpfs" >>"$WORK/mounts"
is "$("$CKPT" probe "$WORK/tmpfs")" = no "nor has tmpfs"
for type in $FILESYSTEMS; do
	make_fs "$type" 512M
	test_taking "$type"
	test_prefix "$type"
	test_ranges "$type"
	test_rollback "$type"
	test_kills "$type"
	test_gone "$type"
	test_full_and_read_only "$type"
done
