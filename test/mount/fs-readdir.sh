#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Large directories, read while they change: what is there all the time is seen exactly once.

. "$(dirname "$0")/../lib/lib.sh"
need_root
need_fuse
need_tools dirwalk

COUNT=20000

# natively FIND-ACTION...: of the backing, but for what cachefs keeps there (kernel-path=always).
natively() {
	find "$BACK" -path "$BACK/.cachefs" -prune -o "$@"
}

# check TEXT OPTIONS: the directory $BACK, mounted.
check() {
	local text=$1

	must_mount "$BACK" "$MNT" "$2"
	mkdir "$MNT/large"
	succeeds "$text: $COUNT files made" "$TOOLS/dirwalk" fill "$MNT/large" keep $COUNT
	is "$(find "$MNT" | sed "s,^$MNT,," | sort | md5sum)" = \
		"$(natively -print | sed "s,^$BACK,," | sort | md5sum)" "$text: find as natively"
	is "$(find "$MNT" -printf '%P %i %y %m %s\n' | sort | md5sum)" = \
		"$(natively -printf '%P %i %y %m %s\n' | sort | md5sum)" \
		"$text: attributes by find as natively"
	succeeds "$text: read and looked at" "$TOOLS/dirwalk" stat "$MNT/large"
	is "$output" = "$COUNT" "$text: all entries were there"
	succeeds "$text: seen once while others come and go" \
		"$TOOLS/dirwalk" churn "$MNT/large" $COUNT
	is "$(find "$MNT/large" | wc -l)" -eq "$(find "$BACK/large" | wc -l)" \
		"$text: as many entries as natively after that"
	succeeds "$text: removed while being read" rm -r "$MNT/large"
	succeeds "$text: unmounts, the daemon ends" umount_cachefs "$MNT"
}

plan 36
MNT=$WORK/mnt
BACK=$WORK/back
mkdir "$BACK"
check "$(stat -f -c %T "$WORK")" ""
check "exclusive" "exclusive"
make_fs xfs 320M
check xfs ""
make_fs btrfs 256M
check btrfs ""
