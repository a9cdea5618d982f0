#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The command line of mount.cachefs: what is refused, with which one line and which exit status, and
# that nothing is mounted or running afterwards; standard flags; users without privilege.

# In a mount namespace of its own, so that /dev can be changed.
if [ "$(id -u)" -eq 0 ] && [ -z "$CACHEFS_TEST_NS" ]; then
	exec env CACHEFS_TEST_NS=1 unshare --mount --propagation private bash "$0"
fi
. "$(dirname "$0")/../lib/lib.sh"
need_root
need_fuse
need_commands setpriv findmnt pgrep

USER_ID=65534

nothing_left() {
	! grep -q " $MNT " /proc/self/mounts && ! pgrep -f "$WORK/mnt( |$)" >/dev/null
}

# refused STATUS PATTERN ARGUMENT...: one line like PATTERN, status STATUS, nothing left. 1 check
refused() {
	local want=$1 pattern=$2 status

	shift 2
	output=$(timeout 60 "${AS[@]}" "$PROGRAM" "$@" 2>&1 </dev/null)
	status=$?
	if [ $status -eq "$want" ] && [ "$(wc -l <<<"$output")" -eq 1 ] &&
		grep -Eq "$pattern" <<<"$output" && nothing_left; then
		ok "refused: ${*//$WORK\//}"
	else
		not_ok "refused: ${*//$WORK\//}" "status $status, wanted $want, a line like: $pattern" \
			"$output" "$(grep " $MNT " /proc/self/mounts)" "$(pgrep -af "$WORK/mnt( |$)")"
	fi
}

# 25 checks
check_usage() {
	refused 1 'SOURCE and MOUNTPOINT are missing'
	refused 1 'MOUNTPOINT is missing' "$SRC"
	refused 1 'unexpected operand "extra"' "$SRC" "$MNT" extra
	refused 1 'unknown option "-x"' "$SRC" "$MNT" -x
	refused 1 'unknown option "cach"; did you mean "cache"' "$SRC" "$MNT" -o cach=none
	refused 1 'unknown option "enigne"; did you mean "engine"' "$SRC" "$MNT" -o ro,enigne=auto
	refused 1 '"cache": "non" is not.*"none"|"non".*did you mean "none"' \
		"$SRC" "$MNT" -o cache=non
	refused 1 'needs a value' "$SRC" "$MNT" -o cache
	refused 1 'needs a value' "$SRC" "$MNT" -o cache=
	refused 1 'takes no value' "$SRC" "$MNT" -o exclusive=1
	refused 1 '"yes".*on.*off' "$SRC" "$MNT" -o cache.direct=yes
	refused 1 'contradict' "$SRC" "$MNT" -o cache.writeback=off,cache.no-flush=on
	refused 1 'contradict' "$SRC" "$MNT" -o cache=writethrough,cache.no-flush=on
	refused 1 '"foo" is not one of auto, uring, threads' "$SRC" "$MNT" -o engine=foo
	refused 1 '"5000" is not a whole number' "$SRC" "$MNT" -o threads=5000
	refused 1 '"-1" is not' "$SRC" "$MNT" -o threads=-1
	refused 1 '"-1" is not a number of seconds' "$SRC" "$MNT" -o attr-timeout=-1
	refused 1 '"nan" is not' "$SRC" "$MNT" -o entry-timeout=nan
	refused 1 '"x" is not' "$SRC" "$MNT" -o negative-timeout=x
	refused 1 '"loud" is not one of' "$SRC" "$MNT" -o log-level=loud
	refused 1 '"fsname" cannot be given' "$SRC" "$MNT" -o fsname=x
	refused 32 "$WORK/none: No such file or directory: SOURCE" "$WORK/none" "$MNT"
	refused 32 "$WORK/none: No such file or directory: MOUNTPOINT" "$SRC" "$WORK/none"
	refused 32 "$SRC/file: not a directory: SOURCE" "$SRC/file" "$MNT"
	refused 32 "$SRC/file: not a directory: MOUNTPOINT" "$SRC" "$SRC/file"
}

# no_mount TEXT ARGUMENT...: status 0, nothing mounted. 1 check
no_mount() {
	local text=$1

	shift
	output=$(timeout 60 "$PROGRAM" "$@" 2>&1 </dev/null)
	is "$?:$(nothing_left && echo none)" = 0:none "$text"
}

