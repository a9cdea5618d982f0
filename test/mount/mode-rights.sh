#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Who may set which mode on what: the owner, root, others; modes-by; the mount's own mode; what is no mode and
# what has none; the attribute's flags, lists and copies; a mount by a user.

# In a mount namespace of its own, so that /dev can be changed.
if [ "$(id -u)" -eq 0 ] && [ -z "$CACHEFS_TEST_NS" ]; then
	exec env CACHEFS_TEST_NS=1 unshare --mount --propagation private bash "$0"
fi
. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/modes.sh"
need_root
need_fuse
need_commands jq setfattr getfattr setpriv python3
need_tools ioclient modectl pagestat

OWNER=65533
OTHER=65534
as() {
	local id=$1

	shift
	timeout 60 setpriv --reuid "$id" --regid "$id" --clear-groups "$@"
}
as_owner() { as $OWNER "$@"; }
as_other() { as $OTHER "$@"; }

set_as() {
	as "$1" setfattr -n "$2" -v "$4" "$MNT/$3"
}

remount() {
	timeout 60 "$MOUNT_CACHEFS" "$BACK" "$MNT" -o "remount,$1"
}

unchanged() {
	is "$(now f), $(getfattr --absolute-names -d "$BACK/f")" = "writeback, " "$1: nothing has changed"
}

# 17 checks
check_owner() {
	succeeds "the owner sets the mode of now" set_as $OWNER $ATTR.now f none
	has f none runtime "it holds"
	succeeds "and takes it back" as_owner setfattr -x $ATTR.now "$MNT/f"
	succeeds "the owner stores a mode" set_as $OWNER $ATTR f unsafe
	has f unsafe stored "it holds"
	succeeds "and takes it back" as_owner setfattr -x $ATTR "$MNT/f"
	succeeds "the owner uses the ioctl" as_owner "$TOOLS/modectl" set "$MNT/f" none
	succeeds "and takes it back" as_owner "$TOOLS/modectl" clear "$MNT/f"
	unchanged "in between"
	chmod 444 "$MNT/f"
	succeeds "also of a file that it may only read, by the ioctl" as_owner "$TOOLS/modectl" set "$MNT/f" none
	as_owner "$TOOLS/modectl" clear "$MNT/f" >"$WORK/clear.out"
	chmod 666 "$MNT/f"
	fails "somebody with write permission: the mode of now" 'not permitted' set_as $OTHER $ATTR.now f none
	fails "a stored mode" 'not permitted' set_as $OTHER $ATTR f none
	fails "the ioctl" 'EPERM|not permitted' as_other "$TOOLS/modectl" set "$MNT/f" none
	fails "the ioctl with PERSIST" 'not permitted' as_other "$TOOLS/modectl" set -p "$MNT/f" none
	unchanged "by others"
	is "$(as_other getfattr --absolute-names --only-values -n $ATTR.now "$MNT/f"), $(
		as_other "$TOOLS/modectl" show "$MNT/f")" = "writeback, writeback mount" "but they see it"
	succeeds "root sets it" set_now f none
	unset_now f
}

# 9 checks
check_others_take_back() {
	set_now f directsync
	set_stored f unsafe
	fails "others do not take the mode of now back" 'not permitted' as_other setfattr -x $ATTR.now "$MNT/f"
	fails "nor the stored one" 'not permitted' as_other setfattr -x $ATTR "$MNT/f"
	fails "nor by ioctl" 'not permitted' as_other "$TOOLS/modectl" clear "$MNT/f"
	fails "nor by ioctl with PERSIST" 'not permitted' as_other "$TOOLS/modectl" clear -p "$MNT/f"
	has f directsync runtime "nothing has changed"
	unset_now f
	has f unsafe stored "nor that"
	chown $OTHER "$MNT/f"
	fails "who gave the file away" 'not permitted|Permission' as_owner setfattr -x $ATTR "$MNT/f"
	succeeds "its new owner may" as_other setfattr -x $ATTR "$MNT/f"
	chown $OWNER "$MNT/f"
	unchanged "in the end"
}

