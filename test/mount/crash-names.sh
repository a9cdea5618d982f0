#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The crash marker and names: where a rule drops flushes the marker has the rule's pattern, and a file with unflushed
# data that gets a name outside of it, has another one, or lies in a directory that does, is refused after the crash
# under that name all the same. So is what was harmed before, when its names change. Files that have nothing
# unflushed are not concerned, and their names change without a write of the marker.

. "$(dirname "$0")/../lib/lib.sh"
LAST_CLOSE=
. "$(dirname "$0")/../lib/crash.sh"
. "$top_srcdir/test/lib/disk-fs.sh"
need_root
need_fuse
need_tools fsops modectl pagestat
need_disk

FAILS='Structure needs cleaning'
RULE='cache=writeback,rule=*.tmp=unsafe,rule=/in/**=unsafe'

can_open() { timeout 60 head -c 1 "$MNT/$1" >/dev/null; }
refused() { fails "$2" "$FAILS" can_open "$1"; }
opens() { succeeds "$2" can_open "$1"; }
lines() { grep -cE "^$1" "$BACK/$MARKER"; }

exchange() { "$TOOLS/fsops" "$MNT" <<<"rename $1 $2 exchange" | grep -q ok || diag "$1 and $2 were not exchanged"; }

# dirty_file FILE: written, and open on 8, under MNT.
dirty_file() {
	exec 8<>"$MNT/$1"
	head -c 64k /dev/urandom >&8
}

# hold: the marker does not go, however long the test takes. (A file that is renamed out of its pattern is flushed.)
hold() {
	exec 6<>"$MNT/hold.tmp"
	head -c 4k /dev/urandom >&6
}

# crash: the daemon is killed, and the marker is that of another boot. Then it is mounted again.
crash() {
	kill_cachefs "$MNT"
	exec 8>&- 7>&- 6>&-
	another_boot "$BACK" || bail_out "no marker"
	must_mount "$BACK" "$MNT" "${1:-$RULE}"
}

# again: what nobody has opened since the mount is known by its handle or its name alone.
again() {
	umount_cachefs "$MNT"
	must_mount "$BACK" "$MNT" "$RULE"
}

