# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Library of the mount tests. A test sources it first, says what it needs, and calls plan:
#
#	. "$(dirname "$0")/../lib/lib.sh"
#	need_root; need_fuse; need_commands fio
#	plan 3
#
# From outside:
#	top_srcdir, top_builddir   default: where the script lies; the sources
#	MOUNT_CACHEFS              default: $top_builddir/mount.cachefs
#	CACHEFS_TEST_OPTS          options added to every mount, so that the suite can run with
#	                           another engine, transport or kernel path; what a test itself
#	                           says of an option stands
#	CACHEFS_TEST_TIMEOUT       seconds for one test, default 840 (3600 with CACHEFS_LONG)
#	CACHEFS_LONG               1: the long version of a test
#	CACHEFS_TEST_BIND          1: bind mounts instead of the daemon, to test the tests; what
#	                           only a mode can do then fails
#	CACHEFS_TEST_KEEP          1: keep the work directory (logs) of a test that failed
#	TMPDIR                     default /var/tmp; must not be a tmpfs
#
# What a test starts through these functions ends with it, on every way out: mounts, daemons
# (by id), loop devices, files. A daemon's log that holds "BUG" or a sanitizer's report makes
# the test fail.

top_srcdir=$(realpath "${top_srcdir:-$(dirname "${BASH_SOURCE[0]}")/../..}")
top_builddir=$(realpath "${top_builddir:-$top_srcdir}")
MOUNT_CACHEFS=${MOUNT_CACHEFS:-$top_builddir/mount.cachefs}
PATH=$PATH:/usr/sbin:/sbin
LC_ALL=C
export LC_ALL

. "$top_srcdir/test/lib/tap.sh"

MODES="writethrough writeback none directsync unsafe"
FAULTS='BUG|(Address|Leak|Thread|Memory)Sanitizer|runtime error:'

# A mount namespace of its own starts with copies of what tests beside this one have mounted, and would
# keep it alive after they have unmounted it.
if [ -n "${CACHEFS_TEST_NS-}" ]; then
	awk '$2 ~ /\/cachefs-test/ { print $2 }' /proc/self/mounts | tac | while read -r copy; do
		umount --internal-only --no-canonicalize --lazy "$copy"
	done
fi

# Most tests look at what is dirty, or count flushes, after a close; those of the flush at the last close set this
# to nothing, for the default.
LAST_CLOSE=none

WORK=$(mktemp -d "${TMPDIR:-/var/tmp}/cachefs-test.XXXXXX") || bail_out "no work directory"
chmod 755 "$WORK"
watchdog_pid=

# kernel_path always|never: the whole run is on the kernel path wherever that is possible, or never. With
# always, contract exceptions: mappings use the page cache of the backing file in every mode, O_DIRECT has the
# backing's own alignment, and two mounts cannot share a SOURCE. With never, unsafe has no exceptions.
kernel_path() {
	[[ ${CACHEFS_TEST_OPTS-} =~ .*kernel-path=([a-z]+) && ${BASH_REMATCH[1]} = "$1" ]]
}

need_root() {
	[ "$(id -u)" -eq 0 ] || skip_all "must run as root"
}

need_fuse() {
	[ -z "$CACHEFS_TEST_BIND" ] || return 0
	[ -c /dev/fuse ] || skip_all "no /dev/fuse"
	[ -x "$MOUNT_CACHEFS" ] || bail_out "$MOUNT_CACHEFS: not built; run make, or set MOUNT_CACHEFS"
}

need_commands() {
	local c

	for c; do
		command -v "$c" >/dev/null || skip_all "no command $c"
	done
}

# need_tools NAME...: programs of test/lib; sets TOOLS, their directory.
need_tools() {
	local t

	TOOLS=$top_builddir/test/lib
	for t; do
		[ -x "$TOOLS/$t" ] || bail_out "$TOOLS/$t: not built; run make check TESTS="
	done
}

