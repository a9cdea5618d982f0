#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What was acknowledged as durable is on the device, through kills of the worker: its power is cut at random
# moments before, between and after them, and everything that the device had not been told to flush is lost.
# What a client has fsynced under writeback and none, each write and each name under writethrough and
# directsync; under unsafe nothing is flushed, through kills neither.
# CACHEFS_LONG=1: 20 cuts and 200 kills each.

. "$(dirname "$0")/../lib/lib.sh"
. "$top_srcdir/test/lib/disk-fs.sh"
. "$top_srcdir/test/lib/recover.sh"
need_root
need_fuse
need_tools beat
need_disk

CUTS=2 KILLS=4 MAX=400
[ "${CACHEFS_LONG:-0}" != 1 ] || { CUTS=20 KILLS=200 MAX=1000; }
KILLS=${RECOVER_KILLS:-$KILLS}
SLOTS=4096 # so many numbers later a block is overwritten, or a name removed
AFTER=$WORK/after
client=

# MODE:OPTIONS of beat for numbers in blocks. Under unsafe -f is what is dropped.
SETUPS=("writeback:-f" "writeback:-f -d" "none:-f" "none:-f -d" "directsync:" "directsync:-d" "writethrough:"
	"writethrough:-d" "writeback:-c -f" "none:-c -f" "directsync:-c" "writethrough:-c")

end() {
	local status=$?

	stop_kills
	[ -z "$client" ] || kill "$client" 2>/dev/null
	umount "$AFTER" 2>/dev/null
	(exit $status)
	end_disk
}
trap end EXIT

target() { if [[ $1 == *-c* ]]; then echo names; else echo blocks; fi; }
acked() { od -A n -t u8 "$WORK/acked" | tr -d ' '; }
begun() { [ -s "$WORK/acked" ] && [ "$(acked)" -gt 100 ]; }

# start OPTIONS: the client, until stop.
start() {
	: >"$WORK/acked"
	# shellcheck disable=SC2086
	timeout 3000 "$TOOLS/beat" $1 -n $SLOTS -s 2500 -a "$WORK/acked" "$MNT/$(target "$1")" \
		>"$WORK/beat.out" 2>&1 9>&- &
	client=$!
	soon begun
}

stop() {
	local status

	running "$client" || echo "it has ended by itself"
	kill "$client" 2>/dev/null
	wait "$client" 2>/dev/null
	status=$?
	client=
	[ $status -ne 0 ] || return 0
	cat "$WORK/beat.out"
	return 1
}

# power_cut OPTIONS: a power cut now; what was acknowledged before it is what the device has. The journal of the
# file system is replayed by the mount.
power_cut() {
	local n ret options=

	n=$(acked)
	[[ $1 != *-c* ]] || options=-c
	disk_cut "$WORK/cut.img" "$RANDOM" 0 || return 1
	mount -o loop "$WORK/cut.img" "$AFTER" || return 1
	"$TOOLS/beat" $options -V "$n" -n $SLOTS "$AFTER/$(target "$1")"
	ret=$?
	umount "$AFTER"
	rm "$WORK/cut.img"
	return $ret
}

# cuts OPTIONS: while the worker of MNT is killed
cuts() {
	local i

	for ((i = 0; i < CUTS; i++)); do
		sleep 0.$((RANDOM % 9 + 1))
		power_cut "$1" || return 1
	done
}

prepare() {
	allocate "$BACK/blocks" $((SLOTS * 4))K
	rm -rf "$BACK/names"
	mkdir "$BACK/names"
	sync -f "$BACK"
}

# check MODE OPTIONS: 6 checks
check() {
	local name="$1${2:+ $2}"

	prepare
	must_mount "$BACK" "$MNT" "cache=$1"
	succeeds "$name: a client writes" start "$2"
	succeeds "$name: a cut before any kill" power_cut "$2"
	succeeds "$name: cuts through $KILLS kills" under_kills $KILLS 100 $MAX cuts "$2"
	succeeds "$name: a cut afterwards" power_cut "$2"
	succeeds "$name: no error for the client" stop
	diag "$name: $(acked) numbers, $(killed) workers killed, $round rounds of $CUTS cuts"
	succeeds "$name: unmounts, the supervisor ends" umount_cachefs "$MNT"
}

# Kills do not make flushes of what is dropped: the device has not even the numbers from before them. 5 checks
check_unsafe() {
	local flushed dropped

	prepare
	must_mount "$BACK" "$MNT" "cache=unsafe,kernel-path=never"
	succeeds "unsafe: a client writes" start -f
	flushed=$(disk_stat flushes)
	dropped=$(acked)
	succeeds "unsafe: the client goes on through $KILLS kills" under_kills $KILLS 100 $MAX sleep 0.5
	dropped=$(($(acked) - dropped))
	flushed=$(($(disk_stat flushes) - flushed))
	# a new worker may write the crash marker anew
	between $flushed 0 $((16 * $(killed))) "unsafe: no flush of the device for each of $dropped flushes"
	succeeds "unsafe: no error for the client" stop
	succeeds "unsafe: unmounts, the supervisor ends" umount_cachefs "$MNT"
}

mkdir "$AFTER"
disk_start "$WORK/disk" 96M || bail_out "the disk does not start"
disk_attach || bail_out "no loop device"
mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 "$DISK_LOOP" || bail_out "mkfs.ext4"
mkdir -p "$BACK"
mount -o noatime,commit=600 "$DISK_LOOP" "$BACK" || bail_out "mount"
must_mount "$BACK" "$MNT" cache=writeback
need_recover "$MNT"
umount_cachefs "$MNT"
plan $((6 * ${#SETUPS[@]} + 5))
for setup in "${SETUPS[@]}"; do
	check "${setup%%:*}" "${setup#*:}"
done
check_unsafe