# 12 checks
check_success() {
	no_mount "-f is fake" "$SRC" "$MNT" -f -o cache=none
	no_mount "--help" --help
	is "$(grep -c 'cache.no-flush' <<<"$output")" -ge 1 "--help lists the options"
	no_mount "--version" --version
	is "$(grep -Ec '^cachefs [0-9]+\.[0-9]+' <<<"$output")" -eq 1 "--version prints it"
	no_mount "-s tolerates unknown options" "$SRC" "$MNT" -f -s -o bogus=1
	no_mount "others' options are ignored" "$SRC" "$MNT" -f \
		-o nofail,auto,noauto,user,_netdev,x-systemd.automount,comment=c,defaults,X-y=1

	must_mount "$SRC" "$MNT" ro,nosuid,nodev,noexec,noatime,cache=none,cache=unsafe
	is "$(findmnt -no VFS-OPTIONS "$MNT" | tr , '\n' | sort | paste -sd ,)" = \
		noatime,nodev,noexec,nosuid,ro "standard flags reach the kernel"
	fails "ro is in force" 'Read-only' touch "$MNT/new"
	succeeds "and unmounts" umount_cachefs "$MNT"

	must_mount "$SRC" "$MNT" ''
	is "$(findmnt -no VFS-OPTIONS "$MNT")" = rw,relatime "without flags, as other filesystems"
	succeeds "unmounts" umount_cachefs "$MNT"
}

USER=(setpriv --reuid $USER_ID --regid $USER_ID --clear-groups)
as_user() {
	"${USER[@]}" "$@"
}

user_unmounted() {
	as_user fusermount3 -u "$MNT" && soon nothing_left
}

# 8 checks
check_user() {
	# everybody may use this /dev/fuse, whatever the machine's own says
	mknod -m 666 "$WORK/fuse" c 10 229 && mount --bind "$WORK/fuse" /dev/fuse
	echo "/dev/fuse" >>"$WORK/mounts"
	install -m 755 "$PROGRAM" "$WORK/mount.cachefs"
	PROGRAM=$WORK/mount.cachefs
	AS=("${USER[@]}")
	chmod 777 "$SRC"
	refused 32 "$MNT.*(permission|Permission|not permitted|write access)" "$SRC" "$MNT"
	chown $USER_ID "$MNT"
	fails "what root keeps beside the files a user cannot know" "$SRC: its .cachefs belongs to another user" \
		as_user timeout 60 "$PROGRAM" "$SRC" "$MNT" -o "cache=unsafe"
	rm -rf "$SRC/.cachefs"
	succeeds "a user mounts on a directory of its own" \
		as_user timeout 60 "$PROGRAM" "$SRC" "$MNT" -o "cache=unsafe"
	succeeds "it writes and reads" as_user bash -c 'echo user >"$1/u" && grep -q user "$1/u"' - "$MNT"
	is "$(cat "$SRC/u")" = user "the backing has it"
	is "$(stat -c %u "$SRC/u")" -eq $USER_ID "owned by the user"
	is "$(as_user findmnt -no SOURCE "$MNT")" = "$SRC" "the source is shown"
	succeeds "fusermount3 unmounts, the daemon ends" user_unmounted
	chmod 700 "$SRC"
	refused 32 "$SRC: Permission denied" "$SRC" "$MNT"
	AS=(env)
	PROGRAM=$MOUNT_CACHEFS
	umount /dev/fuse
}

# 2 checks
check_device() {
	mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3
	refused 32 '/dev/fuse: No such file or directory: .*modprobe' "$SRC" "$MNT"
	mknod -m 600 /dev/fuse c 10 230
	refused 32 '/dev/fuse: No such device.*modprobe|/dev/fuse: ' "$SRC" "$MNT"
	umount /dev
}

AS=(env)
PROGRAM=$MOUNT_CACHEFS
SRC=$WORK/src
MNT=$WORK/mnt
mkdir "$SRC" "$MNT"
touch "$SRC/file"
plan $((25 + 12 + 9 + 2))
check_usage
check_success
check_user
check_device
