#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A mount that nobody serves any more, since its processes were killed: umount flushes in their place, and every
# command names it. And a daemon that is killed before its mount answers leaves nothing mounted.

# In a mount namespace of its own, so that the helpers can be laid over /sbin, and /dev/fuse be everybody's.
if [ "$(id -u)" -eq 0 ] && [ -z "$CACHEFS_TEST_NS" ]; then
	exec env CACHEFS_TEST_NS=1 unshare --mount --propagation private bash "$0"
fi
. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/crash.sh"
. "$top_srcdir/test/lib/disk-fs.sh"
need_root
need_fuse
need_commands pgrep setpriv fusermount3
need_tools killed pagestat
need_disk
[ -z "$CACHEFS_TEST_BIND" ] || skip_all "a bind mount has no daemon"
grep -qw overlay /proc/filesystems || skip_all "no overlayfs, which lays the helpers over /sbin"

# Copies of what others have mounted are none of our business, and would have cachefsctl wait for them.
awk '/ - fuse\.cachefs / { print $5 }' /proc/self/mountinfo | tac | while read -r copy; do
	umount --internal-only --no-canonicalize --lazy "$copy"
done

CTL=$top_builddir/cachefsctl
USER_ID=65534
AS_USER=(setpriv --reuid $USER_ID --regid $USER_ID --clear-groups)

# mounted MNT: how many mounts are there, one over the other.
mounted() { awk -v m="$1" '$5 == m' /proc/self/mountinfo | wc -l; }
is_dead() { ls "$1" 2>&1 | grep -q 'not connected'; }

# die MNT: its processes are killed, it stays mounted.
die() {
	local pid

	pid=$(daemon_pid "$1")
	kill_all "$pid"
	wait "$pid" 2>/dev/null
	sed -i "/^$pid /d" "$WORK/daemons"
	soon is_dead "$1" || bail_out "$1 does not die"
}

# run COMMAND...: its status in $status, what it says in $output
run() { output=$(timeout 120 "$@" 2>&1 </dev/null) && status=0 || status=$?; }

# says STATUS PATTERN TEXT: what run() has seen: that status, and one line like that. 1 check
says() {
	if [ "$status" -eq "$1" ] && [ "$(wc -l <<<"$output")" -eq 1 ] && grep -Eq "$2" <<<"$output"; then
		ok "$3"
	else
		not_ok "$3" "status $status, wanted $1, a line like: $2" "$output"
	fi
}

# write_dirty FILE: 1 MiB that nobody flushes.
write_dirty() {
	rm -f "$1" # ext4 flushes what replaces another file's contents
	head -c 1M /dev/urandom | tee "$WORK/bytes" >"$1"
}

INSTEAD="had died: the filesystem of its SOURCE, .*, was flushed instead"

# unmounts TEXT FILE COMMAND...: FILE is in the backing, seen from outside. 4 checks
unmounts() {
	local text=$1 file=$2

	shift 2
	run "$@"
	says 0 "^umount.fuse.cachefs: $MNT: the process that served it $INSTEAD" "$text: umount says what it did"
	is "$(dirty "$file")" -eq 0 "$text: everything is flushed"
	succeeds "$text: the bytes are those that were written" cmp "$file" "$WORK/bytes"
	is "$(mounted "$MNT")" -eq 0 "$text: nothing is mounted"
}

# ---- umount ----

# check_umount OPTIONS: 5 checks, 3 more with unsafe
check_umount() {
	must_mount "$SRC" "$MNT" "$1"
	write_dirty "$MNT/f"
	is "$(dirty "$SRC/f")" -gt 0 "$1: dirty"
	die "$MNT"
	unmounts "$1" "$SRC/f" umount "$MNT"
	[[ $1 = *unsafe* ]] || return
	succeeds "$1: the crash marker stays" has_marker "$SRC"
	new_log
	must_mount "$SRC" "$MNT" "$1"
	succeeds "$1: for the next mount" logged 'an earlier process ended without flushing: flushed now'
	succeeds "$1: which opens the file" cmp "$MNT/f" "$WORK/bytes"
	umount_cachefs "$MNT"
}

