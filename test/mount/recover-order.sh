#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A write that a killed worker had on its way to a slow disk never lands on what was written and acknowledged
# after it, and no successor starts while it is on its way. With O_DIRECT and without, in each mode that
# reaches the disk with the write itself.
# CACHEFS_LONG=1: ten times each.

. "$(dirname "$0")/../lib/lib.sh"
. "$top_srcdir/test/lib/disk-fs.sh"
. "$top_srcdir/test/lib/recover.sh"
need_root
need_fuse
need_commands filefrag
need_tools ioclient
need_disk filefrag

TIMES=1
DELAY=1500 # ms
[ "${CACHEFS_LONG:-0}" != 1 ] || TIMES=10

# place FILE: the offset on the disk of its first byte; it has one extent.
place() {
	filefrag -b4096 -v "$1" | awk '$1 == "0:" { sub(/\.\..*/, "", $4); print $4 * 4096; exit }'
}

in_flight() { [ "$(disk_stat waiting)" -ge "$1" ]; }
landed() { [ "$(disk_stat waiting)" -eq 0 ]; }

# What the disk itself has; the page cache of the backing has nothing to say.
on_disk() {
	drop_cache "$BACK/f"
	timeout 60 "$TOOLS/ioclient" -m odirect -b 4k -s 64k -p "$1" -r "$BACK/f"
}

# No successor while the disk still has a write of the dead worker: looked at all the time.
no_successor() {
	local old=$1 pid

	while ! landed; do
		pid=$(worker_pid "$MNT")
		[ -z "$pid" ] || [ "$pid" = "$old" ] || landed ||
			{ echo "process $pid serves while $(disk_stat waiting) writes are under way"; return 1; }
	done
}

# check MODE CLIENT SEED: 16 blocks are written by CLIENT, with as many delays; the worker dies; they are
# acknowledged, and written again. 5 checks
check() {
	local name="$1, $2" seed=$3 options="-q $DEPTH" old client

	old=$(worker_pid "$MNT")
	[ "$2" != libaio ] || options+=" -D"
	timeout 60 "$TOOLS/ioclient" -m plain -b 4k -s 64k -p $((seed - 1)) "$MNT/f" >/dev/null
	disk_delay write $DELAY "at=$(place "$BACK/f")+64k" "count=$DEPTH"
	{
		# shellcheck disable=SC2086
		timeout 60 "$TOOLS/ioclient" -m "$2" $options -b 4k -s 64k -p "$seed" "$MNT/f" &&
			timeout 60 "$TOOLS/ioclient" -m "$2" $options -b 4k -s 64k -p $((seed + 1)) "$MNT/f"
	} >"$WORK/client.out" 2>&1 &
	client=$!
	succeeds "$name: writes are on their way to the disk" soon in_flight 1
	kill_now "$MNT"
	succeeds "$name: no successor before they have landed" no_successor "$old"
	succeeds "$name: written again, and acknowledged" wait "$client"
	disk_clear
	succeeds "$name: the disk has what was written last" on_disk $((seed + 1))
	sleep 0.3
	succeeds "$name: and keeps it" on_disk $((seed + 1))
}

# MODE:CLIENT:DEPTH
CASES=(none:odirect:1 none:plain:1 none:libaio:16 directsync:odirect:1 directsync:libaio:16 directsync:plain:1
	writethrough:plain:1 writethrough:odirect:1 writeback:odsync:1)
new_disk
allocate "$BACK/f" 64K
seed=10
for ((time = 0; time < TIMES; time++)); do
	for each in "${CASES[@]}"; do
		IFS=: read -r mode client DEPTH <<<"$each"
		must_mount "$BACK" "$MNT" "cache=$mode,kernel-path=never"
		[ $tap_planned -gt 0 ] || { need_recover "$MNT"; plan $((6 * ${#CASES[@]} * TIMES)); }
		check "$mode" "$client" $((seed += 10))
		succeeds "$mode, $client: unmounts, the supervisor ends" umount_cachefs "$MNT"
	done
done
