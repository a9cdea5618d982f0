#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Install, then production: a guest image is written under unsafe, with flushes that are all dropped, and switched to
# writeback while its writer goes on: at the return nothing is dirty, from then on flushes reach the device,
# and neither an error nor a wrong byte is seen.

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/modes.sh"
need_root
need_fuse
need_commands fio getfattr setfattr
need_tools modectl pagestat

verify=(--name=guest --size=32M --bs=4k --rw=randwrite --ioengine=psync --verify=crc32c --verify_fatal=1
	--verify_state_save=0)

# The guest: writes with a flush after every 8, then it verifies all of them. It is stopped while it is looked at,
# and rests after each write, so that it has some left when it is stopped late. (With a rate it would catch up.)
start_guest() {
	fio "${verify[@]}" --filename="$MNT/image" --thread --fsync=8 --thinktime=700 --do_verify=1 \
		--output="$WORK/fio.out" &
	guest=$!
}

guest_ends() {
	wait "$guest" || { cat "$WORK/fio.out"; return 1; }
}

counter() { modectl status "$MNT/image" "$1"; }
more_dropped() { [ "$(counter flushes_dropped)" -ge "$1" ]; }
more_honoured() { [ "$(counter flushes_honoured)" -ge "$1" ]; }

# 13 checks
check() {
	local before dropped

	must_mount "$BACK" "$MNT" "cache=writeback,kernel-path=$1"
	set_now image unsafe
	start_guest
	succeeds "$1: the guest's flushes come" soon more_dropped 20
	stop_process "$guest" || diag "the guest does not stop"
	exec 8<"$MNT/image" # so that the counters stay when the guest has ended
	before=$(flushes "$LOOP")
	dirty=$(dirty "$BACK/image")
	is "$dirty" -gt 0 "$1: unsafe: dirty"
	dropped=$(counter flushes_dropped)
	kill -CONT "$guest"
	succeeds "$1: more flushes" soon more_dropped $((dropped + 60))
	stop_process "$guest" || diag "the guest does not stop"
	is "$(dirty "$BACK/image")" -gt "$dirty" "$1: unsafe: dirty grows"
	is "$(counter flushes_honoured) $(($(flushes "$LOOP") - before))" = "0 0" "$1: unsafe: no flush of the device"
	succeeds "$1: switched live" set_now image writeback
	is "$(dirty "$BACK/image")" -eq 0 "$1: at its return nothing is dirty"
	dropped=$(counter flushes_dropped)
	before=$(flushes "$LOOP")
	kill -CONT "$guest"
	succeeds "$1: the guest's flushes are honoured" soon more_honoured 20
	is "$(counter flushes_dropped)" -eq "$dropped" "$1: none is dropped any more"
	is $(($(flushes "$LOOP") - before)) -ge 19 "$1: they reach the device"
	exec 8<&-
	succeeds "$1: no I/O error, all of it is verified" guest_ends
	succeeds "$1: unmounts, the daemon ends" umount_cachefs "$MNT"
	drop_cache "$BACK/image"
	succeeds "$1: verified at the backing" fio "${verify[@]}" --filename="$BACK/image" --verify_only \
		--output="$WORK/fio.out"
}

make_fs ext4 128M
need_flush_counter
plan $((2 * 13))
MNT=$WORK/mnt
for path in never auto; do
	rm -f "$BACK/image"
	allocate "$BACK/image" 32M
	check $path
done