# 6 checks
check_over_itself() {
	local MNT=$SRC

	must_mount "$SRC" "$MNT" cache=writeback
	write_dirty "$MNT/f"
	is "$(dirty "$WORK/outside/f")" -gt 0 "over itself: dirty"
	die "$MNT"
	run "$MOUNT_CACHEFS" "$SRC" "$MNT"
	says 32 "$MNT: $UNSERVED" "over itself: mounting it again is refused"
	unmounts "over itself" "$WORK/outside/f" umount "$MNT"
}

# What is open on the kernel path goes on without the daemon. 8 checks
check_open() {
	must_mount "$SRC" "$MNT" cache=unsafe,kernel-path=always
	exec 7<>"$MNT/f"
	head -c 1M /dev/urandom | tee "$WORK/bytes" >&7
	die "$MNT"
	run umount "$MNT"
	says 32 "$MNT: Device or resource busy: in use" "files are open: in use"
	is "$(mounted "$MNT")" -eq 1 "files are open: it stays"
	unmounts "files are open, lazily" "$SRC/f" umount -l "$MNT"
	exec 7>&-
	must_mount "$SRC" "$MNT" cache=writeback
	die "$MNT"
	run "$top_builddir/umount.fuse.cachefs" -f "$MNT"
	is "$status:$output" = 0: "forced: nobody is asked, and nothing said"
	is "$(mounted "$MNT")" -eq 0 "forced: nothing is mounted"
}

# 4 checks
check_source_gone() {
	must_mount "$SRC" "$MNT" cache=writeback
	die "$MNT"
	mv "$SRC" "$SRC.elsewhere"
	run umount "$MNT"
	says 2 "had died, and its SOURCE, $SRC, cannot be opened to flush it: No such file or directory: sync" \
		"SOURCE is gone: umount says so"
	is "$(mounted "$MNT")" -eq 0 "SOURCE is gone: nothing is mounted"
	mv "$SRC.elsewhere" "$SRC"
	must_mount "$SRC" "$WORK/lower" cache=writeback
	must_mount "$WORK/lower" "$MNT" cache=writeback,kernel-path=never
	write_dirty "$MNT/f"
	die "$MNT"
	unmounts "SOURCE is a mount of ours" "$SRC/f" umount "$MNT"
	umount_cachefs "$WORK/lower"
}

# 3 checks
check_flush_error() {
	must_mount "$SRC" "$MNT" cache=writeback
	write_dirty "$MNT/f"
	die "$MNT"
	disk_fail write EIO
	run umount "$MNT"
	disk_clear
	says 2 "$MNT: .*had died, and the filesystem of its SOURCE, $SRC, could not be flushed: Input/output error" \
		"the flush fails: umount says so"
	is "$(mounted "$MNT")" -eq 0 "the flush fails: nothing is mounted"
	is "$(grep -c " TARGET=$MNT " /run/mount/utab)" -eq 0 "the flush fails: nor in libmount's table"
	rm "$SRC/f"
}

# ---- a user's ----

user_mount() {
	"${AS_USER[@]}" timeout 60 "$PROGRAM" "$USER_SRC" "$MNT" -o "cache=writeback,on-close=none" || bail_out "no mount by a user"
	rm -f "$USER_SRC/f"
	head -c 1M /dev/urandom | "${AS_USER[@]}" tee "$MNT/f" >"$WORK/bytes"
}

processes() { pgrep -f "$PROGRAM $USER_SRC $WORK/user( |$)"; }
no_processes() { ! processes >/dev/null; }

# All of them at once: a stopped supervisor starts no other worker.
user_die() {
	processes | xargs -r kill -STOP
	processes | xargs -r kill -KILL
	soon no_processes || bail_out "the user's daemon does not die"
}

