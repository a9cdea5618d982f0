#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Where the kernel path is impossible: everything works, by the daemon, and the log has the reason.

# In a mount namespace of its own, so that /dev/fuse can be changed.
if [ "$(id -u)" -eq 0 ] && [ -z "$CACHEFS_TEST_NS" ]; then
	exec env CACHEFS_TEST_NS=1 unshare --mount --propagation private bash "$0"
fi
. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/kpath.sh"
need_root
need_fuse
need_commands setpriv fusermount3
need_tools kpath
need_kernel_path

NOBODY=(setpriv --reuid 65534 --regid 65534 --clear-groups)

# reason PATTERN
reason() {
	[ "$(grep -c 'kernel path: not used' "$WORK/mnt.log")" = 1 ] &&
		grep -Eq "kernel path: not used: .*($1).*daemon serves" "$WORK/mnt.log" ||
		{ cat "$WORK/mnt.log"; return 1; }
}

# check TEXT OPTIONS PATTERN: PATTERN is the reason, or empty where there is none. 12 checks
check() {
	local want=$ON_DAEMON

	rm -f "$WORK/mnt.log"
	must_mount "$BACK" "$MNT" "$2"
	if [ -n "$3" ]; then
		succeeds "$1: the log says why, once" reason "$3"
	else
		want=$(on_kernel_path writeback)
		is "$(grep -c 'kernel path' "$WORK/mnt.log")" -eq 0 "$1: nothing to say in the log"
	fi
	is "$(who 2>&1)" = "$want" "$1: who serves what"
	data_checks "$1"
	succeeds "$1: many threads" timeout 300 "$TOOLS/kpath" storm "$MNT" 3 30 1
	succeeds "$1: unmounts, the daemon ends" umount_cachefs "$MNT"
	rm -rf "${BACK:?}"/*
}

# overlay LOWER NAME: sets BACK
overlay() {
	mkdir "$WORK/$2" "$WORK/$2.up" "$WORK/$2.work"
	mount -t overlay none "$WORK/$2" \
		-o "lowerdir=$1,upperdir=$WORK/$2.up,workdir=$WORK/$2.work" || return 1
	echo "$WORK/$2" >>"$WORK/mounts"
	BACK=$WORK/$2
}

# A mount by a user, in front so that its log can be read. 6 checks
check_user() {
	local pid

	mknod -m 666 "$WORK/fuse" c 10 229 && mount --bind "$WORK/fuse" /dev/fuse
	echo /dev/fuse >>"$WORK/mounts"
	install -m 755 "$MOUNT_CACHEFS" "$WORK/user.cachefs"
	install -m 755 "$TOOLS/kpath" "$WORK/kpath"
	BACK=$WORK/user
	rm -f "$WORK/mnt.log"
	mkdir -m 777 "$BACK"
	chown 65534 "$MNT"
	"${NOBODY[@]}" "$WORK/user.cachefs" "$BACK" "$MNT" -o foreground >"$WORK/mnt.log" 2>&1 9>&- &
	pid=$!
	echo "$MNT" >>"$WORK/mounts"
	echo "$pid $MNT" >>"$WORK/daemons"
	soon fuse_mounted "$MNT"
	succeeds "user: the log says why, once" reason 'needs root'
	for c in mix append; do
		succeeds "user: $c" timeout 300 "${NOBODY[@]}" "$WORK/kpath" $c "$MNT/$c"
	done
	is "$("${NOBODY[@]}" stat -c '%A %u' "$MNT/.cachefs/metrics" 2>&1)" = "-r-------- 65534" \
		"user: the reports are his"
	succeeds "user: he reads them" timeout 60 "${NOBODY[@]}" tail -n 1 "$MNT/.cachefs/metrics"
	"${NOBODY[@]}" fusermount3 -u "$MNT"
	succeeds "user: unmounts, the daemon ends" wait_end "$pid" 60
}

plan $((4 * 12 + 6))
MNT=$WORK/mnt
mkdir "$MNT"
make_fs ext4 96M
disk=$BACK
rm -rf "$disk/lost+found"
check "withheld" cache=writeback,mask-caps=kernel-path 'Linux 6.9'
BACK=$WORK/tmpfs
mkdir "$BACK"
mount -t tmpfs none "$BACK" && echo "$BACK" >>"$WORK/mounts"
check tmpfs cache=writeback ''
if overlay "$disk" over; then
	check overlayfs cache=writeback ''
	overlay "$WORK/over" over2 && check "overlayfs twice" cache=writeback 'stacked too deep'
else
	skip 24 "no overlayfs here"
fi
check_user