# make_fs ext4|xfs|btrfs SIZE [MKFS-OPTION...]: a filesystem of its own on a loop device. Sets BACK
# (where it is mounted) and LOOP (device name, as in /sys/block). ext4 has no journal, whose
# commits would flush the device behind the back of a test that counts flushes.
make_fs() {
	local type=$1 size=$2 n image dev opts=()

	shift 2
	n=$(find "$WORK" -maxdepth 1 -name 'fs*.img' | wc -l)
	image=$WORK/fs$n.img
	BACK=$WORK/back$n
	command -v "mkfs.$type" >/dev/null || skip_all "no command mkfs.$type"
	case $type in
	ext4) opts=(-q -O '^has_journal' -E lazy_itable_init=0) ;;
	xfs | btrfs) opts=(-q -f) ;;
	esac
	mkdir "$BACK"
	truncate -s "$size" "$image"
	dev=$(losetup -f --show "$image") || bail_out "no loop device for $image"
	echo "$dev" >>"$WORK/loops"
	LOOP=${dev##*/}
	"mkfs.$type" "${opts[@]}" "$@" "$dev" >"$WORK/mkfs.log" 2>&1 ||
		bail_out "mkfs.$type $dev: $(tail -n 1 "$WORK/mkfs.log")"
	mount -t "$type" -o noatime "$dev" "$BACK" || skip_all "cannot mount $type here"
	echo "$BACK" >>"$WORK/mounts"
}

# flushes LOOP: how many flushes the device has completed.
flushes() {
	awk '{ print $16 }' "/sys/block/$1/stat"
}

# settle: what BACK has dirty is written, and flushes in the background (the last close under unsafe) are
# over, so that they do not get into the next count.
settle() {
	local last=-1 now i

	sync -f "$BACK"
	for ((i = 0; i < 50; i++)); do
		now=$(flushes "$LOOP")
		[ "$now" -ne "$last" ] || break
		last=$now
		sleep 0.1
	done
}

# need_flush_counter: the kernel's counter must count each synchronous write to BACK on LOOP once.
need_flush_counter() {
	local before after

	allocate "$BACK/.probe" 64K
	before=$(flushes "$LOOP")
	dd if=/dev/zero of="$BACK/.probe" bs=4k count=7 conv=notrunc oflag=dsync status=none
	after=$(flushes "$LOOP")
	rm "$BACK/.probe"
	[ $((after - before)) -eq 7 ] ||
		skip_all "/sys/block/$LOOP/stat shows $((after - before)) flushes for 7 synchronous writes"
}

# allocate FILE SIZE: written zeros, on stable storage, none of it left in the page cache. Writing
# to it afterwards allocates nothing.
allocate() {
	fallocate -l "$2" "$1" &&
		dd if=/dev/zero of="$1" bs=64K count="$(($(stat -c %s "$1") / 65536))" \
			conv=notrunc,fsync status=none && drop_cache "$1"
}

drop_cache() {
	dd of="$1" oflag=nocache conv=notrunc,fdatasync count=0 status=none
}

# cached FILE, dirty FILE: pages in the page cache; dirty includes those under write-back.
cached() {
	"$TOOLS/pagestat" "$1" | sed 's/cached=\([0-9]*\).*/\1/'
}

dirty() {
	"$TOOLS/pagestat" "$1" | sed 's/.*dirty=\([0-9]*\) writeback=\([0-9]*\).*/\1 \2/' |
		awk '{ print $1 + $2 }'
}

# Is there a FUSE filesystem at MNT?
fuse_mounted() {
	awk -v m="$1" '$5 == m { for (i = 7; i < NF; i++) if ($i == "-") type = $(i + 1) }
		END { exit type !~ /^fuse/ }' /proc/self/mountinfo
}

answers() {
	fuse_mounted "$1" && stat "$1" >/dev/null 2>&1
}

answers_or_ended() {
	answers "$1" || ended "$2"
}