# 14 checks
check_user() {
	local MNT=$WORK/user

	mkdir "$MNT" "$USER_SRC"
	chown $USER_ID "$MNT" "$USER_SRC"
	echo "$MNT" >>"$WORK/mounts"
	user_mount
	succeeds "a user's mount: umount by the user" "${AS_USER[@]}" timeout 60 "$USER_UMOUNT" "$MNT"
	succeeds "a user's mount: the daemon has ended then" no_processes
	is "$(dirty "$USER_SRC/f")" -eq 0 "a user's mount: everything is flushed"
	user_mount
	user_die
	unmounts "a user's dead mount, by the user" "$USER_SRC/f" "${AS_USER[@]}" "$USER_UMOUNT" "$MNT"
	user_mount
	user_die
	run "${AS_USER[@]}" "$WORK/cachefsctl" status "$MNT"
	says 2 "$MNT: $UNSERVED" "a user's dead mount: named"
	run "${AS_USER[@]}" "$PROGRAM" "$USER_SRC" "$MNT"
	says 32 "$MNT: $UNSERVED" "a user's dead mount: not mounted again"
	# the kernel lets nobody but the user ask it, root neither
	succeeds "a user's dead mount, by root: umount" timeout 60 umount "$MNT"
	is "$(dirty "$USER_SRC/f")" -eq 0 "a user's dead mount, by root: everything is flushed"
	run "${AS_USER[@]}" env KILLED_AT=initialised "$WORK/killed" "$USER_SRC" "$MNT"
	says 2 'ended by signal 9' "a user's daemon is killed before it answers: said"
	is "$(mounted "$MNT")" -eq 0 "a user's daemon is killed before it answers: nothing is mounted"
	is "$("${AS_USER[@]}" touch "$MNT/x" 2>&1)" = "" "a user's daemon is killed before it answers: the directory is as before"
}

# ---- how it is named ----

UNSERVED="on a cachefs mount that nobody serves any more: unmount it \(umount [^ ]*\) and mount it again$"

# names STATUS GIVEN COMMAND...: one line that names GIVEN, the mountpoint and the cure. 1 check
names() {
	local want=$1 given=$2

	shift 2
	run "$@"
	says "$want" "^[a-z: ]*: $given: on a .* any more: unmount it \(umount $MNT\) and mount it again$" \
		"named by ${*//$WORK\//}"
}

# check_names OPTIONS: as the kernel has nothing in memory, or all. 8 checks
check_names() {
	must_mount "$SRC" "$MNT" "$1"
	mkdir -p "$MNT/sub"
	echo contents >"$MNT/sub/file"
	stat "$MNT/sub/file" >/dev/null
	die "$MNT"
	names 32 "$MNT" "$MOUNT_CACHEFS" "$SRC" "$MNT"
	names 32 "$MNT" mount -t cachefs "$SRC" "$MNT" -o cache=none
	names 32 "$MNT" mount -o remount,cache=none "$MNT"
	names 32 "$MNT" "$MOUNT_CACHEFS" "$MNT" "$WORK/other"
	names 32 "$MNT/sub" "$MOUNT_CACHEFS" "$SRC" "$MNT/sub"
	is "$(mounted "$MNT"):$(mounted "$WORK/other"):$(mounted "$MNT/sub")" = 1:0:0 "nothing was mounted over it"
	names 2 "$MNT/sub/file" "$CTL" mode "$MNT/sub/file"
	names 2 "$MNT" "$CTL" reload "$MNT"
	umount "$MNT" 2>/dev/null
}

# 17 checks
check_ctl() {
	local verb inside

	must_mount "$SRC" "$MNT" attr-timeout=0,entry-timeout=0
	# this shell would wait for the daemon itself, which is stopped before it is killed
	mkfifo "$WORK/go"
	(cd "$MNT/sub" && : >"$WORK/there" && read -r _ <"$WORK/go" && exec timeout 60 "$CTL" status file) \
		>"$WORK/inside" 2>&1 9>&- &
	inside=$!
	soon test -e "$WORK/there" || bail_out "no process in $MNT/sub"
	ln -s "$MNT/sub" "$WORK/link"
	ln -s link/file "$WORK/relative"
	die "$MNT"
	for verb in status mode flush handoff doctor trust rollback; do
		names 2 "$MNT/sub/file" "$CTL" "$verb" "$MNT/sub/file"
	done
	for verb in status reload upgrade doctor; do
		names 2 "$MNT" "$CTL" "$verb" "$MNT"
	done
	names 2 "$MNT/sub" "$CTL" top -b -n 1 "$MNT/sub"
	names 2 "$WORK/relative" "$CTL" status "$WORK/relative"
	names 2 "$WORK/link/none" "$CTL" status "$WORK/link/none"
	echo >"$WORK/go"
	wait $inside && status=0 || status=$?
	output=$(cat "$WORK/inside")
	says 2 "^cachefsctl: file: on a .* any more: unmount it \(umount $MNT\)" "named by cachefsctl status file, in the mount"
	run "$CTL" status
	is "$(grep "^$MNT " <<<"$output" | grep -c 'nobody serves it any more')" -eq 1 "named by status, of all mounts"
	run "$CTL" top -b -n 1
	is "$(grep -c "^cachefsctl: $MNT: on a .* any more" <<<"$output")" -eq 1 "and by top"
	umount "$MNT" 2>/dev/null
}

