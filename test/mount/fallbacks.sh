#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What a kernel or a backing filesystem may lack, withheld one at a time (mask-caps) and together:
# the same bytes, the same errors. Each engine; the one without io_uring is chosen by itself, with a
# line in the log. The null engine touches no file.

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/setups.sh"
need_root
need_fuse
need_tools opstorm ioclient nouring pagestat

CAPS="rwf-nowait io-uring file-handles statx-dioalign cachestat open-tree"
SETUPS=()
for cap in $CAPS; do
	SETUPS+=("mask-caps=$cap")
done
SETUPS+=("mask-caps=$(tr ' ' : <<<"$CAPS"),threads=1" engine=threads engine=threads,threads=1
	engine=uring engine=uring,threads=1)

pages() {
	if [ "$1" = none ]; then
		is "$(cached "$BACK/p")" -eq 0 "$2: nothing cached"
	else
		is "$(cached "$BACK/p")" -gt 0 "$2: cached"
	fi
}

tree() {
	cp -r "$top_srcdir/src" "$MNT/src" && mv "$MNT/src" "$MNT/moved" && sync "$MNT/moved" &&
		diff -r "$top_srcdir/src" "$MNT/moved" && rm -r "$MNT/moved"
}

# 7 checks
check() {
	local text="$1, $2"

	must_mount "$BACK" "$MNT" "cache=$2,$1"
	succeeds "$text: random operations as on a plain file" \
		timeout 60 "$TOOLS/opstorm" $(storm_options "$2") -t 4 -S 7 -n 1500 "$MNT/storm" "$WORK/plain"
	succeeds "$text: writes and fsync" timeout 60 "$TOOLS/ioclient" -m plain -s 1M -F fsync "$MNT/p"
	is "$(dirty "$BACK/p")" -eq 0 "$text: nothing dirty"
	succeeds "$text: reads back by io_uring" \
		timeout 60 "$TOOLS/ioclient" -m io_uring -s 1M -r "$MNT/p"
	pages "$2" "$text"
	succeeds "$text: a tree copied, renamed, compared, removed" tree
	succeeds "$text: unmounts, the daemon ends" umount_cachefs "$MNT"
	rm -f "$BACK"/{storm,p}
}

# Without direct I/O a direct mode is refused. 2 checks
check_direct_io() {
	fails "mask-caps=direct-io: none is refused" 'direct I/O' \
		"$MOUNT_CACHEFS" "$BACK" "$MNT" -o mask-caps=direct-io,cache=none
	must_mount "$BACK" "$MNT" mask-caps=direct-io,cache=writethrough
	succeeds "mask-caps=direct-io: writethrough works" umount_cachefs "$MNT"
}

# Where io_uring is not permitted, to this daemon alone: kernel.io_uring_disabled would be for the clients and daemons
# of other tests, too. 5 checks
check_disabled() {
	local daemon=$MOUNT_CACHEFS MOUNT_CACHEFS=$WORK/permitted-little

	printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$TOOLS/nouring" "$daemon" >"$MOUNT_CACHEFS"
	chmod +x "$MOUNT_CACHEFS"
	rm -f "$WORK/mnt.log"
	must_mount "$BACK" "$MNT" cache=writeback
	is "$(grep -c 'io_uring is not permitted' "$WORK/mnt.log")" -eq 1 "io_uring off: one line says so"
	succeeds "io_uring off: the engine is threads" grep -q 'engine threads' "$WORK/mnt.log"
	succeeds "io_uring off: it works" "$TOOLS/ioclient" -m plain -s 1M -F fsync "$MNT/p"
	succeeds "io_uring off: unmounts" umount_cachefs "$MNT"
	fails "io_uring off: engine=uring is refused" 'engine=uring: io_uring is not permitted' \
		"$MOUNT_CACHEFS" "$BACK" "$MNT" -o engine=uring
}

# 5 checks
check_null() {
	echo "what was there" >"$BACK/n"
	must_mount "$BACK" "$MNT" engine=null
	succeeds "null: writes and fsync" dd if=/dev/urandom of="$MNT/n" bs=4k count=4 \
		conv=notrunc,fsync status=none
	is "$(cat "$BACK/n")" = "what was there" "null: the file is untouched"
	is "$(head -c 4 "$MNT/n" | od -An -tx1 | tr -d ' ')" = 00000000 "null: zeros are read"
	succeeds "null: ls" ls -l "$MNT"
	succeeds "null: unmounts" umount_cachefs "$MNT"
}

plan $((${#SETUPS[@]} * 2 * 7 + 2 + 5 + 5))
make_fs ext4 128M
MNT=$WORK/mnt
mkdir "$MNT"
for setup in "${SETUPS[@]}"; do
	check "$setup" writeback
	check "$setup" none
done
check_direct_io
check_disabled
check_null
