#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The test disk does what the tests that use it rely on.
set -u

here=$(cd "$(dirname "$0")" && pwd)
top_builddir=${top_builddir:-$here/../..}
# shellcheck source=test/lib/disk.sh
. "$here/../lib/disk.sh"

tests=22 number=0 failed=0

skip() {
	echo "1..0 # SKIP $1"
	exit 77
}

# check TEXT COMMAND...: one TAP line, for the command's exit status.
check() {
	local text=$1
	shift
	number=$((number + 1))
	if "$@"; then
		echo "ok $number - $text"
	else
		echo "not ok $number - $text"
		failed=$((failed + 1))
	fi
}

die() {
	echo "Bail out! $1"
	exit 1
}

cleanup() {
	local status=$?
	trap - EXIT
	[ -z "$work" ] || {
		! mountpoint -q "$DISK_DIR" 2>/dev/null || { disk_thaw; disk_clear; }
		! mountpoint -q "$work/cut" || umount "$work/cut"
		! mountpoint -q "$work/fs" || umount "$work/fs" || umount -l "$work/fs"
		disk_stop || status=1
		rm -rf --one-file-system "$work"
	}
	exit "$status"
}

reason=$(disk_missing mkfs.ext4 e2fsck dd cmp timeout) && skip "$reason"
work=''
trap cleanup EXIT
trap 'exit 1' HUP INT TERM
work=$(mktemp -d "${TMPDIR:-/tmp}/disk-selftest.XXXXXX") || die "no work directory"
mkdir "$work/fs" "$work/cut"
echo "1..$tests"

# quiet COMMAND...: only the exit status counts.
quiet() { "$@" >/dev/null 2>&1; }
refused() { ! quiet "$@"; }
# says PATTERN COMMAND...: the command fails, and its message matches.
says() {
	local pattern=$1 message
	shift
	! message=$(LC_ALL=C "$@" 2>&1) && [[ $message == *$pattern* ]]
}
now_ms() { date +%s%3N; }
# A block of bytes C, SIZE long.
fill() { head -c "$2" /dev/zero | tr '\0' "$1"; }

# ---- commands ----

disk_start "$work/disk" 128M --cache=32M || die "the disk does not start"
disk_attach || die "no loop device"

bad_commands() {
	local command
	for command in '' nonsense 'delay write' 'delay write x' 'delay sideways 5' 'fail write EFOO' \
		'fail write EIO at=5' 'fail flush EIO at=0+512' 'fail read EIO nth=0' 'freeze now' \
		'cut relative' "cut $work/x seed=y" "cut $work/x keep=101" $'thaw\nnonsense'; do
		says 'Invalid argument' sh -c 'printf "%s\n" "$1" | dd of="$2" status=none' - \
			"$command" "$DISK_DIR/control" || { echo "# accepted: $command"; return 1; }
	done
	[ "$(disk_stat rules)" = 0 ] && [ "$(disk_stat frozen)" = 0 ] && [ ! -e "$work/x" ]
}
check "bad commands get EINVAL and change nothing" bad_commands

# ---- counters ----

flushes_agree() {
	local loop disk i
	loop=$(disk_loop_flushes) disk=$(disk_stat flushes)
	for i in 1 2 3 4 5; do
		dd if=/dev/zero of="$DISK_LOOP" bs=4k seek="$i" count=1 oflag=direct conv=fsync \
			status=none || return 1
	done
	loop=$(($(disk_loop_flushes) - loop)) disk=$(($(disk_stat flushes) - disk))
	echo "# flushes: loop $loop, disk $disk"
	[ "$loop" = 5 ] && [ "$disk" = 5 ]
}
check "five fsyncs are five flushes, to the loop device and to the disk" flushes_agree

sync_writes_flush() {
	local loop disk writes
	loop=$(disk_loop_flushes) disk=$(disk_stat flushes) writes=$(disk_stat writes)
	dd if=/dev/zero of="$DISK_LOOP" bs=4k count=5 oflag=direct,dsync status=none || return 1
	loop=$(($(disk_loop_flushes) - loop)) disk=$(($(disk_stat flushes) - disk))
	[ "$loop" = "$disk" ] && [ "$disk" -ge 5 ] && [ $(($(disk_stat writes) - writes)) = 5 ] &&
		[ "$(disk_stat cached_writes)" = 0 ]
}
check "O_DSYNC writes of the loop device are writes and flushes" sync_writes_flush

plain_writes() {
	local flushes writes bytes
	flushes=$(disk_stat flushes) writes=$(disk_stat writes) bytes=$(disk_stat write_bytes)
	dd if=/dev/zero of="$DISK_LOOP" bs=8k count=7 oflag=direct status=none || return 1
	[ $(($(disk_stat writes) - writes)) = 7 ] && [ "$(disk_stat flushes)" = "$flushes" ] &&
		[ $(($(disk_stat write_bytes) - bytes)) = 57344 ] &&
		[ "$(disk_stat cached_bytes)" = 57344 ]
}
check "writes are counted, not flushed, and stay in the volatile cache" plain_writes

