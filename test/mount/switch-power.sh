#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A power cut right after a switch: what was written before it is there. Written under unsafe by eight writers
# that go on writing, on a disk with a volatile cache; switched live into each mode that promises more.

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/modes.sh"
. "$top_srcdir/test/lib/disk.sh"
need_root
need_fuse
need_commands setfattr getfattr
need_tools ioclient modectl pagestat
reason=$(disk_missing mkfs.ext4) && skip_all "$reason"

end() {
	local status=$?

	stop_writers
	if [ -n "$DISK_PID" ]; then
		disk_thaw
		disk_clear
		[ ! -e "$WORK/mnt" ] || umount_cachefs "$WORK/mnt" >/dev/null 2>&1
		umount "$WORK/after" 2>/dev/null
		umount "$WORK/fs" 2>/dev/null
		disk_stop
	fi
	(exit $status)
	cleanup
}

opens_are() { [ "$(modectl status "$MNT/f" opens)" -eq "$1" ]; }

writers=
stop_writers() {
	[ -z "$writers" ] || kill "$writers" 2>/dev/null
	[ -z "$writers" ] || wait "$writers" 2>/dev/null
	writers=
}

# The first MiB is stamped before a switch, with seed SEED; eight writers fill the second MiB again and again.
stamp() {
	timeout 60 "$TOOLS/ioclient" -m plain -j 8 -b 4k -s 1M -p "$1" -F fdatasync "$MNT/f"
}

start_writers() {
	timeout 800 "$TOOLS/ioclient" -m plain -j 8 -b 4k -o 1M -s 1M -n 100000000 -e 64 -F fdatasync "$MNT/f" \
		>"$WORK/writers.out" 2>&1 &
	writers=$!
}

# after_cut IMAGE COMMAND...: on the file system that a cut has left, mounted at $WORK/after
after_cut() {
	local image=$1 ret

	shift
	e2fsck -fy "$image" >"$WORK/fsck.out" 2>&1
	mount -o loop,ro "$image" "$WORK/after" || return 1
	"$@"
	ret=$?
	umount "$WORK/after"
	return $ret
}

stamped() {
	timeout 60 "$TOOLS/ioclient" -m plain -b 4k -s 1M -p "$1" -r "$WORK/after/f"
}
not_stamped() { ! stamped "$1"; }

# check FROM TO SEED: 5 checks
check() {
	local from=$1 to=$2 seed=$3 name="$1 to $2"

	soon opens_are 0
	succeeds "$name: starts as $from" set_now f "$from"
	start_writers
	soon opens_are 8 || diag "the writers did not start"
	succeeds "$name: written with flushes" stamp "$seed"
	disk_cut "$WORK/before.img" "$seed" 0 >"$WORK/cut.out"
	# what unsafe means, and that this test can see it
	if [ "$from" = unsafe ]; then
		succeeds "$name: a cut before it would lose them" after_cut "$WORK/before.img" not_stamped "$seed"
	else
		succeeds "$name: a cut before it loses nothing" after_cut "$WORK/before.img" stamped "$seed"
	fi
	set_now f "$to"
	echo $? >"$WORK/switched"
	disk_cut "$WORK/cut.img" "$seed" 0 >"$WORK/cut.out"
	stop_writers
	is "$(cat "$WORK/switched")" -eq 0 "$name: the switch succeeds under eight writers"
	succeeds "$name: a cut right after it: everything is there" after_cut "$WORK/cut.img" stamped "$seed"
}

# The promise of the new mode holds for what is written after the switch, too. 2 checks
check_after() {
	local seed=$2

	soon opens_are 0
	set_now f unsafe
	set_now f "$1"
	succeeds "$1: written after the switch" stamp "$seed"
	disk_cut "$WORK/cut.img" "$seed" 0 >"$WORK/cut.out"
	succeeds "$1: a cut after its flush" after_cut "$WORK/cut.img" stamped "$seed"
}

# The mount's mode, a stored one, a rule and a rename: other ways to switch. 9 checks
check_ways() {
	local way seed=100

	for way in mount stored reload; do
		seed=$((seed + 1))
		unset_now f
		set_now . unsafe
		succeeds "$way: written under unsafe" stamp $seed
		case $way in
		mount) succeeds "$way: switched" set_now . writeback ;;
		stored) succeeds "$way: switched" set_stored f writeback ;;
		reload)
			unset_stored f
			stamp $seed >/dev/null
			echo 'f writeback' >"$WORK/rules"
			succeeds "$way: switched" modectl reload "$MNT"
			;;
		esac
		disk_cut "$WORK/cut.img" $seed 0 >"$WORK/cut.out"
		succeeds "$way: a cut right after it: everything is there" after_cut "$WORK/cut.img" stamped $seed
	done
}

trap end EXIT
plan $((2 * 5 * 5 + 4 * 2 + 9 + 1))
MNT=$WORK/mnt
BACK=$WORK/fs
mkdir "$BACK" "$WORK/after"
disk_start "$WORK/disk" 64M || bail_out "the disk does not start"
disk_attach || bail_out "no loop device"
mkfs.ext4 -q -O '^has_journal' -E lazy_itable_init=0 "$DISK_LOOP" || bail_out "mkfs"
mount -o noatime "$DISK_LOOP" "$BACK" || bail_out "mount"
allocate "$BACK/f" 2M
sync -f "$BACK"
: >"$WORK/rules"
seed=1
must_mount "$BACK" "$MNT" "cache=unsafe,kernel-path=never,rules=$WORK/rules"
for to in writeback writethrough none directsync; do
	check unsafe $to $((seed += 1))
done
check writeback unsafe $((seed += 1))
umount_cachefs "$MNT"
# unsafe and writeback are on the kernel path here, none and directsync are not
must_mount "$BACK" "$MNT" "cache=unsafe,rules=$WORK/rules"
for pair in "unsafe writeback" "unsafe writethrough" "writeback writethrough" "none writeback" "directsync unsafe"; do
	# shellcheck disable=SC2086
	check $pair $((seed += 1))
done
for to in writeback writethrough none directsync; do
	check_after $to $((seed += 1))
done
check_ways
succeeds "unmounts, the daemon ends" umount_cachefs "$MNT"