# 10 checks
check_modes_by() {
	succeeds "remount with modes-by=root" remount modes-by=root
	fails "the owner may not: the mode of now" 'not permitted' set_as $OWNER $ATTR.now f none
	fails "a stored mode" 'not permitted' set_as $OWNER $ATTR f none
	fails "the ioctl" 'not permitted' as_owner "$TOOLS/modectl" set "$MNT/f" none
	fails "the mount's mode, by the root's owner" 'not permitted' \
		as_owner setfattr -n $ATTR.now -v unsafe "$MNT"
	unchanged "modes-by=root"
	succeeds "root may" set_now f none
	unset_now f
	succeeds "remount with modes-by=owner" remount modes-by=owner
	succeeds "the owner may again" set_as $OWNER $ATTR.now f none
	unset_now f
	unchanged "in the end"
}

# 12 checks
check_mount_mode() {
	is "$(now .)" = writeback "the root directory shows the mount's mode"
	succeeds "its owner sets it" set_as $OWNER $ATTR.now . unsafe
	is "$(now .) $(jq -r '.mode + " " + .options' "$MNT/.cachefs/status.json" | cut -d, -f1)" = \
		"unsafe unsafe cache=unsafe" "it is shown"
	has f unsafe mount "and holds"
	fails "others may not" 'not permitted' set_as $OTHER $ATTR.now . none
	fails "nor by ioctl" 'not permitted' as_other "$TOOLS/modectl" set "$MNT" none
	succeeds "the ioctl on the root directory" as_owner "$TOOLS/modectl" set "$MNT" directsync
	has f directsync mount "sets the mount's"
	fails "it has no stored one" 'not supported' modectl set -p "$MNT" none
	fails "nor by attribute" 'not supported' setfattr -n $ATTR -v none "$MNT"
	fails "it cannot be taken back" 'not supported' setfattr -x $ATTR.now "$MNT"
	succeeds "a text with a NUL" setfattr -n $ATTR.now -v 0x77726974656261636b00 "$MNT"
	set_now . writeback
}

# refused_value VALUE. 1 check
refused_value() {
	local which got=

	for which in $ATTR $ATTR.now; do
		for f in f .; do
			[ "$f:$which" != .:$ATTR ] || continue
			got+=$(setfattr -n $which -v "$1" "$MNT/$f" 2>&1 | grep -c 'Invalid argument')
		done
	done
	is "$got" = 111 "no mode: ${1:0:40}"
}

# 17 checks
check_values() {
	local value

	for value in unsfe "" , "none none" "none,unsafe" "cache.direct=yes" "cache.direct" "cache.foo=on" UNSAFE \
		"unsafe cache.writeback=off" "cache.no-flush=on,cache.writeback=off" "none;unsafe" \
		"none cache.direct=on unsafe" 0x6e6f6e650000 0x6e006e65 0x00 "$(printf 'none,%.0s' {1..300})"; do
		refused_value "$value"
	done
}

# errnos OPERATION PATH NAME: the error of the system call; symlinks are not followed
errno_of() {
	timeout 60 python3 - "$@" <<-'END'
		import errno, os, sys
		op, path, name = sys.argv[1:4]
		flags = {"create": os.XATTR_CREATE, "replace": os.XATTR_REPLACE, "set": 0}
		try:
		    if op == "get":
		        print(os.getxattr(path, name, follow_symlinks=False).decode())
		    elif op == "remove":
		        print(os.removexattr(path, name, follow_symlinks=False))
		    elif op == "list":
		        print(os.listxattr(path, follow_symlinks=False))
		    else:
		        print(os.setxattr(path, name, b"none", flags[op], follow_symlinks=False))
		except OSError as e:
		    print({95: "EOPNOTSUPP"}.get(e.errno) or errno.errorcode[e.errno])
	END
}

# What has no mode. 7 checks
check_kinds() {
	local what name want

	mkdir "$BACK/dir"
	ln -s f "$BACK/link"
	mkfifo "$BACK/fifo"
	for name in $ATTR $ATTR.now; do
		is "$(errno_of set "$MNT/dir" $name) $(errno_of get "$MNT/dir" $name) $(
			errno_of remove "$MNT/dir" $name)" = "EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP" "a directory: $name"
		for what in link fifo; do
			# user.* of what is no file or directory: VFS says EPERM, and ENODATA to readers
			want="EPERM ENODATA EPERM"
			is "$(errno_of set "$MNT/$what" $name) $(errno_of get "$MNT/$what" $name) $(
				errno_of remove "$MNT/$what" $name)" = "$want" "a $what: $name"
		done
	done
	fails "the ioctl on a directory" 'not supported' modectl set "$MNT/dir" none
}

