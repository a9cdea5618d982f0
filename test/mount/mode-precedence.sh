#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Which mode a file has: runtime before stored before rule before mount, each set and taken back, and what becomes
# of each when a file is closed, forgotten, renamed, linked, unlinked, and when the mount goes. Seen from
# outside: at the flushes of the device and at the page cache of the backing.

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/modes.sh"
need_root
need_fuse
need_commands setfattr getfattr
need_tools ioclient modectl pagestat

OPTS=cache=writeback,kernel-path=never
RULES='rule=*.wt=writethrough,rule=unsafe/**=unsafe,rule=*.none=none,rule=/top/*/x=directsync,rule=*.un=unsafe'

# 13 checks
check_origins() {
	has f writeback mount "no mode of its own"
	has f.wt writethrough rule "a rule by name"
	has unsafe/deep/f unsafe rule "a rule by directory"
	has top/a/x directsync rule "a rule by path"
	succeeds "a stored mode is set" set_stored f.wt none
	has f.wt none stored "stored before rule"
	is "$(getfattr --absolute-names --only-values -n $ATTR "$BACK/f.wt")" = none "it stands at the backing file"
	succeeds "a mode of run time is set" set_now f.wt directsync
	has f.wt directsync runtime "runtime before stored"
	unset_now f.wt
	has f.wt none stored "runtime taken back"
	unset_stored f.wt
	has f.wt writethrough rule "stored taken back"
	fails "taking a stored mode back twice" 'No such attribute' unset_stored f.wt
	mv "$MNT/f.wt" "$MNT/g"
	has g writeback mount "renamed away from the rule"
}

# 7 checks
check_combinations() {
	set_now f cache.direct=on,cache.no-flush=on
	is "$(now f)" = cache.direct=on,cache.writeback=on,cache.no-flush=on "switches without a name: as they are"
	is "$(modectl show "$MNT/f"), $(acts_as f)" = "dwn runtime, d-n" "they act"
	set_now f "none cache.no-flush=off cache.writeback=off"
	has f directsync runtime "a name with switches"
	set_stored f unsafe
	has f directsync runtime "a stored mode does not take the one of run time away"
	succeeds "the ioctl with PERSIST does" modectl set -p "$MNT/f" writethrough
	has f writethrough stored "and its mode holds"
	modectl clear -p "$MNT/f" >/dev/null
	has f writeback mount "cleared with PERSIST"
}

# What programs store may have a NUL at its end. 3 checks
check_nul() {
	setfattr -n $ATTR -v 0x756e7361666500 "$MNT/f"
	has f unsafe stored "stored through the mount with a NUL"
	setfattr -n $ATTR -v 0x6e6f6e6500 "$BACK/g"
	has g none stored "stored at the backing with a NUL"
	setfattr -n $ATTR -v rubbish "$BACK/g"
	has g writeback mount "rubbish at the backing is ignored"
	setfattr -x $ATTR "$BACK/g"
	unset_stored f
}

fds() { find "/proc/$(daemon_pid "$MNT")/fd" -mindepth 1 | wc -l; }
forgotten() { [ "$(fds)" -lt $(($1 - 150)) ]; }

# 4 checks
check_life() {
	local i before

	for ((i = 0; i < 200; i++)); do : >"$BACK/many.$i"; done
	set_now f unsafe
	set_now many.7 none
	exec 9<>"$MNT/f"
	exec 9>&-
	stat "$MNT"/many.* >/dev/null
	before=$(fds)
	forget
	succeeds "the kernel forgets files" soon forgotten "$before"
	has f unsafe runtime "runtime survives that"
	is "$(now many.7) $(now many.8)" = "none writeback" "of a file that was never open too"
	set_stored g directsync
	umount_cachefs "$MNT"
	must_mount "$BACK" "$MNT" "$OPTS,$RULES"
	is "$(now f) $(now many.7), $(now g) $(acts_as g)" = "writeback writeback, directsync directsync" \
		"unmounted and mounted: runtime is gone, stored is there"
	unset_stored g
}

# 11 checks
check_links() {
	has l.un unsafe rule "one name seen of two"
	has l writeback mount "both seen: the strongest"
	has l.un writeback mount "by the other name as well"
	ln "$MNT/l" "$MNT/l.wt"
	is "$(now l) $(now l.un) $(now l.wt)" = "writethrough writethrough writethrough" "a third name by link(2)"
	rm "$MNT/l.wt"
	is "$(now l) $(now l.un)" = "writeback writeback" "and unlinked"
	exec 9<>"$MNT/l"
	ln "$MNT/l" "$MNT/l.wt"
	has l writethrough rule "an open file gets a name"
	mv "$MNT/l.wt" "$MNT/l.other"
	has l writeback mount "one of its names is renamed"
	mv "$MNT/l.other" "$MNT/l.wt"
	rm "$MNT/l.wt"
	has l writeback mount "an open file loses a name"
	ln "$BACK/l" "$BACK/l.none"
	stat "$MNT/l.none" >/dev/null
	has l none rule "the name of an open file is seen that was made behind the mount"
	: >"$MNT/over"
	mv "$MNT/over" "$MNT/l.none"
	has l writeback mount "an open file's name is replaced"
	exec 9>&-
	rm "$MNT/l" "$MNT/l.none"
	has l.un unsafe rule "one name is left"
}

