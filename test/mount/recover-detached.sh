#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# In the background, as mount(8) leaves it: what a dead worker had open is closed there, too. A descriptor that its
# successors took for one that stays (the pipe to the command in front once was, and its number became that
# of a worker's io_uring) keeps a dead ring alive, whose poll of /dev/fuse swallows what wakes others.

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/recover.sh"
need_root
need_fuse
need_tools ioclient

# What the supervisor and its workers have open, by kind: numbers of inodes and names of files differ.
open_kinds() {
	find "/proc/$(daemon_pid "$MNT")/fd" -mindepth 1 -printf '%l\n' |
		sed -e 's/:\[.*/:/' -e 's|^/proc/[0-9]*|/proc/PID|' -e 's| (deleted)$||' -e "s|^$BACK.*|backing|" | sort | uniq -c
}

# To compare with later, when what was closed is closed there, too: RELEASE comes after close(2) has returned.
snapshot() {
	local same=0

	open_kinds >"$WORK/before"
	while [ $same -lt 10 ]; do
		sleep 0.1
		open_kinds >"$WORK/now"
		if cmp -s "$WORK/before" "$WORK/now"; then same=$((same + 1)); else same=0; fi
		mv "$WORK/now" "$WORK/before"
	done
}

# A worker that has just begun may have something open for a moment.
same_kinds() { open_kinds >"$WORK/now"; cmp -s "$WORK/before" "$WORK/now"; }
as_before() { soon same_kinds || { diff "$WORK/before" "$WORK/now"; false; }; }

work() { "$TOOLS/ioclient" -m "$1" -s 1M -F fsync "$MNT/f"; }

plan 8
BACK=$WORK/back MNT=$WORK/mnt
mkdir "$BACK" "$MNT"
detached() { # 9: the test's own output
	timeout 60 "$MOUNT_CACHEFS" "$BACK" "$MNT" \
		-o "cache=none,kernel-path=never${CACHEFS_TEST_OPTS:+,$CACHEFS_TEST_OPTS}" 9>&-
}
succeeds "mounts in the background" detached
echo "$MNT" >>"$WORK/mounts"
daemon=$(status_field "$MNT" supervisor_pid)
echo "$daemon $MNT" >>"$WORK/daemons"
need_recover "$MNT"
succeeds "a client works" work plain
snapshot
kill_worker "$MNT"
succeeds "after a kill the same is open" as_before
for i in 1 2 3 4 5 6; do
	work plain >/dev/null &
	kill_worker "$MNT"
done
wait_jobs() { local pid; for pid in $(jobs -pr); do [ "$pid" = "$watchdog_pid" ] || wait "$pid" || return; done; }
succeeds "clients of six more have no error" wait_jobs
succeeds "and nothing more is open then" as_before
succeeds "an upgrade" "$top_builddir/cachefsctl" upgrade "$MNT"
snapshot # of another program: libfuse's copy of a descriptor is not there
kill_worker "$MNT"
succeeds "and after it and a kill, too" as_before
gone() { ! grep -qs '^State:.[^Z]' "/proc/$daemon/status"; } # it is not our child: it may stay a zombie
umount "$MNT"
succeeds "unmounted, it ends" within 60 gone
