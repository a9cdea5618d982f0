#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Slow storage is no hang: a worker whose requests wait for a disk that stands still, also where no thread waits
# for it (writers held up by dirty-max), is left alone; and an upgrade does not begin then.

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/disk-fs.sh"
. "$(dirname "$0")/../lib/recover.sh"
need_root
need_fuse
need_disk

plan 9
new_disk
must_mount "$BACK" "$MNT" cache=writeback,kernel-path=never,dirty-max=2M,hang-timeout=3
need_recover "$MNT"
fallocate -l 16M "$MNT/held"
echo synced >"$MNT/synced"
sync -f "$BACK"
worker=$(worker_pid "$MNT")
disk_freeze
dd if=/dev/zero of="$MNT/held" bs=64k count=256 conv=notrunc status=none &
held=$!
dd if=/dev/zero of="$MNT/synced" bs=4k count=1 conv=notrunc,fsync status=none &
synced=$!
sleep 10 # three times as long as a hang would be
is "$(worker_pid "$MNT")" = "$worker" "nothing is killed while the disk stands still"
succeeds "both still wait" eval 'running $held && running $synced'
is "$(timeout 60 "$top_builddir/cachefsctl" upgrade "$MNT" 2>&1 | grep -c 'waits for storage')" -eq 1 \
	"an upgrade is refused"
is "$(worker_pid "$MNT")" = "$worker" "and nothing happened"
disk_thaw
wait $held
is $? -eq 0 "the writer goes on"
wait $synced
is $? -eq 0 "and so does the flush"
is "$(status_field "$MNT" worker_restarts)" -eq 0 "nobody was replaced"
succeeds "an upgrade is possible again" "$top_builddir/cachefsctl" upgrade "$MNT"
succeeds "unmounts, the supervisor ends" umount_cachefs "$MNT"
