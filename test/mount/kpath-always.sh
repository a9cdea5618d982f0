#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# kernel-path=always: the sync attribute of the backing file is set while a writer has it open, recorded
# before, removed at the last close, and by the next mount where the daemon died in between. An
# administrator's own attribute stays, and nobody sees or touches the record through the mount.

. "$(dirname "$0")/../lib/lib.sh"
need_root
need_fuse
need_commands lsattr chattr
need_tools ioclient
case ${CACHEFS_TEST_OPTS-} in
*kernel-path* | *mask-caps*) skip_all "sets kernel-path itself" ;;
esac

# has_attr FILE: succeeds where it has the sync attribute
has_attr() { [[ $(lsattr "$1" | cut -d' ' -f1) == *S* ]]; }
lacks_attr() { ! has_attr "$1"; }
records() { find "$BACK/.cachefs/sync-attr" -type f | wc -l; }

no_records() { [ "$(records)" -eq 0 ]; }

make_fs ext4 64M
need_flush_counter
plan 21
MNT=$WORK/mnt
OPTS=cache=writethrough,kernel-path=always
allocate "$BACK/f" 1M
allocate "$BACK/own" 1M
chattr +S "$BACK/own"

must_mount "$BACK" "$MNT" $OPTS
exec 8<"$MNT/f"
succeeds "a reader sets nothing" lacks_attr "$BACK/f"
exec 9<>"$MNT/f"
succeeds "a writer sets it" has_attr "$BACK/f"
is "$(records)" -eq 1 "it is recorded"
before=$(flushes "$LOOP")
succeeds "16 writes" "$TOOLS/ioclient" -m plain -b 4k -s 64k "$MNT/f"
is $(($(flushes "$LOOP") - before)) -ge 16 "each of them flushed the device"
is "$(dirty "$BACK/f")" -eq 0 "nothing is dirty"
exec 9>&- 8<&- # answered before its consequences are over
succeeds "the last close removes it" soon lacks_attr "$BACK/f"
succeeds "and the record" soon no_records
exec 9<>"$MNT/own"
is "$(records)" -eq 0 "a file that had it before is not recorded"
exec 9>&-
soon is_closed own
succeeds "and keeps it" has_attr "$BACK/own"
is "$(ls "$MNT/.cachefs" | xargs)" = "metrics status.json" "the record cannot be seen"
is "$(find "$MNT" -name .cachefs | wc -l)" -eq 0 "nor is it listed"
fails "nor made" "not permitted" mkdir "$MNT/.cachefs/sync-attr"
mkdir "$WORK/second"
fails "a second mount that needs it is refused" "another mount of it owns the sync attributes" \
	"$MOUNT_CACHEFS" "$BACK" "$WORK/second" -o $OPTS
exec 9<>"$MNT/f"
succeeds "set again" has_attr "$BACK/f"
pid=$(daemon_pid "$MNT")
kill_all "$pid"
wait_end "$pid" 60
exec 9>&-
umount "$MNT"
sed -i "/^$pid /d" "$WORK/daemons"
succeeds "a killed daemon leaves it" has_attr "$BACK/f"
is "$(records)" -eq 1 "and the record"

must_mount "$BACK" "$MNT" cache=writeback
succeeds "the next mount removes it" lacks_attr "$BACK/f"
is "$(records)" -eq 0 "and the record"
succeeds "says so" grep -q "removed the sync attribute of 1 file" "$WORK/mnt.log"
succeeds "unmounts, the daemon ends" umount_cachefs "$MNT"