# 11 checks
check_attributes() {
	is "$(errno_of replace "$MNT/f" $ATTR)" = ENODATA "XATTR_REPLACE where none is stored"
	is "$(errno_of create "$MNT/f" $ATTR), $(now f)" = "None, none" "XATTR_CREATE"
	is "$(errno_of create "$MNT/f" $ATTR)" = EEXIST "XATTR_CREATE a second time"
	is "$(errno_of replace "$MNT/f" $ATTR)" = None "XATTR_REPLACE"
	is "$(errno_of create "$MNT/f" $ATTR.now)" = EEXIST "XATTR_CREATE of now, which is always there"
	is "$(errno_of replace "$MNT/f" $ATTR.now)" = None "XATTR_REPLACE of now"
	setfattr -n $ATTR.now -v unsafe "$BACK/f"
	is "$(errno_of list "$MNT/f" -), $(errno_of list "$MNT" -)" = "['$ATTR'], []" "now is never listed"
	is "$(now f)" = none "what the backing has of its name is not it"
	setfattr -x $ATTR.now "$BACK/f"
	cp --preserve=xattr "$MNT/f" "$MNT/copy"
	is "$(now copy), $(modectl show "$MNT/copy")" = "none, none stored" "cp copies the stored mode"
	is "$(getfattr --absolute-names -d "$BACK/copy" | grep -c '^user')" -eq 1 "and nothing else"
	cp "$MNT/f" "$MNT/plain"
	is "$(modectl show "$MNT/plain")" = "writeback mount" "without attributes: none"
	unset_now f
	unset_stored f
}

user_unmounted() {
	as_other fusermount3 -u "$MNT" && soon not_there "$MNT"
}
not_there() { ! grep -q " $1 " /proc/self/mounts; }

# A user's mount: what the user owns, and the mount's mode whoever owns the directory. 7 checks
check_user() {
	mknod -m 666 "$WORK/fuse" c 10 229 && mount --bind "$WORK/fuse" /dev/fuse
	echo "/dev/fuse" >>"$WORK/mounts"
	install -m 755 "$MOUNT_CACHEFS" "$WORK/mount.cachefs"
	install -m 755 "$TOOLS/modectl" "$WORK/modectl"
	mkdir "$WORK/user" "$WORK/src"
	MNT=$WORK/user
	chown $OTHER "$MNT"
	chmod 777 "$WORK/src" # sticky, only the owner could set attributes (xattr_permission())
	touch "$WORK/src/roots" "$WORK/src/own"
	chmod 666 "$WORK/src/roots"
	chown $OTHER "$WORK/src/own"
	succeeds "a user mounts" as_other "$WORK/mount.cachefs" "$WORK/src" "$MNT" -o cache=unsafe
	succeeds "sets the mode of a file of its own" set_as $OTHER $ATTR.now own writethrough
	succeeds "and stores one" set_as $OTHER $ATTR own directsync
	is "$(as_other "$WORK/modectl" show "$MNT/own")" = "writethrough runtime" "it holds"
	fails "not of another's file" 'not permitted' set_as $OTHER $ATTR.now roots writethrough
	succeeds "the mount's mode is the mounter's" set_as $OTHER $ATTR.now . writeback
	succeeds "fusermount3 unmounts" user_unmounted
	umount -l /dev/fuse
}

make_fs ext4 64M
need_flush_counter
plan $((17 + 9 + 10 + 12 + 17 + 7 + 11 + 1 + 7))
MNT=$WORK/mnt
allocate "$BACK/f" 64K
chown $OWNER "$BACK/f" "$BACK"
chmod 777 "$BACK"
must_mount "$BACK" "$MNT" cache=writeback,kernel-path=never
check_owner
check_others_take_back
check_modes_by
check_mount_mode
check_values
check_kinds
check_attributes
succeeds "unmounts, the daemon ends" umount_cachefs "$MNT"
check_user