fua_is_stable_alone() {
	disk_flush
	fill a 4096 | dd of="$DISK_DIR/disk" bs=4k count=1 iflag=fullblock conv=notrunc status=none
	fill b 4096 | dd of="$DISK_DIR/disk" bs=4k count=1 seek=1 iflag=fullblock conv=notrunc \
		oflag=dsync status=none
	[ "$(disk_stat fua_writes)" = 1 ] && [ "$(disk_stat cached_writes)" = 1 ] || return 1
	disk_cut "$work/image" 1 0 || return 1
	[ "$(dd if="$work/image" bs=1 count=1 status=none | tr '\0' 0)" = 0 ] &&
		[ "$(dd if="$work/image" bs=1 skip=4096 count=1 status=none)" = b ]
}
check "a FUA write is stable, an earlier plain one is not" fua_is_stable_alone

# put C BLOCK [DD OPTION]...: 4 KiB of C, straight to the disk.
put() {
	fill "$1" 4096 | dd of="$DISK_DIR/disk" bs=4k count=1 seek="$2" iflag=fullblock \
		conv=notrunc status=none "${@:3}"
}
fua_stays() {
	disk_flush
	put a 1 && put b 1 oflag=dsync && put c 2 oflag=dsync && put d 2 || return 1
	disk_cut "$work/image" 1 100 >/dev/null || return 1
	[ "$(dd if="$work/image" bs=4k skip=1 count=2 status=none | tr -s bd)" = bd ] || return 1
	disk_cut "$work/image" 1 0 >/dev/null || return 1
	[ "$(dd if="$work/image" bs=4k skip=1 count=2 status=none | tr -s bc)" = bc ]
}
check "no older version comes back over a FUA write, a newer one may" fua_stays

full_cache() {
	local destaged
	disk_flush
	destaged=$(disk_stat destaged_writes)
	# 48 MiB, twice over the same 24, into a cache of 32.
	for byte in x y; do
		fill "$byte" 25165824 | dd of="$DISK_DIR/disk" bs=64k iflag=fullblock \
			conv=notrunc status=none || return 1
	done
	destaged=$(($(disk_stat destaged_writes) - destaged))
	echo "# destaged $destaged writes of 768"
	[ "$destaged" -ge 256 ] && [ "$destaged" -lt 768 ] || return 1
	[ "$(disk_stat cached_bytes)" -le 33554432 ] || return 1
	[ "$(head -c 25165824 "$DISK_DIR/disk" | tr -d y | wc -c)" = 0 ] || return 1
	disk_cut "$work/image" 1 100 >/dev/null && cmp "$work/image" "$DISK_DIR/disk" || return 1
	disk_flush && cmp "$work/image" "$DISK_DIR/disk"
}
check "a full cache destages, and the latest version is read and kept" full_cache

# ---- power cuts, sector by sector ----

versions=0
# Four versions of 64 sectors, each a write of its own; none flushed but the first.
cut_versions() {
	local seed v found
	fill 1 32768 | dd of="$DISK_DIR/disk" bs=32k iflag=fullblock conv=notrunc,fsync status=none
	for v in 2 3 4; do
		fill "$v" 32768 | dd of="$DISK_DIR/disk" bs=32k iflag=fullblock conv=notrunc status=none
	done
	for seed in {1..24}; do
		disk_cut "$work/image.$seed" "$seed" >/dev/null || return 1
		head -c 32768 "$work/image.$seed" | fold -b -w 512 | sort -u >"$work/sectors"
		# Whole sectors only, and only of what was written.
		! grep -qvxE '1{512}|2{512}|3{512}|4{512}' "$work/sectors" || return 1
		found+=$(cut -c1 "$work/sectors" | tr -d '\n')' '
	done
	echo "# versions: $found"
	versions=$found
}
check "an image of a cut has whole sectors of versions that were written" cut_versions
has_each() { [[ $versions == *1* && $versions == *2* && $versions == *3* && $versions == *4* ]]; }
check "over the seeds each version survives somewhere" has_each
# Torn between versions: some image has two of them.
has_torn() { [[ $versions =~ [1-4][1-4] ]]; }
check "over the seeds some writes are torn" has_torn
same_seed() {
	disk_cut "$work/image.again" 7 >/dev/null && cmp -s "$work/image.7" "$work/image.again"
}
check "the same seed gives the same image" same_seed
all_or_nothing() {
	disk_cut "$work/image.all" 7 100 >/dev/null && disk_cut "$work/image.none" 7 0 >/dev/null &&
		cmp -s "$work/image.all" "$DISK_DIR/disk" &&
		[ "$(head -c 32768 "$work/image.none" | tr -d 1 | wc -c)" = 0 ]
}
check "keep=100 is the disk as it was read, keep=0 what was flushed" all_or_nothing
rm -f "$work"/image*

# ---- ext4 over a power cut ----

