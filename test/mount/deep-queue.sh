#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# More requests under way than the daemon has resident buffers for: what is written is what is read, and
# reads take no resident memory (which would be a MiB each, populated and locked for each of them).

. "$(dirname "$0")/../lib/lib.sh"
need_root
need_fuse
need_commands fio

SIZE=32M
SECONDS_OF_READS=3
[ "${CACHEFS_LONG:-0}" != 1 ] || SIZE=1G SECONDS_OF_READS=30

# deep NAME [OPTION...]: fio, with 4 times 64 requests of direct I/O under way
deep() {
	timeout 600 fio --name="$1" --directory="$MNT" --size=$SIZE --numjobs=4 --direct=1 --ioengine=libaio \
		--iodepth=64 --output="$WORK/$1.out" "${@:2}" || { cat "$WORK/$1.out"; return 1; }
}

# Kibibytes that the serving process has locked.
locked() {
	awk '/^VmLck/ { print $2 }' "/proc/$(server_pid "$MNT")/status"
}

# Of all looks while fio reads: the most.
most_locked() {
	local fio most=0 now

	deep read --rw=randread --bs=4k --filename=read --time_based --runtime=$SECONDS_OF_READS >"$WORK/read.log" &
	fio=$!
	while running $fio; do
		now=$(locked)
		[ "$now" -le "$most" ] || most=$now
		sleep 0.1
	done
	wait $fio && echo "$most"
}

verify=(--verify=crc32c --verify_fatal=1 --do_verify=1 --verify_state_save=0)
plan 5
MNT=$WORK/mnt
mkdir "$WORK/back"
must_mount "$WORK/back" "$MNT" cache=none,kernel-path=never
succeeds "files are written, one request at a time" deep read --rw=write --bs=256k --numjobs=1 --iodepth=1 --filename=read
before=$(locked)
most=$(most_locked) || diag "$(cat "$WORK/read.log")"
is "$most" -le $((before + 16384)) "many reads under way lock no more memory (before: $before KiB)"
succeeds "many small writes under way" deep small --rw=randwrite --bs=4k "${verify[@]}"
succeeds "large and small ones" deep large --rw=randwrite --bsrange=4k-512k "${verify[@]}"
succeeds "unmounts, the daemon ends" umount_cachefs "$MNT"
