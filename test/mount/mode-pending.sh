#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Modes of files that are open on the kernel path: into which they follow, and what becomes of those into which they
# cannot: refused with nothing changed, or pending, with the old mode wholly in force until the handles are
# closed. Every pair of modes, by how the file was opened. And a flush that fails during a switch.

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/kpath.sh"
. "$(dirname "$0")/../lib/modes.sh"
. "$top_srcdir/test/lib/disk-fs.sh"
need_root
need_fuse
need_commands setfattr getfattr python3 jq
need_tools ioclient kpath modectl pagestat
need_disk

N=4

# acts_9: as acts_as, by writes on the description that 9 is: what a client meets that has had it open.
once_9() {
	local before i sync pages

	before=$(flushes "$LOOP")
	for ((i = 0; i < N; i++)); do
		dd if=/dev/zero bs=4k count=1 conv=notrunc,fdatasync status=none >&9 || return 1
	done
	sync=$(($(flushes "$LOOP") - before))
	pages=$(cached "$BACK/f")
	case $sync:$((pages > 0)) in
	0:1) echo unsafe ;;
	$N:1) echo writeback ;;
	$((2 * N)):1) echo writethrough ;;
	$N:0) echo none ;;
	$((2 * N)):0) echo directsync ;;
	*) echo "nothing known: $sync flushes for $N, $pages pages cached" ;;
	esac
}

acts_9() {
	again once_9
}

# Does a plain handle of the kernel path's, opened in FROM, follow into TO?
follows() {
	case $KERNEL_PATH:$1 in
	auto:writeback | auto:unsafe | always:writeback | always:unsafe | always:writethrough)
		[ "$2" != none ] && [ "$2" != directsync ]
		;;
	*) true ;; # the daemon's
	esac
}

# A close is answered before the daemon has seen to what follows from it.
settled() { [[ $(modectl show "$MNT/f") != *pending* ]]; }
uncached() { [ "$(cached "$BACK/$1")" -eq 0 ]; }
opens_are() { has_opens f "$1"; }

# As acts_as, with a handle that keeps the sync attribute: recording it flushes the device by itself.
acts_open() {
	exec 8<>"$MNT/f"
	acts_as f
	exec 8>&-
}

# pair FROM TO: 4 checks
pair() {
	local name="$KERNEL_PATH: $1 to $2"

	soon opens_are 0
	set_now f "$1"
	exec 9<>"$MNT/f"
	dd if=/dev/urandom bs=4k count=8 seek=8 conv=notrunc status=none >&9
	if follows "$1" "$2"; then
		succeeds "$name: an open file follows" set_now f "$2"
		is "$(now f) $(acts_9)" = "$2 $2" "$name: in force"
		exec 9>&-
		soon opens_are 0
		is "$(modectl show "$MNT/f")" = "$2 runtime" "$name: and after the close"
		is "$(acts_open)" = "$2" "$name: for who opens it then"
		return
	fi
	fails "$name: EBUSY" 'Device or resource busy' set_now f "$2"
	is "$(now f) $(modectl show "$MNT/f") $(acts_9)" = "$1 $1 runtime $1" "$name: nothing has changed"
	is "$(modectl set -k "$MNT/f" "$2") $(now f) $(acts_9)" = "$1 runtime pending $2 runtime $1 $1" \
		"$name: pending, the old mode wholly in force"
	exec 9>&-
	soon opens_are 0
	soon settled
	is "$(written_back clean f && echo flushed) $(modectl show "$MNT/f") $(acts_open)" = "flushed $2 runtime $2" \
		"$name: the new one after the close"
}

each_pair() {
	local from to

	KERNEL_PATH=$1
	must_mount "$BACK" "$MNT" "cache=writeback,kernel-path=$1"
	for from in $MODES; do
		for to in $MODES; do
			[ "$from" = "$to" ] || pair "$from" "$to"
		done
	done
	soon opens_are 0
	unset_now f
}

shows() { [ "$(modectl show "$MNT/f")" = "$1" ]; }

# What asks and does not need an answer: stored modes, rules, renames. 14 checks
check_pending_causes() {
	has f writeback mount "to begin with"
	soon opens_are 0
	exec 9<>"$MNT/f"
	succeeds "a stored mode that an open file cannot follow into" set_stored f none
	is "$(now f), $(modectl show "$MNT/f"), $(acts_9)" = \
		"writeback, writeback mount pending none stored, writeback" "pending"
	is "$(modectl status "$MNT/f" mode)" = "writeback mount pending none stored" "the status says so"
	is "$(jq -r '.files[] | select(.path == "f") | .mode' "$MNT/.cachefs/status.json")" = writeback \
		"and status.json has what is in force"
	succeeds "the mount's mode may change nevertheless" set_now . unsafe
	set_now . writeback
	is "$(modectl show "$MNT/f"), $(acts_9)" = "writeback mount pending none stored, writeback" "still pending"
	unset_stored f
	is "$(modectl show "$MNT/f"), $(acts_9)" = "writeback mount, writeback" "taken back"
	mv "$MNT/f" "$MNT/g.none"
	is "$(modectl show "$MNT/g.none")" = "writeback mount pending none rule" "a rename"
	mv "$MNT/g.none" "$MNT/f"
	is "$(modectl show "$MNT/f"), $(acts_9)" = "writeback mount, writeback" "and back"
	printf '/f directsync\n' >"$WORK/rules"
	is "$(modectl reload "$MNT")" = "rules=1 switched=0 pending=1 failed=0" "a reload counts it"
	is "$(modectl show "$MNT/f"), $(acts_9)" = "writeback mount pending directsync rule, writeback" "pending"
	exec 9>&-
	succeeds "until it is closed" soon shows "directsync rule"
	has f directsync rule "for who opens it then"
	printf '*.none none\n' >"$WORK/rules"
	modectl reload "$MNT" >/dev/null
}

