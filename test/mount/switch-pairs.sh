#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Every pair of modes, switched live on one file, by the extended attribute: what was written before is as
# durable, and as little cached, as the new mode promises when the switch returns; and the new mode is in
# force. Once with the file open and idle, once under eight writers.

. "$(dirname "$0")/../lib/lib.sh"
need_root
need_fuse
need_commands setfattr getfattr
need_tools ioclient pagestat

N=8
HALF=$((1 << 20))

# The second half of the file is written before a switch, and by nobody else.
write_before() {
	dd if=/dev/urandom of="$MNT/f" bs=64k count=16 seek=16 conv=notrunc status=none
}

dirty_before() {
	"$TOOLS/pagestat" -r "$HALF:$HALF" "$BACK/f" | sed 's/.*dirty=\([0-9]*\) writeback=\([0-9]*\).*/\1 \2/' |
		awk '{ print $1 + $2 }'
}

mode_now() {
	getfattr --only-values -n user.cachefs.cache.now "$MNT/f"
}

switch_to() {
	timeout 60 setfattr -n user.cachefs.cache.now -v "$1" "$MNT/f"
}

# flushed: flushes of the device for N writes of 4 KiB to the second half, each with an fdatasync
flushed() {
	local before i

	before=$(flushes "$LOOP")
	for ((i = 0; i < N; i++)); do
		dd if=/dev/zero bs=4k count=1 seek=300 conv=notrunc,fdatasync status=none of="$MNT/f" ||
			return 1
	done
	echo $(($(flushes "$LOOP") - before))
}

# What the switches before this one still do in the background, as with the crash marker, may flush as well: then it
# is tried again.
flushes_are() {
	[ "$(flushed)" -eq "$1" ]
}

again() {
	"$@" || "$@" || "$@" || "$@"
}

# in_force FROM TO: 4 checks that hold with and without writers
in_force() {
	is "$(mode_now)" = "$2" "$1 to $2$LOAD: the mode now"
	case $2 in
	unsafe) is "$(cat "$WORK/switched")" = 0 "$1 to $2$LOAD: it returned" ;;
	*) is "$(cat "$WORK/dirty")" -eq 0 "$1 to $2$LOAD: nothing written before is dirty" ;;
	esac
	case $2 in
	none | directsync) is "$(cached "$BACK/f")" -eq 0 "$1 to $2$LOAD: the page cache is empty" ;;
	*) is "$(cat "$MNT/f" "$MNT/f" | wc -c; cached "$BACK/f" | awk '{ print ($1 > 0) }')" = \
		"$(printf '%s\n1' $((4 * HALF)))" "$1 to $2$LOAD: the page cache is used" ;;
	esac
	if [ -n "$LOAD" ]; then
		case $2 in
		unsafe) ok "$1 to $2$LOAD: flushes are counted without writers" ;;
		*) is "$(flushed)" -ge $N "$1 to $2$LOAD: flushes of the device" ;;
		esac
		return
	fi
	case $2 in
	unsafe) succeeds "$1 to $2: no flush of the device" again flushes_are 0 ;;
	writeback | none) succeeds "$1 to $2: flushes of the device" again flushes_are $N ;;
	*) succeeds "$1 to $2: flushes of the device, each write is one" again flushes_are $((2 * N)) ;;
	esac
}

# pair FROM TO: 6 checks
pair() {
	succeeds "$1$LOAD: is set" switch_to "$1"
	write_before
	switch_to "$2"
	echo $? >"$WORK/switched"
	dirty_before >"$WORK/dirty"
	is "$(cat "$WORK/switched")" -eq 0 "$1 to $2$LOAD: the switch succeeds"
	in_force "$1" "$2"
}

each_pair() {
	local from to

	for from in $MODES; do
		for to in $MODES; do
			[ "$from" = "$to" ] || pair "$from" "$to"
		done
	done
}

start_writers() {
	timeout 3000 "$TOOLS/ioclient" -m plain -j 8 -b 4k -s $HALF -n 100000000 "$MNT/f" \
		>"$WORK/writers.out" 2>&1 &
	writers=$!
}

stop_writers() {
	running "$writers" || { cat "$WORK/writers.out"; return 1; }
	kill "$writers"
	wait "$writers" 2>/dev/null
	timeout 60 "$TOOLS/ioclient" -m odirect -b 4k -s $HALF -r "$MNT/f"
}

make_fs ext4 64M
need_flush_counter
plan $((20 * 6 * 2 + 2))
MNT=$WORK/mnt
allocate "$BACK/f" 2M
must_mount "$BACK" "$MNT" cache=writeback,kernel-path=never
exec 9<>"$MNT/f"
LOAD=
each_pair
LOAD=", 8 writers"
start_writers
each_pair
succeeds "the writers ran all the time, and wrote what they should" stop_writers
exec 9>&-
succeeds "unmounts, the daemon ends" umount_cachefs "$MNT"
