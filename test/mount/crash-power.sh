#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The host goes down while a guest works under unsafe: an ext4 image with a SQLite database under load, on XFS
# with reflinks, on a disk with a volatile cache whose power is cut at random moments. What is left is mounted
# as another boot: refused, then put back to its checkpoint, which every time is a disk that a guest's journal
# mends; the image that is only trusted is so by luck.
#
# CRASH_ROUNDS: how many cuts; default 3, with CACHEFS_LONG 100. CRASH_SEED repeats its moments.

. "$(dirname "$0")/../lib/lib.sh"
LAST_CLOSE=
. "$(dirname "$0")/../lib/crash.sh"
. "$top_srcdir/test/lib/disk.sh"
need_root
need_fuse
need_commands sqlite3 e2fsck mkfs.ext4 mkfs.xfs losetup
need_tools modectl
reason=$(disk_missing mkfs.xfs) && skip_all "$reason"

ROUNDS=${CRASH_ROUNDS:-3}
[ -n "${CRASH_ROUNDS-}" ] || [ "${CACHEFS_LONG:-0}" != 1 ] || ROUNDS=100
RANDOM=${CRASH_SEED:=$RANDOM}
SECONDS_BETWEEN=2 # checkpoint=
GUEST=$WORK/guest

stop_load() {
	rm -f "$WORK/load"
	[ -z "$load" ] || wait $load 2>/dev/null
	load=
}

end() {
	local status=$?

	if [ -n "$DISK_PID" ]; then
		disk_thaw
		disk_clear
		stop_load
		umount "$GUEST" 2>/dev/null
		umount "$WORK/look" 2>/dev/null
		[ ! -e "$MNT2" ] || umount_cachefs "$MNT2" >/dev/null 2>&1
		umount "$AFTER" 2>/dev/null
		umount_cachefs "$MNT" >/dev/null 2>&1
		umount "$BACK" 2>/dev/null
		disk_stop
	fi
	(exit $status)
	cleanup
}

# ---- the guest ----

# Transactions that rewrite rows, and files that come, change their names and go.
transactions() {
	local i

	echo "PRAGMA synchronous=full;"
	for ((i = 0; ; i++)); do
		[ -e "$WORK/load" ] || return
		echo "BEGIN; UPDATE t SET v=randomblob(500 + abs(random()) % 2000), at=julianday('now')
			WHERE id IN (SELECT abs(random()) % 2000 FROM t LIMIT 20);
			INSERT OR REPLACE INTO t VALUES($((i % 2000)), randomblob(1500), julianday('now'));
			COMMIT;"
	done
}

files() {
	local i

	for ((i = 0; ; i++)); do
		[ -e "$WORK/load" ] || return
		mkdir -p "$GUEST/d$((i % 7))"
		head -c $((i % 40 * 500)) /dev/zero | tr '\0' x >"$GUEST/d$((i % 7))/new"
		mv "$GUEST/d$((i % 7))/new" "$GUEST/d$((i % 7))/f$((i % 300))"
		rm -f "$GUEST/d$(((i + 3) % 7))/f$(((i + 100) % 300))"
		[ $((i % 20)) -ne 0 ] || sync -f "$GUEST"
	done
}

start_load() {
	touch "$WORK/load"
	transactions | sqlite3 "$GUEST/db" >/dev/null 2>"$WORK/sqlite.err" 9>&- &
	load=$!
	files 2>/dev/null 9>&- &
	load="$load $!"
}

start_guest() {
	truncate -s 96M "$MNT/image"
	mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 "$MNT/image" || bail_out "mkfs.ext4"
	mkdir -p "$GUEST"
	mount -o loop "$MNT/image" "$GUEST" || bail_out "the guest's image cannot be mounted"
	sqlite3 "$GUEST/db" "PRAGMA journal_mode=wal; CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB, at REAL);
		CREATE INDEX byvalue ON t(v); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n
		WHERE i < 2000) INSERT INTO t SELECT i, randomblob(1000), 0 FROM n;" >/dev/null ||
		bail_out "no database"
	start_load
}

# ---- what is left of it ----

# good IMAGE: after its journal was replayed, the guest's file system and its database are in order. The latest
# transaction's time goes to $WORK/latest.
good() {
	local ret=0

	e2fsck -y -E journal_only "$1" >"$WORK/fsck.out" 2>&1
	e2fsck -fn "$1" >>"$WORK/fsck.out" 2>&1 || { echo "e2fsck:"; tail -n 20 "$WORK/fsck.out"; return 1; }
	mount -o loop "$1" "$WORK/look" || return 1
	[ "$(sqlite3 "$WORK/look/db" "PRAGMA integrity_check;" 2>&1 | head -n 5 | tee "$WORK/integrity")" = ok ] &&
		sqlite3 "$WORK/look/db" "SELECT (max(at) - 2440587.5) * 86400 FROM t;" >"$WORK/latest" || ret=1
	umount "$WORK/look"
	[ $ret -eq 0 ] || { echo "integrity_check:"; cat "$WORK/integrity"; }
	return $ret
}

open_image() { head -c 1 "$MNT2/image"; }

note() {
	echo "round $round: $*" >>"$WORK/wrong"
	diag "round $round: $*"
}

# Mounts at MNT2, by options.
mount_after() {
	new_log_2
	mount_cachefs "$AFTER" "$MNT2" "cache=unsafe,$1"
}
new_log_2() { : >"$WORK/mnt2.log"; }

