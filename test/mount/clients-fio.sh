#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# fio writes and verifies on the mount, 32 requests deep.

. "$(dirname "$0")/../lib/lib.sh"
need_root
need_fuse
need_commands fio

verify() {
	fio --name=verify --filename="$MNT/fio.$1" --size=8M --rw=randwrite --iodepth=32 \
		--verify=crc32c --verify_fatal=1 --do_verify=1 --verify_state_save=0 \
		--output="$WORK/fio.out" "${@:2}" ||
		{ cat "$WORK/fio.out"; return 1; }
}

verified() {
	local engine direct

	for engine in libaio io_uring; do
		for direct in 0 1; do
			succeeds "$1: $engine direct=$direct, 4 KiB" \
				verify $engine --ioengine=$engine --direct=$direct --bs=4k
		done
		succeeds "$1: $engine, unaligned sizes" verify $engine.odd --ioengine=$engine \
			--bsrange=512-32k --bs_unaligned --norandommap --serialize_overlap=1
		succeeds "$1: $engine, mixed with reads and flushes" verify $engine.mixed \
			--ioengine=$engine --rw=randrw --bs=4k --fdatasync=64
	done
}

each_mode 8 verified
