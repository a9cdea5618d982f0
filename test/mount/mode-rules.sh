#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Rules in force: those of options before those of the file, the first match; other ones by reload (ioctl,
# SIGHUP) and by remount, with files open and closed; a bad file changes nothing, and mounts nothing.

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/modes.sh"
need_root
need_fuse
need_commands getfattr jq setpriv
need_tools ioclient modectl pagestat

remount() {
	timeout 60 "$MOUNT_CACHEFS" "$BACK" "$MNT" -o "remount,$1"
}

status_of() {
	jq -r "$1" "$MNT/.cachefs/status.json"
}

modes_now() {
	local f

	for f; do printf '%s ' "$(now "$f")"; done
}

reload() { modectl reload "$MNT"; }

# 4 checks
check_bad_at_mount() {
	local status

	printf '# first\n*.img none\n*.iso writback\n' >"$RULES"
	output=$(timeout 60 "$MOUNT_CACHEFS" "$BACK" "$MNT" -o "rules=$RULES" 2>&1 </dev/null)
	status=$?
	is $status -eq 1 "a bad file: exit status 1"
	is "$(wc -l <<<"$output")" -eq 1 "one line"
	is "$(grep -c "$RULES:3:7: .*did you mean \"writeback\"" <<<"$output")" -eq 1 "with file, line and column"
	is "$(grep -c " $MNT " /proc/self/mounts)" -eq 0 "nothing is mounted"
}

# 7 checks
check_order() {
	printf '*.img none\ndir/** unsafe\n*.img directsync\n/a.raw writethrough cache.direct=on\n** writeback\n' >"$RULES"
	must_mount "$BACK" "$MNT" "cache=unsafe,kernel-path=never,rules=$RULES,rule=dir/first.img=writethrough"
	has a.img none rule "the first match in the file"
	has dir/a.img none rule "before a later one"
	has dir/first.img writethrough rule "an option's rule stands before the file's"
	has dir/b unsafe rule "a directory's"
	has a.raw directsync rule "with a switch"
	has b writeback rule "what matches everything"
	is "$(status_of .rules)" -eq 6 "status.json: how many there are"
}

opens_are() {
	[ "$(status_of '[.files[] | "\(.path) \(.opens)"] | sort | join(", ")')" = "$1" ]
}

# Files open (9: b, 8: a.img) and closed. 16 checks
check_reload() {
	soon all_closed
	exec 9<>"$MNT/b" 8<>"$MNT/a.img"
	dd if=/dev/urandom of="$MNT/dir/b" bs=4k count=16 conv=notrunc status=none
	soon opens_are "a.img 1, b 1"
	is "$(dirty "$BACK/dir/b")" -eq 16 "a closed file of mode unsafe is dirty"
	is "$(status_of '[.files[] | "\(.path) \(.mode) \(.origin)"] | sort | join(", ")')" = \
		"a.img none rule, b writeback rule" "status.json: mode and origin of open files"
	printf '# new\n/b directsync\n' >"$RULES.new"
	mv "$RULES.new" "$RULES"
	has b writeback rule "a file that changes is not read by itself"
	succeeds "reload" reload
	is "$output" = "rules=2 switched=2 pending=0 failed=0" "it says what it did"
	is "$(status_of .rules)" -eq 2 "status.json: how many there are now"
	is "$(cached "$BACK/b")" -eq 0 "an open file that is directsync now has nothing in the page cache"
	is "$(status_of '[.files[] | "\(.path) \(.mode) \(.origin)"] | sort | join(", ")')" = \
		"a.img unsafe mount, b directsync rule" "status.json: modes and origins follow"
	has b directsync rule "an open file acts so"
	has a.img unsafe mount "and one that no rule matches"
	dd if=/dev/urandom of="$MNT/dir/b" bs=4k count=16 conv=notrunc,fsync status=none
	soon opens_are "a.img 1, b 1"
	is "$(dirty "$BACK/dir/b")" -eq 16 "the closed file is still unsafe, by the mount"
	printf 'dir/b writeback\n** unsafe\n' >"$RULES"
	succeeds "reload again" reload
	is "$(dirty "$BACK/dir/b")" -eq 0 "a closed file that is writeback now was flushed"
	has b unsafe rule "back to unsafe"
	succeeds "reload with nothing new" reload
	is "$output" = "rules=3 switched=0 pending=0 failed=0" "switches nothing"
}