mkfs.ext4 -q -F "$DISK_LOOP" || die "mkfs.ext4 failed"
mount -o commit=600 "$DISK_LOOP" "$work/fs" || die "mount of $DISK_LOOP failed"
ext4_load() {
	local i
	fill o 131072 >"$work/fs/unsynced" || return 1
	for i in {1..8}; do
		fill "$i" 16384 | dd of="$work/fs/synced$i" bs=16k iflag=fullblock conv=fsync \
			status=none || return 1
	done
	sync "$work/fs/unsynced" || return 1
	# Reaches the disk (direct), in 32 writes, with no flush after it.
	fill n 131072 | dd of="$work/fs/unsynced" bs=4k iflag=fullblock oflag=direct conv=notrunc \
		status=none
}
check "a load on ext4 on the disk" ext4_load
disk_freeze

synced_kept=yes clean=yes cuts=0 old=0 new=0
for seed in {1..8}; do
	disk_cut "$work/image" "$seed" || { clean=no; break; }
	mount -o loop "$work/image" "$work/cut" || { clean=no; break; }
	for i in {1..8}; do
		fill "$i" 16384 | cmp -s - "$work/cut/synced$i" || synced_kept="no, seed $seed file $i"
	done
	[ "$(tr -d n <"$work/cut/unsynced" | wc -c)" = 0 ] || old=$((old + 1))
	[ "$(tr -d o <"$work/cut/unsynced" | wc -c)" = 0 ] || new=$((new + 1))
	cuts=$((cuts + 1))
	umount "$work/cut" || die "the image stays busy"
	quiet e2fsck -fn "$work/image" || clean="no, seed $seed"
done
rm -f "$work/image"
disk_thaw
# An image that does not mount has been searched for nothing.
[ "$cuts" = 8 ] || synced_kept="unknown, only $cuts images of 8 mounted"
echo "# of 8 cuts, $old miss unsynced data, $new have some"
check "each cut image mounts and is consistent ($clean)" [ "$clean" = yes ]
check "fsynced data is present after each cut ($synced_kept)" [ "$synced_kept" = yes ]
check "unsynced data is missing after some cut" [ "$old" -gt 0 ]
check "unsynced data is present after some cut" [ "$new" -gt 0 ]

# ---- delay, freeze ----

delay_delays() {
	local start plain tries
	# without a delay it is faster, unless the machine is busy with something else
	for ((tries = 0; tries < 50; tries++)); do
		start=$(now_ms)
		dd if=/dev/zero of="$work/fs/unsynced" bs=4k count=1 oflag=direct conv=notrunc status=none
		plain=$(($(now_ms) - start))
		[ "$plain" -ge 700 ] || break
	done
	disk_delay write 700 nth=1
	start=$(now_ms)
	dd if=/dev/zero of="$work/fs/unsynced" bs=4k count=1 oflag=direct conv=notrunc status=none
	start=$(($(now_ms) - start))
	disk_clear
	echo "# a write took $plain ms, delayed $start ms"
	[ "$start" -ge 700 ] && [ "$plain" -lt 700 ]
}
check "a delay delays the chosen write" delay_delays

freeze_freezes() {
	local pid before tries frozen=yes
	before=$(disk_stat waiting)
	disk_freeze
	dd if=/dev/zero of="$work/fs/unsynced" bs=4k count=1 oflag=direct conv=notrunc status=none &
	pid=$!
	for ((tries = 0; tries < 1200; tries++)); do
		[ "$(disk_stat waiting)" = "$before" ] || break
		sleep 0.05
	done
	sleep 0.3
	kill -0 "$pid" && [ "$(disk_stat waiting)" -gt "$before" ] || frozen=no
	disk_thaw
	wait "$pid" && [ "$frozen" = yes ] && [ "$(disk_stat waiting)" = 0 ]
}
check "a write blocks while the disk is frozen and completes after the thaw" freeze_freezes

# ---- errors; last, since ext4 does not survive them ----

enospc_reported() {
	disk_fail write ENOSPC count=1
	says 'No space left' dd if=/dev/zero of="$DISK_DIR/disk" bs=4k count=1 conv=notrunc &&
		[ "$(disk_stat failed)" = 1 ]
}
# On block 0 the boot block: ext4 has nothing there.
check "ENOSPC reaches the writer once" enospc_reported
disk_clear

fsync_fails() {
	disk_fail flush EIO
	says 'Input/output error' timeout 60 dd if=/dev/zero of="$work/fs/unsynced" bs=4k count=1 \
		conv=notrunc,fsync
}
check "EIO of a flush reaches the client's fsync" fsync_fails
disk_clear
umount "$work/fs" || die "ext4 stays busy"

all_released() {
	local loop=$DISK_LOOP pid=$DISK_PID dir=$DISK_DIR dev=$DISK_DEV
	disk_stop && disk_stop && ! kill -0 "$pid" 2>/dev/null && ! mountpoint -q "$dir" &&
		[ "$(losetup -n -O BACK-MAJ:MIN "$loop" 2>/dev/null | tr -d ' ')" != "$dev" ]
}
check "stopping ends the program, the mount and the loop device" all_released

[ "$number" = "$tests" ] || die "$number checks ran, not $tests"
[ "$failed" = 0 ]