fresh() {
	[ ! -e "$MNT/.cachefs/metrics" ] || umount_cachefs "$MNT"
	rm -rf "${BACK:?}"/* "$BACK/.cachefs"
	mkdir "$BACK/in" "$BACK/in/deep" "$BACK/out"
	for f in clean other in/clean in/deep/f; do head -c 64k /dev/urandom >"$BACK/$f"; done
	sync -f "$BACK"
	must_mount "$BACK" "$MNT" "${1:-$RULE}"
}

# 7 checks
check_rename() {
	fresh
	hold
	dirty_file a.tmp
	mv "$MNT/a.tmp" "$MNT/a"
	dirty_file b.tmp
	exchange b.tmp other
	dirty_file c.tmp
	mv "$MNT/c.tmp" "$MNT/out/c"
	exec 8>&- # it may be flushed by now; the marker stays for some seconds
	dirty_file d.tmp
	ln "$MNT/d.tmp" "$MNT/d"
	dirty_file in/e
	mv "$MNT/in/e" "$MNT/in/deep/e"
	is "$(lines file),$(lines pattern)" = 4,2 "renamed: those outside of the patterns are named one by one"
	crash
	refused a "renamed: refused"
	refused other "renamed: exchanged"
	refused out/c "renamed: to another directory"
	refused d "renamed: a new link"
	refused in/deep/e "renamed: inside of its pattern"
	opens clean "renamed: another file is not"
}

# 3 checks
check_closed() {
	local i

	fresh "$RULE,on-close=none"
	hold
	for i in 1 2 3; do
		head -c 64k /dev/urandom >"$MNT/$i.tmp"
		mv "$MNT/$i.tmp" "$MNT/$i"
	done
	mv "$MNT/clean" "$MNT/out/clean"
	is "$(lines file)" = 3 "closed, not flushed: named, but not what was never written"
	crash
	refused 2 "closed, not flushed: refused"
	opens out/clean "closed, not flushed: the other is not"
}

# 2 checks
check_links() {
	fresh
	hold
	ln "$BACK/clean" "$BACK/link.tmp"
	ln "$BACK/other" "$BACK/other.tmp"
	dirty_file link.tmp
	can_open other.tmp
	crash
	refused clean "a link that nobody has looked up: refused"
	opens other "a link that nobody has looked up: not that of a file that was not written"
}

# 6 checks
check_directories() {
	fresh
	hold
	dirty_file in/deep/f
	mv "$MNT/in/deep" "$MNT/out/*deep"
	is "$(lines 'pattern "out/\\\\\*deep/\*\*"')" = 1 "directory: what is below it is named by one pattern"
	mkdir "$MNT/in/two" "$MNT/far"
	exec 7<>"$MNT/in/two/g"
	head -c 64k /dev/urandom >&7
	exchange in/two far
	crash
	refused 'out/*deep/f' "directory: refused below its new name"
	refused far/g "directory: exchanged"
	opens clean "directory: other files are not"
	fresh
	hold
	dirty_file in/deep/f
	mkdir "$MNT/in/empty"
	mv "$MNT/in/empty" "$MNT/out/empty"
	mv "$MNT/in/deep" "$MNT/in/deeper"
	is "$(lines pattern)" = 2 "directory: nothing is said of one without such a file, or inside of the pattern"
	mv "$MNT/in" "$MNT/in2"
	crash
	refused in2/deeper/f "directory: two above it"
}

# 5 checks
check_cheap() {
	local before

	fresh
	dirty_file x.tmp
	before=$(disk_loop_flushes)
	for f in clean other in/clean in/deep/f; do
		mv "$MNT/$f" "$MNT/out"
	done
	mv "$MNT/out/clean" "$MNT/clean.tmp"
	ln "$MNT/out/other" "$MNT/other2"
	rm "$MNT/out/other"
	is "$(($(disk_loop_flushes) - before))" -eq 0 "cheap: names of clean files"
	exec 8>&-
	umount_cachefs "$MNT"
	must_mount "$BACK" "$MNT" "$RULE,on-close=none"
	hold
	before=$(disk_loop_flushes)
	for ((i = 0; i < 500; i++)); do
		: >"$MNT/$i.tmp"
		mv "$MNT/$i.tmp" "$MNT/out/$i"
	done
	# each write of the marker is two or three
	between "$(($(disk_loop_flushes) - before))" 3 200 "cheap: 500 files from inside to outside"
	between "$(lines file)" 2 100 "cheap: many are named by their directory"
	before=$(disk_loop_flushes)
	for ((i = 0; i < 500; i++)); do
		: >"$MNT/in/$i.tmp"
		mv "$MNT/in/$i.tmp" "$MNT/in/$i"
	done
	between "$(($(disk_loop_flushes) - before))" 0 6 "cheap: and within a pattern"
	crash
	refused out/499 "cheap: refused"
}

# 13 checks
check_tainted() {
	fresh
	ln "$BACK/in/clean" "$BACK/in/twice"
	ln "$BACK/other" "$BACK/in/other"
	dirty_file in/deep/f
	crash cache=writeback
	again
	new_log
	mv "$MNT/in/clean" "$MNT/clean2"
	ln "$MNT/in/deep/f" "$MNT/f-link"
	rm "$MNT/in/other"
	exchange in/twice clean
	is "$(lines error)" = 0 "harmed: a rename is no error"
	refused clean2 "harmed: renamed"
	refused f-link "harmed: a new link"
	again
	refused clean2 "harmed: renamed, after another mount"
	refused f-link "harmed: a new link, after another mount"
	refused clean "harmed: exchanged, after another mount"
	refused other "harmed: a name that is left, after another mount"
	is "$(logged 'I/O error' && echo said)" = "" "harmed: the log speaks of no I/O error"
	mkdir "$MNT/out/sub" "$MNT/out/plain"
	mv "$MNT/in/deep" "$MNT/out/sub/deep"
	again
	refused out/sub/deep/f "harmed: in a directory that was renamed"
	# the names of unknown directories may be anything: that is in doubt, this one is not
	before=$(lines pattern)
	mv "$MNT/out/plain" "$MNT/out/plain2"
	is "$(lines pattern)" = "$before" "harmed: nothing is said of other directories"
	succeeds "harmed: trusted" modectl trust "$MNT" clean2
	opens clean2 "harmed: trusted, it opens"
	modectl trust "$MNT" && umount_cachefs "$MNT"
	succeeds "harmed: nothing is left of the marker" no_marker
}

# 3 checks
check_without_handles() {
	fresh "$RULE,mask-caps=file-handles"
	hold
	dirty_file a.tmp
	mv "$MNT/a.tmp" "$MNT/a"
	modectl set -k "$MNT/other" unsafe >/dev/null
	exec 7<>"$MNT/other"
	head -c 4k /dev/urandom >&7
	mv "$MNT/other" "$MNT/more"
	mv "$MNT/more" "$MNT/most"
	crash "$RULE,mask-caps=file-handles"
	refused a "no file handles: known by its new name"
	refused most "no file handles: one with a mode of its own, too"
	opens clean "no file handles: others are not"
}

plan $((7 + 3 + 2 + 6 + 5 + 13 + 3 + 1))
new_disk
check_rename
check_closed
check_links
check_directories
check_cheap
check_tainted
check_without_handles
succeeds "unmounts, the daemon ends" umount_cachefs "$MNT"
