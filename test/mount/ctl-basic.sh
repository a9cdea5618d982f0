#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# cachefsctl as a command: usage, exit codes, one line of error each, paths that are not on a mount,
# paths with any bytes.

. "$(dirname "$0")/../lib/lib.sh"
need_root
need_fuse
CTL=$top_builddir/cachefsctl
[ -x "$CTL" ] || bail_out "$CTL: not built; run make"

# code WANT TEXT PATTERN COMMAND...: the exit status, nothing on standard output where it is not 0, and one
# line of error, which matches. 1 check
code() {
	local want=$1 text=$2 pattern=$3 status

	shift 3
	timeout 60 "$@" >"$WORK/out" 2>"$WORK/err" </dev/null && status=0 || status=$?
	if [ $status -eq "$want" ] && [ "$(wc -l <"$WORK/err")" -eq $((want != 0)) ] &&
		{ [ -z "$pattern" ] || grep -Eq -e "$pattern" "$WORK/err" "$WORK/out"; } &&
		{ [ "$want" -eq 0 ] || [ ! -s "$WORK/out" ]; }; then
		ok "$text"
	else
		not_ok "$text" "status $status, wanted $want and: $pattern" "$(cat "$WORK/err" "$WORK/out")"
	fi
}

# 15 checks
check_usage() {
	code 0 "--help" 'handoff .*flush, drop' "$CTL" --help
	code 0 "--version" '^cachefsctl [0-9]' "$CTL" --version
	code 0 "VERB --help" '^usage: cachefsctl mode PATH \[MODE\]' "$CTL" mode --help
	code 1 "an unknown verb" 'stauts: no such verb: is "status" meant' "$CTL" stauts
	code 1 "a verb that is like no other" 'xyzzy: no such verb: see' "$CTL" xyzzy
	code 1 "an unknown option" '--jsn: no such option: see cachefsctl status --help' "$CTL" status --jsn
	code 1 "a missing word" 'PATH... is missing' "$CTL" flush
	code 1 "too many words" '"b" is too much' "$CTL" reload a b
	code 1 "an unknown mode" 'writebak: no such mode: is "writeback" meant' "$CTL" mode "$MNT" writebak
	code 1 "an unknown switch" 'no such mode: give .* behind it' "$CTL" mode "$MNT" none,cache.derict=on
	code 1 "a contradiction" 'no such mode: give .* contradicts itself' "$CTL" mode "$MNT" writethrough,cache.no-flush=on
	code 1 "a mode and --clear" '--clear takes a setting back' "$CTL" mode "$MNT" none --clear
	code 1 "--persist without a mode" 'MODE or --clear is missing' "$CTL" mode "$MNT" --persist
	code 0 "explain" '^directsync +bypassed' "$CTL" explain
	code 1 "explain of an unknown mode" 'is "unsafe" meant' "$CTL" explain unsave
}

# 5 checks
check_explain() {
	local mode

	for mode in $MODES; do
		code 0 "explain $mode" "^ +libvirt +<driver name='qemu' cache='" "$CTL" explain "$mode"
	done
}

# Nothing here is on a mount; nothing may be opened that acts on it. 8 * 2 + 3 checks
check_elsewhere() {
	local verb

	mkfifo "$WORK/fifo"
	for verb in status mode flush handoff top doctor reload; do
		set --
		[ $verb != top ] || set -- -b
		code 2 "$verb of what is not there" 'nonesuch: .*No such file' "$CTL" $verb "$@" "$WORK/nonesuch"
		code 2 "$verb of what is on another filesystem" \
			'not on a cachefs mount: give a path on one' "$CTL" $verb "$@" "$WORK"
	done
	code 2 "a pipe is not opened" 'neither a regular file nor a directory' "$CTL" flush "$WORK/fifo"
	code 2 "/dev/null is not opened" 'neither a regular file nor a directory' "$CTL" flush /dev/null
	ln -s /etc/passwd "$BACK/link"
	code 2 "a link on the mount that leads off it" \
		'link: a symbolic link to /etc/passwd, which is not on a cachefs mount' "$CTL" flush "$MNT/link"
	code 2 "of several paths the worst counts, the others are done" 'nonesuch' \
		"$CTL" flush "$MNT/file" "$WORK/nonesuch" "$MNT"
	code 0 "a path below the current directory" '' env -C "$MNT/dir" "$CTL" flush ../file inner .././
}

# 4 checks
check_names() {
	local name

	name=$(printf 'new\nline \033[31m\377 \\')
	echo data >"$MNT/$name"
	code 0 "any bytes: flush" '' "$CTL" flush "$MNT/$name"
	code 0 "any bytes: shown as text" 'new\\x0aline \\x1b\[31m\\xff \\\\' "$CTL" status "$MNT/$name"
	code 0 "any bytes: as JSON" 'new\\nline \\u001[bB]\[31m\\\\xff \\\\' "$CTL" status --json "$MNT/$name"
	code 2 "any bytes: one line of error" 'new\\x0aline' "$CTL" flush "$MNT/$name/x"
}

# hide MNT: for a mount namespace without mounts of cachefs but this, also of tests beside this one.
hide() {
	echo 'awk "\$9 == \"fuse.cachefs\" || \$8 == \"fuse.cachefs\" { print \$5 }" /proc/self/mountinfo |
		while read -r m; do [ "$m" = "'"$1"'" ] || umount --internal-only -l "$m"; done'
}

# 3 checks
check_none() {
	local hide

	hide=$(hide "")
	code 0 "status without mounts" '^no cachefs mounts$' \
		unshare --mount --propagation private bash -c "$hide; \"$CTL\" status"
	code 0 "the same as JSON" '"mounts": \[\]' \
		unshare --mount --propagation private bash -c "$hide; \"$CTL\" status --json"
	code 2 "top without mounts" 'no cachefs mounts: mount one' \
		unshare --mount --propagation private bash -c "$hide; \"$CTL\" top -b"
}

plan $((15 + 5 + 14 + 5 + 4 + 3 + 3))
BACK=$WORK/back
MNT=$WORK/mnt
mkdir -p "$BACK/dir/inner"
must_mount "$BACK" "$MNT" cache=unsafe
echo data >"$MNT/file"
check_usage
check_explain
rmdir "$BACK/dir/inner"
echo data >"$MNT/dir/inner"
check_elsewhere
check_names
check_none
code 0 "status shows the mount" "^$MNT +$BACK +cache=unsafe" \
	unshare --mount --propagation private bash -c "$(hide "$MNT"); \"$CTL\" status"
code 2 "a directory has nothing to flush" 'not the root of its mount: give the mount point' \
	"$CTL" flush "$MNT/dir"
succeeds "unmounts, the daemon ends" umount_cachefs "$MNT"
