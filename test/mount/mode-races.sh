#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Modes against what happens at the same time: opens and closes beside switches, the end of the daemon while one is
# pending, files without a name.

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/modes.sh"
need_root
need_fuse
need_commands getfattr python3 setfattr
need_tools modectl moderace pagestat

seconds=$([ "${CACHEFS_LONG:-0}" = 1 ] && echo 30 || echo 3)

# Files that the daemon has open and that no name leads to.
deleted() {
	find "/proc/$1/fd" -lname "*(deleted)" ! -lname "/memfd:*" 2>/dev/null | wc -l
}

none_deleted() { [ "$(deleted "$1")" -eq 0 ]; }

# Sets the mode of 40 files that have lost their name, or never had one.
nameless() {
	timeout 60 python3 - "$MNT" <<-'END'
		import os, sys

		for i in range(40):
		    if i % 2:
		        fd = os.open(sys.argv[1], os.O_TMPFILE | os.O_RDWR, 0o600)
		    else:
		        fd = os.open(sys.argv[1] + "/gone", os.O_CREAT | os.O_RDWR)
		        os.unlink(sys.argv[1] + "/gone")
		    os.setxattr(fd, "user.cachefs.cache.now", b"unsafe")
		    os.close(fd)
	END
}

# Prints the modes of a file of O_TMPFILE: without a name, with its first one, the one set with it.
first_name() {
	timeout 60 python3 - "$MNT" <<-'END'
		import os, sys

		now = "user.cachefs.cache.now"
		fd = os.open(sys.argv[1], os.O_TMPFILE | os.O_RDWR, 0o600)
		print(os.getxattr(fd, now).decode())
		# with a directory's descriptor it is linkat(2), and so follows the link
		os.link("/proc/self/fd/%d" % fd, sys.argv[1] + "/linked.wt", src_dir_fd=os.open("/", os.O_RDONLY))
		print(os.getxattr(fd, now).decode())
		os.setxattr(fd, now, b"unsafe")
	END
}

# 3 checks
check_races() {
	must_mount "$BACK" "$MNT" "cache=writeback,kernel-path=$1"
	succeeds "$1: opens beside switches: the mode that was set holds for all of them" \
		timeout 120 "$TOOLS/moderace" "$seconds" "$MNT/f"
	diag "$output"
	is "$(now f)" = writeback "$1: and is what was set last"
	succeeds "$1: unmounts, the daemon ends" umount_cachefs "$MNT"
}

# A mode waits for a handle, which the daemon closes itself: it has nobody left to do the rest.
end_while_pending() {
	local pid

	pid=$(daemon_pid "$MNT")
	exec 8<>"$MNT/f"
	modectl set -k "$MNT/f" none || return 1
	kill -TERM "$pid"
	wait_end "$pid" 60 || return 1
	exec 8>&-
	sed -i "/^$pid /d" "$WORK/daemons"
	wait "$pid" || { echo "the daemon ended with status $?"; return 1; }
}

# shellcheck disable=SC2053 # the second is a pattern
test_like() { [[ $1 == $2 ]]; }

# Data of a mode that a rename has ended, in a file that is closed: who sets the mode that it has now
# is promised that all is on stable storage. 3 checks
check_renamed() {
	must_mount "$BACK" "$MNT" "cache=writeback,kernel-path=never,rule=*.raw=unsafe"
	dd if=/dev/zero of="$MNT/x.raw" bs=1M count=4 conv=fsync status=none
	soon is_closed x.raw
	mv "$MNT/x.raw" "$MNT/x.img"
	is "$(now x.img), $(($(dirty "$BACK/x.img") > 0))" = "writeback, 1" "a rename flushes no closed file"
	set_now x.img writeback
	is "$(dirty "$BACK/x.img")" = 0 "to set the mode that it has does"
	succeeds "unmounts, the daemon ends" umount_cachefs "$MNT"
}

make_fs ext4 64M
plan $((3 * 3 + 3 + 8))
MNT=$WORK/mnt
dd if=/dev/zero of="$BACK/f" bs=1M count=1 status=none
for path in auto always never; do
	check_races $path
done

check_renamed

must_mount "$BACK" "$MNT" "cache=writeback,kernel-path=auto,rule=*.wt=writethrough"
succeeds "modes of 40 files without a name" nameless
succeeds "are forgotten with them: none is kept" soon none_deleted "$(daemon_pid "$MNT")"
is "$(first_name)" = "writeback
writethrough" "a file that is open and gets its first name has the mode of its rule"
forget
is "$(now linked.wt)" = unsafe "one that was set then stays with the name"
rm "$MNT/linked.wt"
succeeds "and goes with it" soon none_deleted "$(daemon_pid "$MNT")"
succeeds "SIGTERM while a mode waits for a handle: an orderly end" end_while_pending
like="* pending none runtime"
! grep -q 'kernel path: not used' "$WORK/mnt.log" || like="none runtime" # every handle follows
succeeds "it did wait, where there is a kernel path" test_like "$output" "$like"
is "$(mountpoint -q "$MNT" && echo mounted)" = "" "and the mount is gone"
