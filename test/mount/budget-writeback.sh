#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the limits of unflushed data do with a disk that works: samples of the backing file's page cache,
# ten a second, while it is written; and what is left for a flush at a live switch. Each with a run
# without limits beside it, which goes over them. CACHEFS_LONG: the writers' time is 10 s, not 4.

. "$(dirname "$0")/../lib/lib.sh"
LAST_CLOSE=
. "$top_srcdir/test/lib/disk-fs.sh"
need_root
need_fuse
need_tools ioclient pagestat
need_disk setfattr

SECONDS_LONG=4
[ "${CACHEFS_LONG:-0}" -eq 0 ] || SECONDS_LONG=10
MIB=$((1 << 20))

dirty_bytes() {
	"$TOOLS/pagestat" -b "$BACK/f" | sed 's/.*dirty=\([0-9]*\) writeback=\([0-9]*\).*/\1 \2/' |
		awk '{ print $1 + $2 }'
}

# samples SECONDS MIB: ten a second, for so long and until one is larger than that, a minute at most; sets MOST, the
# largest one, in bytes.
samples() {
	local i now

	MOST=0
	for ((i = 0; i < $1 * 10 || (MOST <= $2 * MIB && i < 600); i++)); do
		now=$(dirty_bytes)
		[ "$now" -le "$MOST" ] || MOST=$now
		sleep 0.1
	done
}

at_most() { [ "$(dirty_bytes)" -le $(($1 * MIB)) ]; }

# Writes 2 MiB ten times a second, around in 256 MiB. With a BOUND, in MiB, only after not more than that is unflushed:
# the daemon's thread may have to wait for a processor longer than the writer.
write_slowly() {
	local i

	for ((i = 0; ; i++)); do
		[ ! -e "$WORK/stop" ] || return 0
		dd if=/dev/zero bs=1M count=2 seek=$((i % 128 * 2)) conv=notrunc status=none >&8
		[ -z "$BOUND" ] || within 5 at_most "$BOUND" || dirty_bytes >>"$WORK/over"
		sleep 0.1
	done
}

# run OPTIONS WRITER SECONDS MIB: a mount, the file open as 8, its writer for so long and until so much was unflushed.
# Sets MOST, and LEFT: what is unflushed when it has stopped.
run() {
	must_mount "$BACK" "$MNT" "cache=unsafe${1:+,$1}"
	drop_cache "$BACK/f"
	rm -f "$WORK/stop" "$WORK/over"
	exec 8<>"$MNT/f"
	"$2" &
	samples "$3" "$4"
	touch "$WORK/stop"
	wait $!
	LEFT=$(dirty_bytes)
}

finish() {
	exec 8>&-
	umount_cachefs "$MNT" || bail_out "the mount does not end"
}

# Writes the file over and over, as fast as it goes.
fast() {
	local i

	for ((i = 0; i < 100; i++)); do
		[ ! -e "$WORK/stop" ] || return 0
		"$TOOLS/ioclient" -m plain -b 256k -s 256M "$MNT/f" >/dev/null
	done
}

# The switch flushes what is left; the time of that is what is left, by the disk's speed.
switch() {
	timeout 120 setfattr -n user.cachefs.cache.now -v writeback "$MNT/f"
}

check_fast() {
	local without

	disk_delay write "$DELAY"
	run "" fast "$SECONDS_LONG" 96
	is "$MOST" -gt $((96 * MIB)) "no limit: the disk does not keep up with the writer"
	without=$LEFT
	disk_clear
	finish
	disk_delay write "$DELAY"
	for opts in dirty-max=8M dirty-max=8M,mask-caps=cachestat; do
		run "$opts" fast "$SECONDS_LONG" 2
		is "$MOST" -le $((12 * MIB)) "$opts: in no sample more than 1.5 times the limit"
		is "$MOST" -gt $((2 * MIB)) "$opts: and not next to nothing"
		is $((10 * LEFT)) -lt "$without" "$opts: a switch has less than a tenth to flush"
		succeeds "$opts: it switches to writeback" switch
		is "$(dirty_bytes)" -eq 0 "$opts: and nothing is unflushed then"
		finish
	done
	disk_clear
}