# Mount SRC at MNT (made if missing) with OPTIONS. The daemon stays in front, its log is in
# $WORK/MNT's-name.log. On failure: status 1, nothing mounted, and the log as a diagnostic.
mount_cachefs() {
	local src=$1 mnt=$2 log pid
	local all=foreground${LAST_CLOSE:+,on-close=$LAST_CLOSE}${CACHEFS_TEST_OPTS:+,$CACHEFS_TEST_OPTS}${3:+,$3}

	mkdir -p "$mnt"
	mnt=$(realpath "$mnt")
	if [ -n "$CACHEFS_TEST_BIND" ]; then
		mount --bind "$src" "$mnt" && echo "$mnt" >>"$WORK/mounts"
		return
	fi
	log=$WORK/$(basename "$mnt").log
	"$MOUNT_CACHEFS" "$src" "$mnt" -o "$all" >>"$log" 2>&1 9>&- &
	pid=$!
	echo "$mnt" >>"$WORK/mounts"
	echo "$pid $mnt" >>"$WORK/daemons"
	soon answers_or_ended "$mnt" "$pid"
	answers "$mnt" && return 0
	diag "$MOUNT_CACHEFS $src $mnt -o $all: not mounted; its log:" "$(tail -n 20 "$log")"
	kill_all "$pid"
	return 1
}

# must_mount: as mount_cachefs; without the mount nothing of the test makes sense.
must_mount() {
	mount_cachefs "$@" || bail_out "cannot mount with $3"
}

# The daemon's process id of the mount at MNT.
daemon_pid() {
	awk -v m="$(realpath "$1")" '$2 == m { pid = $1 } END { print pid }' "$WORK/daemons"
}

# The process that serves it: the supervisor's child, or the daemon itself with recover=off.
server_pid() {
	local daemon worker

	daemon=$(daemon_pid "$1")
	worker=$(ps -o pid=,stat= --ppid "$daemon" | awk '$2 !~ /^Z/ { pid = $1 } END { print pid }')
	echo "${worker:-$daemon}"
}

# kill_all PID: a daemon and whoever serves for it, so that none of them can do anything any more.
kill_all() {
	local child

	kill -STOP "$1" 2>/dev/null
	for child in $(ps -o pid= --ppid "$1"); do
		kill -KILL "$child" 2>/dev/null
	done
	kill -KILL "$1" 2>/dev/null
}

# Is this child of ours still there? Asked of the shell, since the kernel may reuse an id.
running() {
	jobs -pr | grep -qx "$1"
}

# within SECONDS COMMAND...: 0 when it succeeds within that time, or within as many tries as that makes, so that a
# machine on which nothing runs for a while has not failed.
within() {
	local i tries=$(($1 * 20))

	shift
	for ((i = 0; i < tries; i++)); do
		"$@" && return 0
		sleep 0.05
	done
	return 1
}

# soon COMMAND...: for what happens by itself, a moment later: what the kernel tells the daemon after the
# call has returned (RELEASE, FORGET), what the daemon does in the background, the start of another process. The
# limit is for a machine that is busy with other things: only what never happens needs all of it.
soon() {
	within 60 "$@"
}

# written_back COMMAND...: as soon, for data that becomes clean: the kernel by itself writes back what is older
# than 30 s, which is not what a test is about.
written_back() {
	within 15 "$@"
}

# is_closed FILE, all_closed: the daemon of MNT has been told of the close, by RELEASE, which comes after close(2)
# has returned. For soon.
is_closed() {
	! open_files | grep -qF "\"path\":\"$1\""
}

all_closed() {
	open_files | grep -qF '"files":[]'
}

open_files() {
	[ -z "$CACHEFS_TEST_BIND" ] || { echo '"files":[]'; return; }
	tr -d ' \n' <"$MNT/.cachefs/status.json"
}

ended() {
	! running "$1"
}

