#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Files with unflushed data leave the pattern of their rule while the worker is killed at random moments: what the
# crash marker has to say of them is durable before their names change, whoever is killed in between. So after a
# crash of the host each is refused. RECOVER_KILLS: how many.

. "$(dirname "$0")/../lib/lib.sh"
LAST_CLOSE=
. "$(dirname "$0")/../lib/crash.sh"
. "$(dirname "$0")/../lib/recover.sh"
need_root
need_fuse
need_tools fsops

KILLS=${RECOVER_KILLS:-12}
[ -n "${RECOVER_KILLS-}" ] || [ "${CACHEFS_LONG:-0}" != 1 ] || KILLS=200

# Each in a directory of its own: one does not speak for another.
one_round() {
	local d=$MNT/$round

	mkdir "$d" "$d/in" &&
		echo data >"$d/a.tmp" && mv "$d/a.tmp" "$d/a" &&
		echo data >"$d/b.tmp" && ln "$d/b.tmp" "$d/b" && rm "$d/b.tmp" &&
		echo data >"$d/c.tmp" && echo data >"$d/c" &&
		printf 'rename c.tmp c exchange\n' | timeout 60 "$TOOLS/fsops" "$d" | grep -q ok &&
		echo data >"$d/in/d" && mv "$d/in" "$d/out"
}

# can_open FILE: but for EUCLEAN it must be there.
refused_all() {
	local i f wrong=0

	for ((i = 0; i <= round; i++)); do
		for f in a b c out/d; do
			head -c 1 "$MNT/$i/$f" >"$WORK/open" 2>&1
			grep -q 'Structure needs cleaning' "$WORK/open" && continue
			echo "$i/$f: $(cat "$WORK/open")"
			wrong=$((wrong + 1))
		done
	done
	return $((wrong > 0))
}

MNT=$WORK/mnt BACK=$WORK/back
mkdir "$BACK"
RULE='cache=writeback,rule=*.tmp=unsafe,rule=*/in/**=unsafe'
# on-close=none: nobody flushes what is closed
must_mount "$BACK" "$MNT" "$RULE,on-close=none"
need_recover "$MNT"
plan 4
exec 6<>"$MNT/hold.tmp"
succeeds "names change while the worker is killed $KILLS times" under_kills "$KILLS" 50 400 one_round
diag "$((round + 1)) rounds"
kill_cachefs "$MNT"
exec 6>&-
another_boot "$BACK"
must_mount "$BACK" "$MNT" "$RULE"
succeeds "after the crash each is refused" refused_all
# it may know all of them one by one by then, or their directories, but not all files
succeeds "and others are not" eval 'echo new >"$MNT/new" && cat "$MNT/new"'
succeeds "unmounts, the daemon ends" umount_cachefs "$MNT"