# A writer that the disk keeps up with: on the kernel path where that is possible, and not on it.
check_slow() {
	local opts BOUND=

	run "" write_slowly "$SECONDS_LONG" 40
	is "$MOST" -gt $((40 * MIB)) "no limit: written data stays unflushed"
	finish
	for opts in dirty-limit=16M dirty-limit=16M,kernel-path=never \
		dirty-limit=16M,mask-caps=cachestat dirty-age=0.5; do
		BOUND=24
		[[ $opts != *cachestat* ]] || BOUND=40 # once a second
		run "$opts" write_slowly "$SECONDS_LONG" 2
		is "$(cat "$WORK/over" 2>/dev/null)" = "" "$opts: never more than $BOUND MiB for long"
		diag "$opts: in no sample more than $MOST bytes"
		is "$MOST" -gt $((2 * MIB)) "$opts: and not next to nothing"
		finish
	done
}

# young SECONDS: 4 MiB that are to stay unflushed for so long. When it takes longer than that to look, once more. Sets
# YOUNG, what was unflushed.
young() {
	local i start

	for ((i = 0; i < 20; i++)); do
		start=$EPOCHREALTIME
		dd if=/dev/zero bs=1M count=4 conv=notrunc status=none >&8
		YOUNG=$(dirty_bytes)
		[ "$YOUNG" -ne $((4 * MIB)) ] || break
		awk -v from="$start" -v to="$EPOCHREALTIME" -v most="$1" 'BEGIN { exit to - from >= most }' && break
		written_back at_most 0
	done
}

# Data grows old while nobody writes any more.
check_age() {
	local opts

	# a kernel without cachestat has no kernel path: what others write there is told by ctime alone, which changes
	# before the data is there
	for opts in dirty-age=4 dirty-age=4,kernel-path=never,mask-caps=cachestat; do
		must_mount "$BACK" "$MNT" "cache=unsafe,$opts"
		exec 8<>"$MNT/f"
		# without cachestat what is new is written back at the next look, some time within a quarter of a second
		if [[ $opts == *cachestat* ]]; then young 0; else young 4; fi
		is "$YOUNG" -eq $((4 * MIB)) "$opts: young data is left alone"
		succeeds "$opts: old data is written back" written_back at_most 0
		finish
	done
	must_mount "$BACK" "$MNT" "cache=unsafe"
	exec 8<>"$MNT/f"
	dd if=/dev/zero bs=1M count=4 conv=notrunc status=none >&8
	sleep 6
	is "$(dirty_bytes)" -eq $((4 * MIB)) "no limit: it would stay"
	finish
}

kernel_path() {
	grep -o '"path":"f".*' "$MNT/.cachefs/status.json" | grep -o '"kernel_path":[a-z]*' | head -n 1
}

# The monitor's thread is there from the first file with a limit on; a file that can be held up is not on
# the kernel path, others stay on it.
check_cost() {
	local opts i now threads=([0]=1000 [1]=1000) usual

	# others come when there is more to do than usual: the fewest of some mounts count
	for i in 0 1 0 1 0 1 0 1; do
		must_mount "$BACK" "$MNT" "cache=unsafe$( ((i == 0)) || echo ,dirty-limit=1G)"
		exec 8<>"$MNT/f"
		now=$(cat "/proc/$(server_pid "$MNT")/task/"*/comm | wc -l)
		[ "$now" -ge "${threads[i]}" ] || threads[i]=$now
		finish
	done
	is "${threads[1]}" -gt "${threads[0]}" "a file with a limit has a thread that looks at it"
	for opts in "" dirty-limit=1G dirty-max=1G; do
		must_mount "$BACK" "$MNT" "cache=unsafe${opts:+,$opts}"
		exec 8<>"$MNT/f"
		case $opts in
		"") usual=$(kernel_path) ;;
		dirty-limit*) is "$(kernel_path)" = "$usual" "$opts: the kernel path is as without" ;;
		*) is "$(kernel_path)" = '"kernel_path":false' "$opts: not on the kernel path" ;;
		esac
		finish
	done
}

DELAY=20 # milliseconds a request: some 50 MB/s
expire=$(cat /proc/sys/vm/dirty_expire_centisecs)
[ "$expire" -ge 1500 ] || skip_all "the kernel writes back by itself after ${expire}0 ms"
memory=$(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo)
[ "$memory" -ge $((2 << 20)) ] || skip_all "with so little memory the kernel holds writers up by itself"
plan $((1 + 5 * 2 + 1 + 2 * 4 + 5 + 3))
new_disk "" 512M
allocate "$BACK/f" 256M
check_fast
check_slow
check_age
check_cost