# stopped PID: SIGSTOP has stopped each thread. One that is in a system call goes on until that returns.
stopped() {
	local states

	states=$(sed 's/.*) \(.\).*/\1/' "/proc/$1"/task/*/stat) && [ -z "$(tr -d 'T\n' <<<"$states")" ]
}

# sleeps PID PROGRAM: what was started in the background is that program by now, and has come to its sleep.
sleeps() {
	[ "/proc/$1/exe" -ef "$2" ] && grep -q ') S ' "/proc/$1/stat"
}

# stop_process PID: it does nothing more when this returns, until it gets SIGCONT.
stop_process() {
	kill -STOP "$1" && soon stopped "$1"
}

# wait_end PID SECONDS: 0 when the process has ended within that time.
wait_end() {
	within "$2" ended "$1"
}

# Unmount MNT and wait for its daemon: status 0 when it ended by itself, with status 0.
umount_cachefs() {
	local mnt pid

	mnt=$(realpath "$1")
	if ! grep -qs " $mnt " /proc/self/mounts || ! within 10 umount "$mnt" 2>"$WORK/umount.log"; then
		diag "umount $mnt: $(tail -n 1 "$WORK/umount.log")"
		umount -l "$mnt"
		return 1
	fi
	[ -z "$CACHEFS_TEST_BIND" ] || return 0
	pid=$(daemon_pid "$mnt")
	if ! wait_end "$pid" 60; then
		diag "the daemon of $mnt (process $pid) still runs 60 s after umount"
		return 1
	fi
	sed -i "/^$pid /d" "$WORK/daemons"
	wait "$pid" || { diag "the daemon of $mnt ended with status $?"; return 1; }
}

# each_mode CHECKS FUNCTION: plan, and for each mode a mount at $MNT of a new directory $BACK, on
# which FUNCTION MODE makes so many checks; one more that the mount ends well.
each_mode() {
	local mode

	plan $(($(wc -w <<<"$MODES") * ($1 + 1)))
	MNT=$WORK/mnt
	for mode in $MODES; do
		BACK=$WORK/back.$mode
		mkdir "$BACK"
		must_mount "$BACK" "$MNT" "cache=$mode"
		"$2" "$mode"
		succeeds "$mode: unmounts, the daemon ends" umount_cachefs "$MNT"
		rm -rf --one-file-system "$BACK"
	done
}

# When the time is over: a request that no daemon will answer any more ends with an error.
kill_daemons() {
	local pid

	[ -e "$WORK/daemons" ] || return 0
	while read -r pid _; do
		kill_all "$pid"
	done <"$WORK/daemons"
}

# kill_below PID EXCEPT: all its descendants but one branch.
kill_below() {
	local child

	for child in $(ps -o pid= --ppid "$1"); do
		[ "$child" -ne "$2" ] || continue
		kill_below "$child" "$2"
		kill -KILL "$child" 2>/dev/null
	done
}

watchdog() {
	local limit=${CACHEFS_TEST_TIMEOUT:-$((${CACHEFS_LONG:-0} == 1 ? 3600 : 840))} child

	trap 'kill "$child" 2>/dev/null; exit 0' TERM
	trap - EXIT
	sleep "$limit" &
	child=$!
	wait "$child"
	echo "Bail out! not finished after $limit s"
	touch "$WORK/timed-out"
	kill_daemons
	kill -TERM "$1" # acts when the shell's foreground command has ended: end that
	kill_below "$1" "$BASHPID"
}

# Mounts in reverse order, gently first; then daemons, loop devices, files.
cleanup() {
	local status=$? m pid dev faults=

	trap '' INT TERM HUP
	trap - EXIT
	cd /
	exec 9>&-
	[ -z "$watchdog_pid" ] || kill -TERM "$watchdog_pid" 2>/dev/null
	if [ -e "$WORK/mounts" ]; then
		for m in $(tac "$WORK/mounts"); do
			grep -qs " $m " /proc/self/mounts || continue
			umount "$m" 2>/dev/null || { sleep 0.3; umount "$m" 2>/dev/null; } || umount -l "$m"
		done
	fi
	if [ -e "$WORK/daemons" ]; then
		while read -r pid m; do
			wait_end "$pid" 20 || kill -TERM "$pid"
			wait_end "$pid" 20 || kill_all "$pid"
			wait "$pid" 2>/dev/null
		done <"$WORK/daemons"
	fi
	if [ -e "$WORK/loops" ]; then
		while read -r dev; do
			losetup -d "$dev" 2>/dev/null
		done <"$WORK/loops"
	fi
	faults=$(grep -Ehs -A 30 "$FAULTS" "$WORK"/*.log | head -n 60)
	[ -z "$faults" ] || { diag "faults in the daemon's log:" "$faults"; status=1; }
	[ ! -e "$WORK/timed-out" ] || status=99
	[ "$status" -ne 0 ] || tap_status || status=1
	if [ "$status" -ne 0 ] && [ -n "$CACHEFS_TEST_KEEP" ]; then
		diag "kept: $WORK"
	else
		rm -rf --one-file-system "$WORK"
	fi
	exit "$status"
}

trap cleanup EXIT
trap 'exit 143' INT TERM HUP
watchdog $$ 9>&- &
watchdog_pid=$!
