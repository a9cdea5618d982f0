# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# A disk with a volatile write cache, for tests in bash: start it, put a loop device on it, command
# it, cut its power. To be sourced. Needs root, /dev/fuse and loop devices (disk_missing says what
# is not there).
#
#   . disk.sh
#   trap disk_stop EXIT             # unmount first what you mounted from $DISK_LOOP
#   disk_start "$work/disk" 256M --cache=32M || exit 1
#   disk_attach || exit 1           # DISK_LOOP=/dev/loopN, direct I/O
#   mkfs.ext4 -q "$DISK_LOOP" …
#   disk_cut "$work/image" 42       # what a power cut now would leave
#
# One disk at a time. Call the functions that set variables in the test's own shell, not in
# $(...) or a pipe: the disk ends when the process that started it does. A mounted file system on
# DISK_LOOP is the caller's to unmount, before disk_stop; disk_stop thaws the disk and takes away
# rules first, so nothing blocks. Every function returns 0, or 1 after a line on stderr.
#
# Set: DISK_DIR (the mount), DISK_PID, DISK_LOOP (empty: none attached).
# Read: DISK, the program (default: $top_builddir/test/lib/disk).

DISK=${DISK:-${top_builddir:-.}/test/lib/disk}
DISK_DIR='' DISK_PID='' DISK_LOOP='' DISK_DEV=''

disk_say() {
	printf 'disk.sh: %s\n' "$*" >&2
	return 1
}

# Prints what a test needs and is missing here, for a skip; fails if nothing is missing.
disk_missing() {
	local tool
	[ "$(id -u)" = 0 ] || { echo "not root"; return 0; }
	[ -c /dev/fuse ] || { echo "no /dev/fuse"; return 0; }
	[ -c /dev/loop-control ] || { echo "no loop devices (/dev/loop-control)"; return 0; }
	for tool in losetup mountpoint setsid umount "$@"; do
		command -v "$tool" >/dev/null || { echo "no program $tool"; return 0; }
	done
	[ -x "$DISK" ] || { echo "no program $DISK (build it, or set DISK)"; return 0; }
	return 1
}

# disk_start DIR SIZE [OPTION]...: options are the program's (--cache=SIZE, --backing=FILE).
disk_start() {
	local dir=$1 size=$2 tries
	shift 2
	[ -z "$DISK_PID" ] || { disk_say "a disk runs already at $DISK_DIR"; return 1; }
	mkdir -p "$dir" || return 1
	# A session of its own: a signal to the test's process group must not end the disk under a
	# mounted file system before the test has cleaned up. It ends with its parent in any case.
	setsid "$DISK" --foreground --with-parent --size="$size" "$@" "$dir" &
	DISK_PID=$!
	DISK_DIR=$(cd "$dir" && pwd)
	for ((tries = 0; tries < 1200; tries++)); do
		if mountpoint -q "$dir" && [ -r "$dir/stats" ]; then
			DISK_DEV=$(mountpoint -d "$dir")
			return 0
		fi
		kill -0 "$DISK_PID" 2>/dev/null || break
		sleep 0.05
	done
	disk_say "$DISK did not start at $dir"
	disk_stop
	return 1
}