# 9 checks
check_bad_reload() {
	local before

	before=$(modes_now b a.img dir/b dir/first.img)
	printf 'b none\n[ none\n' >"$RULES"
	fails "a bad file" "$RULES:2:1: .*'\\[' is not closed" reload
	is "$(modes_now b a.img dir/b dir/first.img)" = "$before" "it changes nothing"
	rm "$RULES"
	fails "no file" "$RULES\": No such file" reload
	is "$(modes_now b a.img dir/b dir/first.img) $(status_of .rules)" = "$before 3" "it changes nothing"
	mkfifo "$RULES"
	fails "a FIFO" 'no regular file' reload
	rm "$RULES"
	printf 'b none\n' >"$RULES"
	fails "users may not reload" 'EPERM|Operation not permitted' \
		setpriv --reuid 65534 --regid 65534 --clear-groups "$TOOLS/modectl" reload "$MNT"
	fails "not on a file" 'Inappropriate ioctl' modectl reload "$MNT/b"
	fails "not in a directory" 'Inappropriate ioctl' modectl reload "$MNT/dir"
	is "$(modes_now b a.img dir/b dir/first.img)" = "$before" "nothing has changed"
}

is_now() { [ "$(now "$1")" = "$2" ]; }
logged() { grep -Eq "$1" "$WORK/mnt.log"; }

# 6 checks
check_signal() {
	kill -HUP "$(daemon_pid "$MNT")"
	succeeds "SIGHUP reads the file" soon logged 'read 2 rules again'
	has b none rule "in force"
	has a.img unsafe mount "what no rule matches is the mount's"
	printf 'b nothing\n' >"$RULES"
	kill -HUP "$(daemon_pid "$MNT")"
	succeeds "a bad file: the log says so" soon logged "rules stay as they were: $RULES:1:3:"
	has b none rule "nothing has changed"
	succeeds "the daemon lives" running "$(daemon_pid "$MNT")"
}

# 9 checks
check_remount() {
	printf 'b unsafe\n' >"$RULES"
	succeeds "remount without rules" remount cache=writeback
	is "$(modes_now b a.img dir/first.img)" = "none writeback writethrough " "leaves them as they are"
	succeeds "remount with a rule" remount 'rule=*.img=writethrough'
	is "$(modes_now b a.img dir/first.img)" = "unsafe writethrough writethrough " \
		"replaces those of options, and reads the file"
	has a.img writethrough rule "in force"
	succeeds "the file goes" remount rules=/dev/null
	is "$(modes_now b a.img) $(status_of .rules)" = "writeback writethrough  1" "with what it said"
	fails "a bad rule changes nothing" 'rule.*column 3' remount 'cache=none,rule=b=nothing'
	is "$(modes_now b a.img dir/b)" = "writeback writethrough writeback " "nor the mode"
}

# 2 checks
check_stored_reload() {
	setfattr -n $ATTR -v directsync "$BACK/b"
	reload >/dev/null
	has b directsync stored "a mode stored behind the mount is seen at a reload"
	setfattr -x $ATTR "$BACK/b"
	reload >/dev/null
	has b writeback mount "and that it is gone"
}

make_fs ext4 64M
need_flush_counter
plan 54
MNT=$WORK/mnt
RULES=$WORK/rules
mkdir "$BACK/dir" "$MNT"
for f in a.img a.raw b dir/a.img dir/b dir/first.img; do
	allocate "$BACK/$f" 64K
done
check_bad_at_mount
check_order
check_reload
check_bad_reload
check_signal
check_remount
check_stored_reload
exec 9>&- 8>&-
succeeds "unmounts, the daemon ends" umount_cachefs "$MNT"