# Refused, and says why; then rolled back by hand.
by_hand() {
	mount_after checkpoint=$SECONDS_BETWEEN || { note "refuse: not mounted"; return; }
	open_image >"$WORK/open" 2>&1 && note "refuse: the image could be opened"
	grep -q 'Structure needs cleaning' "$WORK/open" || note "refuse: $(cat "$WORK/open")"
	logged 'the host went down while flushes were dropped: all files of the mount' "$WORK/mnt2.log" ||
		note "refuse: the log does not say it"
	modectl rollback "$MNT2" image >"$WORK/rolled" 2>&1 || note "$(cat "$WORK/rolled")"
	kept=$(cut -d' ' -f2 "$WORK/rolled")
}

by_option() {
	mount_after after-crash=rollback || { note "rollback: not mounted"; return; }
	logged 'image: put back to its checkpoint' "$WORK/mnt2.log" || note "rollback: $(cat "$WORK/mnt2.log")"
	kept=$(cd "$AFTER" && ls -d image.tainted-*)
}

# What a trusting mount has: the very bytes that were rolled back later.
by_trust() {
	mount -o loop,nouuid "$WORK/trust.img" "$AFTER" || { note "the copy cannot be mounted"; return; }
	another_boot "$AFTER"
	mount_after after-crash=trust || { note "trust: not mounted"; umount "$AFTER"; return; }
	cmp "$MNT2/image" "$1" >&2 || note "trust: other bytes"
	logged 'is trusted all the same' "$WORK/mnt2.log" || note "trust: the log does not say it"
	umount_cachefs "$MNT2"
	has_marker "$AFTER" && note "trust: the marker is left"
	umount "$AFTER"
	rm "$WORK/trust.img"
}

check_left() {
	local at=$1 age

	open_image >/dev/null || note "rolled back: cannot be opened"
	cp "$MNT2/image" "$WORK/rolled.img"
	cp "$AFTER/$kept" "$WORK/trusted.img"
	umount_cachefs "$MNT2" || note "does not end well"
	umount "$AFTER" || note "stays busy"
	[ "$round" -ne 1 ] || by_trust "$WORK/trusted.img"
	if good "$WORK/rolled.img" >"$WORK/good.out" 2>&1; then
		rolled=$((rolled + 1))
		age=$(awk -v at="$at" '{ print int(at - $1) }' "$WORK/latest")
		[ "$age" -le "$oldest" ] || oldest=$age
	else
		note "rolled back, but: $(cat "$WORK/good.out")"
	fi
	good "$WORK/trusted.img" >/dev/null 2>&1 || harmed=$((harmed + 1))
}

one_round() {
	local at

	sleep "$((RANDOM % 3)).$((RANDOM % 10))"
	# disk_cut is one moment; the load goes on
	at=$(date +%s)
	disk_cut "$WORK/cut.img" $((RANDOM * round)) 50 >"$WORK/cut.out" || { note "no cut"; return; }
	# one copy is for a mount that trusts: nothing has been put back there
	[ "$round" -ne 1 ] || cp --sparse=always "$WORK/cut.img" "$WORK/trust.img"
	mount -o loop,nouuid "$WORK/cut.img" "$AFTER" || { note "$(cat "$WORK/cut.out"): XFS"; return; }
	has_marker "$AFTER" || note "no marker on the disk"
	another_boot "$AFTER"
	kept=
	if [ $((round % 2)) -eq 1 ]; then by_hand; else by_option; fi
	check_left "$at"
	rm -f "$WORK/cut.img"
}

# The latest checkpoint is younger than the database.
has_guest() {
	local age

	age=$(modectl status "$MNT/image" checkpoint_age) && [ "$age" -ge 0 ] && [ $((age + 2)) -le $((SECONDS - started)) ]
}

trap end EXIT
plan $((5 + (ROUNDS >= 20)))
load= MNT=$WORK/mnt MNT2=$WORK/mnt2 BACK=$WORK/fs AFTER=$WORK/after
mkdir "$BACK" "$AFTER" "$WORK/look"
: >"$WORK/wrong"
disk_start "$WORK/disk" 512M --cache=256M || bail_out "the disk does not start"
disk_attach || bail_out "no loop device"
mkfs.xfs -q -f "$DISK_LOOP" || bail_out "mkfs.xfs"
mount -o noatime "$DISK_LOOP" "$BACK" || bail_out "mount"
# dirty-limit: write-back between the checkpoints, which a trusted image pays for
must_mount "$BACK" "$MNT" "cache=unsafe,checkpoint=$SECONDS_BETWEEN,dirty-limit=256K"
start_guest
started=$SECONDS
soon has_guest || bail_out "no checkpoint has the guest"
rolled=0 harmed=0 oldest=0
for ((round = 1; round <= ROUNDS; round++)); do
	one_round
done
diag "$ROUNDS power cuts (CRASH_SEED=$CRASH_SEED): $rolled rolled-back images were good, $harmed trusted ones were not;" \
	"the latest transaction was at most $oldest s old"
is "$(cat "$WORK/wrong")" = "" "each was refused or rolled back, and the log said so"
is "$rolled" -eq "$ROUNDS" "every rolled-back image is in order: e2fsck -fn, integrity_check"
[ "$ROUNDS" -lt 20 ] || diag "a trusted image fails in $((harmed * 100 / ROUNDS)) of 100 cuts"
# a few cuts need not harm a trusted one, and even a hundred may not: then more must be made
[ "$ROUNDS" -lt 20 ] || is "$harmed" -gt 0 "a trusted one is not always"
is "$(modectl status "$MNT/image" checkpoint_age)" -ge 0 "status says how old the checkpoint is"
stop_load
succeeds "the guest ends" umount "$GUEST"
succeeds "unmounts, the daemon ends" umount_cachefs "$MNT"
