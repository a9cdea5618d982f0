#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Handing a file over to another host: its data is on stable storage and out of the host's page cache, what cannot
# be dropped is told, and nobody has it done who may not.

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/modes.sh"
. "$top_srcdir/test/lib/disk-fs.sh"
need_root
need_fuse
need_commands getfattr setfattr setpriv python3
need_tools ioclient modectl pagestat
need_disk

OWNER=65533
OTHER=65534
as() {
	local id=$1

	shift
	timeout 60 setpriv --reuid "$id" --regid "$id" --clear-groups "$@"
}

NOTHING="cached=0 dirty=0 writeback=0"
handoff() { modectl handoff "$MNT/$1"; }

# 4 checks for each mode: open, and closed
check_mode() {
	local before

	set_now f "$1"
	exec 9<>"$MNT/f"
	dd if=/dev/urandom bs=4k count=16 conv=notrunc,fdatasync status=none >&9
	cat "$MNT/f" >"$WORK/want"
	soon opens_are 1
	before=$(flushes "$LOOP")
	is "$(handoff f)" = "$NOTHING opens=1 writers=1" "$PATHS, $1: an open file"
	is "$(dirty "$BACK/f") $(cached "$BACK/f") $(($(flushes "$LOOP") > before))" = "0 0 1" \
		"$PATHS, $1: it is flushed and nothing is in the page cache"
	exec 9>&-
	succeeds "$PATHS, $1: its bytes are there" cmp "$WORK/want" "$MNT/f"
	soon opens_are 0
	is "$(handoff f), $(cached "$BACK/f")" = "$NOTHING opens=0 writers=0, 0" "$PATHS, $1: a closed file"
}

opens_are() { [ "$(modectl status "$MNT/f" opens)" -eq "$1" ]; }

# hold HOW: a client that maps descriptor 9's file and stores into it, until descriptor 7 is closed.
hold() {
	python3 -c 'import ctypes, mmap, sys
m = mmap.mmap(9, 65536)
m[4096:4101] = b"store"
if sys.argv[1] == "mlock":
    a = ctypes.addressof(ctypes.c_char.from_buffer(m))
    assert ctypes.CDLL(None).mlock(ctypes.c_void_p(a), ctypes.c_size_t(65536)) == 0
print("held", flush=True)
sys.stdin.read()' "$1" <"$WORK/fifo" >"$WORK/held" &
	exec 7>"$WORK/fifo"
	soon [ -s "$WORK/held" ]
}

let_go() {
	exec 7>&-
	wait $!
	: >"$WORK/held"
}

# 6 checks
check_mappings() {
	local left

	set_now f writeback
	exec 9<>"$MNT/f"
	hold mlock
	left=$(handoff f)
	is "$(dd if="$BACK/f" iflag=direct bs=4k skip=1 count=1 status=none | head -c 5)" = store \
		"$PATHS: a store through a mapping is at the device"
	if [ "$(modectl status "$MNT/f" kernel_path)" -eq 0 ]; then
		between "$(sed 's/cached=\([0-9]*\).*/\1/' <<<"$left")" 65536 65536 \
			"$PATHS: what is locked in memory stays, and is told"
	else
		# the pages are the kernel's of the mount, not of the backing
		is "$left" = "$NOTHING opens=1 writers=1" "$PATHS: the mapping keeps nothing of the backing"
	fi
	is "$(sed 's/.*\(dirty.*\)/\1/' <<<"$left")" = "dirty=0 writeback=0 opens=1 writers=1" "$PATHS: nothing is dirty"
	let_go
	is "$(handoff f)" = "$NOTHING opens=1 writers=1" "$PATHS: nothing is left without it"
	hold plain
	is "$(handoff f | sed 's/cached=[0-9]* //')" = "dirty=0 writeback=0 opens=1 writers=1" "$PATHS: a mapping, not locked"
	let_go
	exec 9>&-
	soon opens_are 0
	is "$(handoff f)" = "$NOTHING opens=0 writers=0" "$PATHS: closed"
}

# A guest that still runs: 3 checks
check_running() {
	local i ended=0

	set_now f unsafe
	timeout 100 "$TOOLS/ioclient" -m plain -j 4 -b 4k -s 64k -n 100000000 -e 64 -F fdatasync "$MNT/f" \
		>"$WORK/running.out" 2>&1 &
	i=$!
	soon opens_are 4
	for _ in 1 2 3 4 5; do
		handoff f | grep -q 'opens=4 writers=4$' && ended=$((ended + 1))
	done
	is $ended -eq 5 "$PATHS: under writers it returns, and tells of them"
	kill $i
	wait $i 2>/dev/null
	is "$(cat "$WORK/running.out")" = "" "$PATHS: they had no error"
	soon opens_are 0
	is "$(handoff f)" = "$NOTHING opens=0 writers=0" "$PATHS: without them nothing is left"
}

# 7 checks
check_rights() {
	chown $OWNER "$BACK/f"
	chmod 666 "$BACK/f"
	succeeds "the owner may" as $OWNER "$TOOLS/modectl" handoff "$MNT/f"
	fails "who may write may not" 'not permitted' as $OTHER "$TOOLS/modectl" handoff "$MNT/f"
	fails "nor flush" 'not permitted' as $OTHER "$TOOLS/modectl" flush "$MNT/f"
	succeeds "the owner may flush" as $OWNER "$TOOLS/modectl" flush "$MNT/f"
	fails "not a directory" 'Inappropriate' modectl handoff "$MNT"
	exec 9>>"$MNT/f"
	fails "not by who cannot read it" 'Bad file descriptor' modectl handoff -
	exec 9>&-
	fails "on another filesystem" 'Inappropriate' modectl handoff "$BACK/f"
}

# 3 checks
check_failure() {
	new_disk errors=continue
	allocate "$BACK/f" 64K
	sync -f "$BACK"
	must_mount "$BACK" "$MNT" cache=unsafe
	exec 9<>"$MNT/f"
	dd if=/dev/urandom bs=4k count=16 conv=notrunc status=none >&9
	disk_fail write EIO
	fails "a flush that fails is told" 'Input/output error' handoff f
	is "$(cached "$BACK/f")" -eq 16 "nothing was dropped"
	disk_clear
	fails "and is not forgotten" 'Input/output error' handoff f
	exec 9>&-
}

make_fs ext4 64M
need_flush_counter
mkfifo "$WORK/fifo"
plan $((2 * (5 * 4 + 6 + 3) + 7 + 3))
MNT=$WORK/mnt
allocate "$BACK/f" 64K
for PATHS in never auto; do
	must_mount "$BACK" "$MNT" "cache=writeback,kernel-path=$PATHS"
	for mode in $MODES; do
		check_mode "$mode"
	done
	check_mappings
	check_running
	[ $PATHS = never ] || check_rights
	umount_cachefs "$MNT"
done
check_failure
