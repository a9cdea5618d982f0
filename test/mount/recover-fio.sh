#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# fio writes and verifies while the worker is killed again and again: no error, nothing lost, nothing stale. Each
# mode, by the daemon alone and where the kernel may have the data path, 16 requests deep with O_DIRECT,
# and by threads through the page cache.
# CACHEFS_LONG=1 makes it 200 kills each.

. "$(dirname "$0")/../lib/lib.sh"
LAST_CLOSE=
. "$(dirname "$0")/../lib/recover.sh"
need_root
need_fuse
need_commands fio

KILLS=5 MAX=500 SIZE=4M
[ "${CACHEFS_LONG:-0}" != 1 ] || { KILLS=200 MAX=2000 SIZE=16M; }
KILLS=${RECOVER_KILLS:-$KILLS}
PATHS="never auto"
# a test of one path runs once for it
[[ ${CACHEFS_TEST_OPTS-} != *kernel-path=* ]] || PATHS=given

# Another seed each round: a block that is left of the round before is then a wrong one.
verify() {
	local common="--directory=$MNT --size=$SIZE --rw=randrw --rwmixread=30 --bs=4k --fdatasync=32
		--verify=crc32c --verify_fatal=1 --do_verify=1 --verify_state_save=0 --verify_backlog=256
		--randseed=$((KILL_SEED * 1000 + round)) --fallocate=none --allow_file_create=1"

	# shellcheck disable=SC2086
	fio $common --output="$WORK/fio.out" --exitall_on_error \
		--name=direct --ioengine=libaio --direct=1 --iodepth=16 \
		--name=buffered --ioengine=psync --thread --numjobs=4 --bsrange=512-32k --bs_unaligned --norandommap ||
		{ cat "$WORK/fio.out"; return 1; }
}

# What fio has verified through the mount lies in the backing.
same_in_backing() {
	local f

	for f in "$BACK"/*; do
		cmp "$f" "$MNT/${f##*/}" || return 1
	done
}

check() {
	local mode=$1 path=$2 name="$1, kernel-path $2"

	BACK=$WORK/back.$mode.$path
	mkdir "$BACK"
	must_mount "$BACK" "$MNT" "cache=$mode$([ "$path" = given ] || echo ",kernel-path=$path")"
	[ $tap_planned -gt 0 ] || { need_recover "$MNT"; plan "$CHECKS"; }
	succeeds "$name: all verified through $KILLS kills" under_kills $KILLS 100 $MAX verify
	diag "$name: $((round + 1)) rounds, $(killed) workers killed"
	succeeds "$name: the backing has the same" same_in_backing
	succeeds "$name: unmounts, the supervisor ends" umount_cachefs "$MNT"
	rm -rf --one-file-system "$BACK"
}

CHECKS=$((3 * $(wc -w <<<"$MODES") * $(wc -w <<<"$PATHS")))
MNT=$WORK/mnt
for path in $PATHS; do
	for mode in $MODES; do
		check "$mode" "$path"
	done
done
