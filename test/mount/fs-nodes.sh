#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the kernel knows and forgets costs neither memory nor descriptors for good. CACHEFS_LONG=1: a
# million files.

. "$(dirname "$0")/../lib/lib.sh"
LAST_CLOSE=
need_root
need_fuse
need_commands setpriv
need_tools dirwalk

# A sanitizer keeps what was freed for a while, and its allocator more than that: a leak of all nodes
# would be 50 MiB and more.
KEPT=8192
if grep -aq __asan_init "$MOUNT_CACHEFS"; then
	export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}quarantine_size_mb=1:allocator_release_to_os_interval_ms=10
	KEPT=32768
fi
DIRS=20
PER_DIR=5000
[ "${CACHEFS_LONG:-0}" != 1 ] || PER_DIR=50000
LINKS=600

# Kibibytes of memory, and descriptors, of the daemon. Buffers for requests are locked, and come with the first
# requests at a time.
rss() {
	awk '/^VmRSS/ { rss = $2 } /^VmLck/ { locked = $2 } END { print rss - locked }' "/proc/$(server_pid "$MNT")/status"
}

descriptors() {
	find "/proc/$(daemon_pid "$MNT")/fd" -type l | wc -l
}

# The kernel drops all names of the mount, at a remount of its own flags; drop_caches would be for other tests, too.
forget() {
	mount --internal-only -o remount,bind,rw "$MNT" 2>/dev/null
	mount --internal-only -o remount,rw "$MNT"
}

# settled FUNCTION LIMIT: its value once at most LIMIT, or at last.
settled() {
	soon at_most "$@"
	"$1"
}

at_most() {
	[ "$("$1")" -le "$2" ] || { forget; return 1; }
}

look_at_all() {
	local i

	for ((i = 0; i < DIRS; i++)); do
		"$TOOLS/dirwalk" stat "$MNT/many/$i" || return 1
	done
}

# A daemon that may have only 512 descriptors, and cannot raise that.
limited() {
	{
		echo '#!/bin/sh'
		echo "exec prlimit --nofile=512 setpriv --bounding-set -sys_resource \\"
		echo "	--inh-caps -sys_resource $DAEMON \"\$@\""
	} >"$WORK/limited"
	chmod +x "$WORK/limited"
	MOUNT_CACHEFS=$WORK/limited
}

# check TEXT OPTIONS BOUND: a mount whose daemon never has more than BOUND descriptors.
check() {
	local text=$1 first base fds

	must_mount "$BACK" "$MNT" "$2"
	# the first round makes what stays: tables, stacks, the allocator's arenas
	succeeds "$text: a round to begin with" "$TOOLS/dirwalk" stat "$MNT/many/0"
	forget
	sleep 0.3
	base=$(rss)
	first=$(descriptors)
	succeeds "$text: $((DIRS * PER_DIR)) files looked up" look_at_all
	diag "memory $base KiB before, $(rss) KiB with all known, descriptors $(descriptors)"
	is "$(descriptors)" -le "$3" "$text: descriptors with all known"
	is "$(settled rss $((base + KEPT)))" -le $((base + KEPT)) "$text: memory after forgetting"
	fds=$(settled descriptors $((first + 60)))
	is "$fds" -le $((first + 60)) "$text: descriptors after forgetting"
	diag "after forgetting $(rss) KiB, descriptors $fds"
}

# find_again TEXT BOUND COUNT: files are found again by other names than they were looked up with, after their descriptors
# had to be closed for others.
find_again() {
	local text=$1 count=$3 i all

	all=$(seq 0 $((count - 1)) | md5sum)
	mkdir -p "$MNT/old/sub"
	"$TOOLS/dirwalk" fill "$MNT/old/sub" f "$count"
	for ((i = 0; i < count; i++)); do
		echo "$i" >"$MNT/old/sub/$(printf 'f%08d' $i)"
	done
	mkdir "$MNT/links"
	(cd "$MNT/old/sub" && cp -l -- * "$MNT/links/")
	exec 8<"$MNT/old/sub/f00000007"
	"$TOOLS/dirwalk" stat "$MNT/many/1" >/dev/null
	mv "$MNT/old" "$MNT/new"
	"$TOOLS/dirwalk" stat "$MNT/many/2" >/dev/null
	is "$(cat "$MNT"/new/sub/f* | md5sum)" = "$all" "$text: files below a renamed directory"
	mkdir "$MNT/elsewhere" && mv "$MNT/new/sub" "$MNT/elsewhere/sub2"
	is "$(cat "$MNT"/elsewhere/sub2/f* | md5sum)" = "$all" "$text: files below a moved directory"
	mv "$MNT/elsewhere/sub2/f00000003" "$MNT/third"
	"$TOOLS/dirwalk" stat "$MNT/many/3" >/dev/null
	is "$(cat "$MNT/third")" = 3 "$text: a renamed file"
	is "$(cat <&8)" = 7 "$text: a file open all the time"
	succeeds "$text: one name of each file removed" \
		rm -r "$MNT/elsewhere" "$MNT/third"
	is "$(cat "$MNT"/links/f* | md5sum)" = "$all" "$text: files by their other names"
	is "$(stat -c %h "$MNT"/links/f* | sort -u)" = 1 "$text: one link is left"
	exec 8<&-
	"$TOOLS/dirwalk" stat "$MNT/many/4" >/dev/null
	is "$(descriptors)" -le "$2" "$text: descriptors after that"
	rm -r "$MNT/links" "$MNT/new"
	succeeds "$text: unmounts, the daemon ends" umount_cachefs "$MNT"
}

# Directories emptied or not, and renames over others, leave nothing open.
leftovers() {
	local i

	must_mount "$BACK" "$MNT"
	mkdir "$MNT/tree" && (cd "$MNT/tree" && eval "mkdir -p {1..$LINKS}/x")
	forget
	sleep 0.3
	base=$(descriptors)
	(cd "$MNT/tree" && rmdir -- * 2>/dev/null)
	(cd "$MNT/tree" && find . -mindepth 2 -delete && find . -mindepth 1 -delete)
	for ((i = 0; i < LINKS; i++)); do
		echo "$i" >"$MNT/tree/new" && mv "$MNT/tree/new" "$MNT/tree/name"
	done
	is "$(settled descriptors $((base + 60)))" -le $((base + 60)) \
		"descriptors after removing and replacing"
	succeeds "unmounts, the daemon ends" umount_cachefs "$MNT"
}

plan 44
MNT=$WORK/mnt
BACK=$WORK/back
DAEMON=$MOUNT_CACHEFS
mkdir -p "$BACK/many"
for ((d = 0; d < DIRS; d++)); do
	mkdir "$BACK/many/$d"
	"$TOOLS/dirwalk" fill "$BACK/many/$d" file $PER_DIR || bail_out "cannot fill $BACK"
done
check "plenty of descriptors" "" 40000
find_again "plenty of descriptors" 40000 $LINKS
leftovers
limited
check "512 descriptors" "" 500
find_again "512 descriptors" 500 $LINKS
check "512 descriptors, no file handles" "mask-caps=file-handles" 500
# a file that lost the name it was last seen by keeps its descriptor
find_again "512 descriptors, no file handles" 500 150
