# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Tests of a mode per file. Source lib.sh first; FILE is relative to the mount's root.

ATTR=user.cachefs.cache

# Into which modes an open file can follow depends on the kernel path: these tests choose it.
case ${CACHEFS_TEST_OPTS-} in
*kernel-path*) skip_all "sets kernel-path itself" ;;
esac

# now FILE: the mode that the mount says it has.
now() {
	getfattr --absolute-names --only-values -n $ATTR.now "$MNT/$1" 2>&1
}

set_now() {
	timeout 60 setfattr -n $ATTR.now -v "$2" "$MNT/$1"
}

unset_now() {
	timeout 60 setfattr -x $ATTR.now "$MNT/$1"
}

set_stored() {
	timeout 60 setfattr -n $ATTR -v "$2" "$MNT/$1"
}

unset_stored() {
	timeout 60 setfattr -x $ATTR "$MNT/$1"
}

modectl() {
	timeout 60 "$TOOLS/modectl" "$@"
}

# acts_as FILE: the mode that a client meets, by what the device and the page cache of the backing
# saw of N writes with an fdatasync each: 0, N or 2 N flushes. FILE is there, of 64 KiB at least.
acts_once() {
	local before after pages sync

	: >>"$MNT/$1" || return 1 # under unsafe the first open for writing writes the crash marker
	before=$(flushes "$LOOP")
	timeout 60 "$TOOLS/ioclient" -m plain -b 4k -s 16k -e 1 -F fdatasync "$MNT/$1" >/dev/null || return 1
	after=$(flushes "$LOOP")
	pages=$(cached "$BACK/$1")
	sync=$((after - before))
	case $sync:$((pages > 0)) in
	0:1) echo unsafe ;;
	4:1) echo writeback ;;
	8:1) echo writethrough ;;
	0:0) echo "d-n" ;;
	4:0) echo none ;;
	8:0) echo directsync ;;
	*) echo "nothing known: $sync flushes for 4, $pages pages cached" ;;
	esac
}

# The same, when a flush in the background (of a switch, a close, a journal) has fallen into the count.
acts_as() {
	again acts_once "$1"
}

again() {
	local mode i

	for i in 1 2 3 4; do
		mode=$("$@") || return 1
		[[ $mode == nothing* ]] || break
		sleep 0.2
	done
	echo "$mode"
}

# has FILE MODE ORIGIN TEXT: by attribute, ioctl and deed. 1 check
has() {
	is "$(now "$1"), $(modectl show "$MNT/$1"), $(acts_as "$1")" = "$2, $2 $3, $2" "$4: $2 ($3)"
}

clean() { [ "$(dirty "$BACK/$1")" -eq 0 ]; }

# forget: makes the kernel drop all names of the mount, and so forget what nobody has open: that is what
# a remount of the kernel's flags does.
forget() {
	mount --internal-only -o remount,bind,rw "$MNT" 2>/dev/null
	mount --internal-only -o remount,rw "$MNT"
}
