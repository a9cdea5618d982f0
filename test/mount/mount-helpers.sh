#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The system's own commands: mount -t cachefs, an fstab line, findmnt, df, remount, umount. The
# helpers are laid over /sbin in a mount namespace of the test's own: the machine keeps what it has.

if [ "$(id -u)" -eq 0 ] && [ -z "$CACHEFS_TEST_NS" ]; then
	exec env CACHEFS_TEST_NS=1 unshare --mount --propagation private bash "$0"
fi
. "$(dirname "$0")/../lib/lib.sh"
need_root
need_fuse
need_commands findmnt df pgrep
need_tools ioclient pagestat
grep -qw overlay /proc/filesystems || skip_all "no overlayfs, which lays the helpers over /sbin"

install_helpers() {
	mkdir "$WORK/sbin"
	install -m 755 "$MOUNT_CACHEFS" "$top_builddir/umount.fuse.cachefs" "$WORK/sbin"
	ln -s mount.cachefs "$WORK/sbin/mount.fuse.cachefs"
	mount -t overlay overlay -o "lowerdir=$WORK/sbin:$(realpath /sbin)" /sbin ||
		skip_all "cannot lay the helpers over /sbin"
	# libmount's table, not the machine's
	mkdir -p /run/mount
	mount -t tmpfs none /run/mount && touch /run/mount/utab
}

# A supervisor and the worker that it started count as one.
server() {
	local all pid

	all=$(pgrep -f "mount.cachefs $SRC $MNT( |$)") || return
	for pid in $all; do
		grep -qx "$(ps -o ppid= "$pid" | tr -d ' ')" <<<"$all" || echo "$pid"
	done
}

gone() {
	! grep -q " $MNT " /proc/self/mounts && ! server
}

options() {
	# -m: with what libmount's table has; the kernel's does not know our options
	findmnt -mno OPTIONS "$MNT" | tr , '\n' | grep '^cache' | paste -sd ,
}

# mounted_by TEXT COMMAND...: with cache=unsafe. 9 checks
mounted_by() {
	local text=$1

	shift
	succeeds "$text: mounts" timeout 60 "$@"
	is "$(server | wc -l)" -eq 1 "$text: one daemon"
	is "$(findmnt -no SOURCE "$MNT")" = "$SRC" "$text: findmnt shows the source"
	is "$(options)" = cache=unsafe "$text: and the mode in force"
	is "$(df --output=source,size "$MNT" | tail -n 1 | tr -s ' ')" = \
		"$SRC $(df --output=size "$SRC" | tail -n 1 | tr -d ' ')" "$text: df too, with the size"
	exec 8>"$MNT/f" # the last close would flush it
	"$TOOLS/ioclient" -m plain -s 1M -F fsync "$MNT/f" >/dev/null
	is "$(dirty "$SEEN/f")" -gt 0 "$text: there is something dirty"
	exec 8>&-
	succeeds "$text: umount" timeout 60 umount "$MNT"
	succeeds "$text: the daemon has ended then" gone
	is "$(dirty "$SEEN/f")" -eq 0 "$text: and everything was flushed"
	rm -f "$SEEN/f"
}

fstab() {
	printf '%s %s cachefs %s 0 0\n' "$SRC" "$MNT" "$1" >"$WORK/fstab"
}

# remounts TEXT OPTIONS WANT: 3 checks
remounts() {
	succeeds "$1" timeout 60 mount -o "remount,$2" "$MNT"
	is "$(options)" = "$3" "$1: findmnt shows it"
	is "$(grep -c " $MNT " /proc/self/mounts):$(server | wc -l)" = 1:1 "$1: one mount, one daemon"
}

# 6 + 4 * 3 + 4 checks
check_remount() {
	# a file that is open on the kernel path could not follow into a direct mode
	fstab cache=unsafe,noatime,nofail,kernel-path=never
	mount -T "$WORK/fstab" "$MNT"
	exec 7<>"$MNT/open"
	head -c 1M /dev/zero >&7
	is "$(dirty "$SEEN/open")" -gt 0 "unsafe: dirty"
	remounts "remount to a stronger mode" cache=writeback cache=writeback
	is "$(dirty "$SEEN/open")" -eq 0 "the remount flushed what was written before"
	head -c 1M /dev/zero >&7
	is "$(dirty "$SEEN/open")" -gt 0 "writeback: dirty again"
	remounts "remount to a direct mode" cache=none cache=none
	is "$(cached "$SEEN/open")" -eq 0 "the page cache is empty then"
	head -c 64K /dev/zero >&7
	is "$(cached "$SEEN/open")" -eq 0 "and the open file bypasses it"
	remounts "remount to unsafe" cache=unsafe cache=unsafe
	head -c 64K /dev/zero >&7
	dd if=/dev/null conv=notrunc,fsync status=none >&7
	is "$(dirty "$SEEN/open")" -gt 0 "a flush is dropped again"
	exec 7>&-
	remounts "remount without a mode keeps it" ro cache=unsafe
	fails "engine cannot be changed" 'engine' mount -o remount,engine=threads "$MNT"
	fails "an unknown option is refused" 'cach' mount -o remount,cach=none "$MNT"
	is "$(options)" = cache=unsafe "refused remounts changed nothing"
	succeeds "umount" timeout 60 umount "$MNT"
}

plan $((9 * 4 + 22 + 4))
make_fs ext4 64M
SRC=$BACK/images
MNT=$WORK/mnt
SEEN=$WORK/outside/images # the backing from outside, also where SRC is mounted over itself
mkdir "$SRC" "$MNT" "$WORK/outside"
mount --bind "$BACK" "$WORK/outside"
echo "$WORK/outside" >>"$WORK/mounts"
echo "$MNT" >>"$WORK/mounts"
install_helpers
mounted_by "mount -t" mount -t cachefs "$SRC" "$MNT" -o cache=unsafe
fstab cache=unsafe,nofail,x-systemd.requires-mounts-for=/var
mounted_by "mount -a" mount -a -T "$WORK/fstab"
mounted_by "mount MNT" mount -T "$WORK/fstab" "$MNT"
MNT=$SRC
fstab cache=unsafe,nofail
mounted_by "over itself" mount -T "$WORK/fstab" "$MNT"
MNT=$WORK/mnt
check_remount
fstab cache=unsafe,bogus
fails "a wrong fstab line says why" 'unknown option "bogus"' mount -T "$WORK/fstab" "$MNT"
succeeds "and leaves nothing" gone
fails "remount of nothing fails" 'not' \
	"$WORK/sbin/mount.cachefs" "$SRC" "$MNT" -o remount,cache=none
succeeds "and mounts nothing" gone
umount /sbin /run/mount
