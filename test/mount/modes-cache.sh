#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What each mode leaves in the host's page cache, whatever method the client writes with: 1 MiB
# written, then fsync. Looked at from outside, at the backing file.

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/setups.sh"
need_root
need_fuse
need_tools pagestat ioclient

# A method of ioclient, and options. "unaligned" must be served by every mode as well.
CLIENTS="plain odirect odsync mmap libaio io_uring rwf_dsync unaligned"
UNSEEN=rwf_dsync

# expect MODE CLIENT: sets want_cached and want_dirty, "yes" or "no", for after the write.
expect() {
	want_cached=yes
	want_dirty=no
	case $1 in
	none* | directsync) want_cached=no ;;
	unsafe*) want_dirty=yes ;;
	# What the client asked to be synchronous is honoured.
	writeback) [[ $2 =~ dsync ]] || want_dirty=yes ;;
	esac
}

# check_count N yes|no TEXT
check_count() {
	if [ "$2" = yes ]; then
		is "$1" -gt 0 "$3 (pages)"
	else
		is "$1" -eq 0 "$3 (pages)"
	fi
}

client_args() {
	case $1 in
	unaligned) echo "-m plain -b 1000 -s 1000000 -o 777" ;;
	*) echo "-m $1" ;;
	esac
}

# check MODE CLIENT: the file is held open for writing, so that no last close flushes it.
check() {
	local mode=$1 client=$2 file=f.$2 args before

	read -ra args <<<"$(client_args "$client")"
	expect "$mode" "$client"
	exec 9<>"$MNT/$file"
	succeeds "$mode, $client: writes 1 MiB" "$TOOLS/ioclient" "${args[@]}" "$MNT/$file"
	before=$(dirty "$BACK/$file")
	check_count "$(cached "$BACK/$file")" $want_cached "$mode, $client: cached after the write"
	check_count "$before" $want_dirty "$mode, $client: dirty after the write"
	succeeds "$mode, $client: fsync" sync "$MNT/$file"
	if [[ $mode = unsafe* ]]; then
		is "$(dirty "$BACK/$file")" -eq "$before" "$mode, $client: dirty unchanged by fsync"
	else
		is "$(dirty "$BACK/$file")" -eq 0 "$mode, $client: nothing dirty after fsync"
	fi
	exec 9>&-
	succeeds "$mode, $client: reads back" "$TOOLS/ioclient" "${args[@]}" -r "$MNT/$file"
	check_count "$(cached "$BACK/$file")" $want_cached "$mode, $client: cached after reading"
	cp "$BACK/$file" "$WORK/copy"
	succeeds "$mode, $client: the backing holds the bytes" \
		"$TOOLS/ioclient" "${args[@]}" -r "$WORK/copy"
}

count=0
for mode in "${SETUPS[@]}"; do
	count=$((count + 8 * $(clients "$mode" "$CLIENTS" $UNSEEN | wc -w) + 1))
done
plan $count
make_fs ext4 96M
MNT=$WORK/mnt
for mode in "${SETUPS[@]}"; do
	for client in $(clients "$mode" "$CLIENTS" $UNSEEN); do
		rm -f "$BACK/f.$client"
		allocate "$BACK/f.$client" 2M
	done
	must_mount "$BACK" "$MNT" "$(mount_options "$mode")"
	for client in $(clients "$mode" "$CLIENTS" $UNSEEN); do
		check "$mode" "$client"
	done
	succeeds "$mode: unmounts, the daemon ends" umount_cachefs "$MNT"
done