# ---- killed before the mount answers ----

# 6 * 3 checks
check_start() {
	local place said

	rm -rf "$SRC/.cachefs"
	for place in start mounted initialised both supervisor ends; do
		said='ended by signal 9 \(Killed\)'
		[ $place != ends ] || said='told to end, or the mount was taken away'
		run env KILLED_AT=$place "$WORK/killed" "$SRC" "$MNT"
		says 2 "^cachefs: error: $SRC could not be mounted at $MNT: the process .* $said: mount it again$" \
			"killed, $place: said"
		is "$(mounted "$MNT")" -eq 0 "killed, $place: nothing is mounted"
		is "$(pgrep -f "$WORK/killed $SRC $MNT( |$)")" = "" "killed, $place: nothing is running"
	done
}

# Whatever is left of ours keeps the disk busy.
end_dead() {
	local status=$? m

	cd /
	exec 7>&-
	for m in "$WORK/user" "$WORK/mnt" "$WORK/lower" "$WORK/outside" "$BACK/images"; do
		while [ "$(mounted "$m")" -gt 0 ] && umount -i -l "$m"; do :; done
	done
	[ -z "$USER_SRC" ] || soon no_processes
	(exit $status)
	end_disk
}

install_helpers() {
	mkdir "$WORK/sbin"
	install -m 755 "$MOUNT_CACHEFS" "$top_builddir/umount.fuse.cachefs" "$WORK/sbin"
	ln -s mount.cachefs "$WORK/sbin/mount.fuse.cachefs"
	mount -t overlay overlay -o "lowerdir=$WORK/sbin:$(realpath /sbin)" /sbin || skip_all "cannot lay the helpers over /sbin"
	# libmount's table, not the machine's
	mkdir -p /run/mount
	mount -t tmpfs none /run/mount && touch /run/mount/utab
	# everybody may use this /dev/fuse, whatever the machine's own says; TMPDIR may be without devices
	mkdir "$WORK/dev"
	mount -t tmpfs -o dev,mode=755 none "$WORK/dev" && echo "$WORK/dev" >>"$WORK/mounts"
	mknod -m 666 "$WORK/dev/fuse" c 10 229 && mount --bind "$WORK/dev/fuse" /dev/fuse
	"${AS_USER[@]}" bash -c 'exec 3<>/dev/fuse' || skip_all "users cannot use /dev/fuse here"
	# where users can get at them, too
	install -m 755 "$MOUNT_CACHEFS" "$CTL" "$TOOLS/killed" "$WORK"
	USER_UMOUNT=umount
	[ -u "$(command -v umount)" ] || USER_UMOUNT=/sbin/umount.fuse.cachefs
	PROGRAM=$WORK/mount.cachefs
}

USER_SRC=
install_helpers
trap end_dead EXIT
new_disk errors=continue 128M
SRC=$BACK/images
USER_SRC=$BACK/user
mkdir "$SRC" "$WORK/outside" "$WORK/other" "$MNT"
mount --bind "$SRC" "$WORK/outside"
echo "$WORK/outside" >>"$WORK/mounts"
plan $((5 + 5 + 8 + 6 + 8 + 6 + 3 + 14 + 2 * 8 + 17 + 18))
check_umount cache=writeback,kernel-path=never
check_umount cache=writeback,recover=off
check_umount cache=unsafe
check_over_itself
check_open
check_source_gone
check_names cache=writeback,attr-timeout=0,entry-timeout=0
check_names cache=writeback,exclusive
check_ctl
check_start
check_user
check_flush_error
umount "$WORK/outside"