# A handle of the daemon's beside one of the kernel path's. 7 checks
check_mixed() {
	local reader

	soon opens_are 0
	exec 9<>"$MNT/f"
	timeout 100 "$TOOLS/ioclient" -m odirect -b 4k -s 16k -n 100000000 "$MNT/f" \
		>"$WORK/mixed.out" 2>&1 9>&- &
	reader=$!
	succeeds "one handle of each kind" soon opens_are 2
	fails "to none: EBUSY for both" 'busy' set_now f none
	is "$(modectl set -k "$MNT/f" none)" = "writeback mount pending none runtime" "pending for both"
	is "$(dd if=/dev/zero bs=4k count=16 conv=notrunc status=none >&9; cached "$BACK/f" | awk '{ print ($1 > 0) }')" = 1 \
		"nothing of it is in force"
	exec 9>&-
	succeeds "the kernel path's is closed: the daemon's follows" soon shows "none runtime"
	soon uncached f
	is "$(cached "$BACK/f")" -eq 0 "while it is open, and the page cache is empty"
	kill "$reader"
	wait "$reader" 2>/dev/null
	succeeds "it had no error" [ ! -s "$WORK/mixed.out" ]
	soon opens_are 0
	unset_now f
}

# A client of O_DIRECT on the kernel path, which is so with "always" only. 5 checks
check_direct_handle() {
	set_now f none
	python3 -c 'import os, sys
os.open(sys.argv[1], os.O_RDWR | os.O_DIRECT)
print("open", flush=True)
sys.stdin.read()' "$MNT/f" <"$WORK/fifo" >"$WORK/held" &
	exec 7>"$WORK/fifo"
	soon [ -s "$WORK/held" ]
	is "$(modectl status "$MNT/f" kernel_path)" -eq 0 "always: a client of O_DIRECT is on the kernel path under none"
	succeeds "always: it follows into directsync, by the sync attribute" set_now f directsync
	is "$(lsattr "$BACK/f" | cut -c1-8 | tr -d -c S)" = S "always: the backing file has it"
	fails "always: into writeback it does not" 'busy' set_now f writeback
	exec 7>&-
	soon opens_are 0
	succeeds "always: after its close it does" set_now f writeback
	unset_now f
}

# Who looks at, or sets, a mode is not what the mode waits for. 3 checks
check_own_handle() {
	succeeds "cachefsctl sets a mode that its own open would not follow into" \
		timeout 60 "$top_builddir/cachefsctl" mode "$MNT/f" none
	has f none runtime "in force"
	unset_now f
	soon opens_are 0
	exec 9<"$MNT/f"
	fails "a reader on the kernel path hinders it" 'busy' set_now f none
	exec 9<&-
	soon opens_are 0
}

# A barrier that fails. 12 checks
check_failure() {
	new_disk errors=continue
	allocate "$BACK/f" 64K
	allocate "$BACK/closed" 64K
	sync -f "$BACK"
	must_mount "$BACK" "$MNT" "cache=unsafe,$1"
	exec 9<>"$MNT/f"
	dd if=/dev/urandom bs=4k count=16 conv=notrunc,fsync status=none >&9
	disk_fail write EIO
	fails "$1: the switch says that the flush failed" 'Input/output error' set_now f writeback
	is "$(now f)" = writeback "$1: the mode is in force"
	disk_clear
	fails "$1: later flushes fail" 'Input/output error' timeout 60 sync "$MNT/f"
	is "$(modectl status "$MNT/f" error)" -eq 5 "$1: the status has the error"
	exec 9>&-
	soon opens_are 0
	succeeds "$1: closed by all and opened again, flushes work" timeout 60 \
		"$TOOLS/ioclient" -m plain -s 64k -F fsync "$MNT/f"
	dd if=/dev/urandom of="$MNT/closed" bs=4k count=16 conv=notrunc,fsync status=none
	disk_fail write EIO
	fails "$1: of a closed file, too" 'Input/output error' set_now closed writethrough
	disk_clear
	umount_cachefs "$MNT" >/dev/null
	umount "$BACK"
	disk_stop
	rmdir "$WORK/fs"
}

mkfifo "$WORK/fifo"
make_fs ext4 64M
need_flush_counter
need_kernel_path
plan $((2 * 20 * 4 + 14 + 7 + 3 + 2 + 5 + 12))
MNT=$WORK/mnt
allocate "$BACK/f" 64K
printf '*.none none\n' >"$WORK/rules"
each_pair auto
succeeds "auto: unmounts, the daemon ends" umount_cachefs "$MNT"
must_mount "$BACK" "$MNT" "cache=writeback,rules=$WORK/rules"
check_pending_causes
check_mixed
check_own_handle
umount_cachefs "$MNT"
each_pair always
check_direct_handle
succeeds "always: unmounts, the daemon ends" umount_cachefs "$MNT"
check_failure kernel-path=auto
check_failure kernel-path=never