# disk_attach [LOSETUP OPTION]...: a loop device with direct I/O on the disk.
disk_attach() {
	[ -n "$DISK_PID" ] || { disk_say "no disk is running; disk_start first"; return 1; }
	[ -z "$DISK_LOOP" ] || { disk_say "$DISK_LOOP is attached already"; return 1; }
	DISK_LOOP=$(losetup --find --show --direct-io=on "$@" "$DISK_DIR/disk") ||
		{ DISK_LOOP=''; disk_say "losetup failed for $DISK_DIR/disk"; return 1; }
	# Without direct I/O the page cache would stand between, and the counters be another's.
	[ "$(cat "/sys/block/${DISK_LOOP##*/}/loop/dio")" = 1 ] ||
		{ disk_detach; disk_say "no direct I/O on the loop device"; return 1; }
}

# Whether this loop device is still the one on our disk; others may have taken its number. By the
# device number of the mount, since a path says nothing once the mount is gone.
disk_attached() {
	[ -n "$DISK_LOOP" ] || return 1
	[ "$(losetup -n -O BACK-MAJ:MIN "$DISK_LOOP" 2>/dev/null | tr -d ' ')" = "$DISK_DEV" ]
}

# Waits until the loop device is really gone: losetup -d returns before if somebody has it open.
disk_detach() {
	local tries
	for ((tries = 0; tries < 1200; tries++)); do
		disk_attached || { DISK_LOOP=''; return 0; }
		losetup -d "$DISK_LOOP" 2>/dev/null
		disk_attached || { DISK_LOOP=''; return 0; }
		sleep 0.05
	done
	disk_say "$DISK_LOOP stays busy; is a file system on it still mounted?"
}

# disk_ctl COMMAND...: any command of the program; see disk --help.
disk_ctl() {
	printf '%s\n' "$*" 2>/dev/null >"$DISK_DIR/control" ||
		disk_say "command refused: $*"
}

# disk_stat NAME: the counter, on stdout.
disk_stat() {
	local name value
	while read -r name value; do
		[ "$name" != "$1" ] || { printf '%s\n' "$value"; return 0; }
	done <"$DISK_DIR/stats"
	disk_say "no counter '$1'; see $DISK_DIR/stats"
}

# Flushes as the loop device's own statistics have them (16th number).
disk_loop_flushes() {
	local -a stat
	read -ra stat <"/sys/block/${DISK_LOOP##*/}/stat" && printf '%s\n' "${stat[15]}"
}

disk_delay() { disk_ctl delay "$@"; }	# OP MILLISECONDS [at=OFFSET+LENGTH] [nth=N] [count=N]
disk_fail() { disk_ctl fail "$@"; }	# OP ERRNO [at=OFFSET+LENGTH] [nth=N] [count=N]
disk_clear() { disk_ctl clear; }	# no delays, no failures
disk_freeze() { disk_ctl freeze; }
disk_thaw() { disk_ctl thaw; }
disk_flush() { disk_ctl flush; }	# everything written is stable
disk_reset() { disk_ctl reset; }	# counters of requests to 0

# disk_cut FILE [SEED [KEEP]]: writes the image that a power cut now would leave, and prints a line
# with the seed (random if none is given). KEEP: percent of the unflushed writes that survive (50).
# FILE must not lie on a file system on the disk. To cut at one moment with several seeds,
# disk_freeze first. The disk goes on unchanged.
disk_cut() {
	local file=$1 seed=${2:-$((RANDOM << 15 | RANDOM))} keep=${3:-50}
	case $file in
	/*) ;;
	*) file=$PWD/$file ;;
	esac
	disk_ctl cut "$file" "seed=$seed" "keep=$keep" || return 1
	printf '# cut %s: seed=%s keep=%s kept=%s torn=%s lost=%s\n' "$file" "$seed" "$keep" \
		"$(disk_stat cut_kept)" "$(disk_stat cut_torn)" "$(disk_stat cut_lost)"
}

# Detaches, unmounts, waits for the program's end. May be called at any time and twice.
disk_stop() {
	local tries ret=0
	[ -n "$DISK_PID" ] || return 0
	if mountpoint -q "$DISK_DIR"; then
		disk_ctl thaw
		disk_ctl clear
	fi
	disk_detach || ret=1
	if mountpoint -q "$DISK_DIR"; then
		umount "$DISK_DIR" 2>/dev/null || umount -l "$DISK_DIR" || ret=1
	fi
	for ((tries = 0; tries < 1000; tries++)); do
		kill -0 "$DISK_PID" 2>/dev/null || break
		# Half the time for a normal end, then the signal, at the very end the hard one.
		[ "$tries" != 500 ] || kill "$DISK_PID"
		[ "$tries" != 900 ] || kill -KILL "$DISK_PID"
		sleep 0.05
	done
	wait "$DISK_PID" 2>/dev/null || ret=1
	# After a hard end the dead mount is left.
	! mountpoint -q "$DISK_DIR" 2>/dev/null || umount -l "$DISK_DIR"
	DISK_PID='' DISK_DIR='' DISK_LOOP='' DISK_DEV=''
	return $ret
}