write_9() {
	dd if=/dev/urandom bs=4k count=16 conv=notrunc status=none >&9
}

# sync_9: flushes of the device for one fdatasync of the description that 9 is
sync_9() {
	local before

	before=$(flushes "$LOOP")
	dd if=/dev/null conv=notrunc,fdatasync status=none >&9
	echo $(($(flushes "$LOOP") - before))
}

# An open file follows before rename(2) returns. 11 checks
check_renames() {
	exec 9<>"$MNT/unsafe/deep/f"
	write_9
	is "$(sync_9), $(dirty "$BACK/unsafe/deep/f")" = "0, 16" "unsafe by its directory: a flush is dropped"
	mv "$MNT/unsafe/deep/f" "$MNT/moved"
	is "$(now moved)" = writeback "renamed out of it while open"
	is "$(sync_9)" -ge 1 "the flush after it is honoured"
	succeeds "what was written before is flushed" written_back clean moved
	settle
	mv "$MNT/moved" "$MNT/unsafe/moved"
	write_9
	is "$(now unsafe/moved) $(sync_9)" = "unsafe 0" "renamed back: dropped again"
	mv "$MNT/unsafe" "$MNT/safe"
	is "$(now safe/moved) $(now safe/deep/g)" = "writeback writeback" "the directory is renamed"
	succeeds "what was written before is flushed" written_back clean safe/moved
	write_9
	is "$(sync_9)" -ge 1 "and flushes are honoured"
	mkdir "$MNT/unsafe"
	mv -T --exchange "$MNT/safe" "$MNT/unsafe" 2>/dev/null ||
		python3 -c 'import ctypes, sys; l = ctypes.CDLL(None, use_errno=True)
sys.exit(l.renameat2(-100, sys.argv[1].encode(), -100, sys.argv[2].encode(), 2))' "$MNT/safe" "$MNT/unsafe"
	write_9
	is "$(now unsafe/moved) $(sync_9)" = "unsafe 0" "exchanged with another directory"
	exec 9>&-
	dd if=/dev/urandom of="$MNT/unsafe/closed" bs=4k count=16 status=none
	mv "$MNT/unsafe/closed" "$MNT/closed.wt"
	timeout 60 sync -d "$MNT/closed.wt"
	is "$(dirty "$BACK/closed.wt")" -eq 0 "closed and renamed: its next flush has what was written before"
	set_now unsafe/moved directsync
	mv "$MNT/unsafe/moved" "$MNT/moved"
	has moved directsync runtime "a mode of run time goes with the file"
	unset_now moved
}

free_blocks() { stat -f -c %f "$BACK"; }
blocks_freed() { [ "$(free_blocks)" -ge "$1" ]; }

# 3 checks
check_unlink() {
	local before

	sync -f "$BACK"
	before=$(free_blocks)
	dd if=/dev/zero of="$MNT/big" bs=64k count=64 conv=fsync status=none
	set_now big unsafe
	is "$(free_blocks)" -lt $((before - 500)) "a file of 4 MiB with a mode of run time"
	rm "$MNT/big"
	succeeds "its blocks are free when it is unlinked" soon blocks_freed $((before - 8))
	: >"$MNT/big"
	is "$(now big) $(modectl show "$MNT/big")" = "writeback writeback mount" "a new file of its name has no mode of it"
}

# synced COMMAND...: how many flushes the device saw during it
synced() {
	local before

	before=$(flushes "$LOOP")
	"$@"
	echo $(($(flushes "$LOOP") - before))
}

# Names of files under writethrough are durable on a writeback mount. 8 checks
check_names() {
	settle
	is "$(synced touch "$MNT/name")" -eq 0 "a file of mode writeback is made: no flush"
	is "$(synced mv "$MNT/name" "$MNT/name2")" -eq 0 "renamed: no flush"
	is "$(synced rm "$MNT/name2")" -eq 0 "removed: no flush"
	is "$(synced touch "$MNT/name.wt")" -ge 1 "a file of mode writethrough is made: flushed"
	is "$(synced mv "$MNT/name.wt" "$MNT/name2.wt")" -ge 1 "renamed: flushed"
	is "$(synced mv "$MNT/name2.wt" "$MNT/name3")" -ge 1 "renamed away from the rule: flushed"
	is "$(synced mv "$MNT/name3" "$MNT/name.wt")" -ge 1 "renamed into the rule: flushed"
	is "$(synced rm "$MNT/name.wt")" -ge 1 "removed: flushed"
}

make_fs ext4 64M
need_flush_counter
plan 61
MNT=$WORK/mnt
mkdir -p "$BACK/unsafe/deep" "$BACK/top/a"
for f in f f.wt l unsafe/deep/f unsafe/deep/g top/a/x; do
	allocate "$BACK/$f" 64K
done
ln "$BACK/l" "$BACK/l.un"
must_mount "$BACK" "$MNT" "$OPTS,$RULES"
check_origins
check_combinations
check_nul
check_life
check_links
check_renames
check_unlink
check_names
succeeds "unmounts, the daemon ends" umount_cachefs "$MNT"
