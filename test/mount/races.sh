#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Clients that meet in one file, and requests that meet in the daemon: no acknowledged write is lost beside a
# read-modify-write, O_TRUNC truncates, nobody's data is in another's reply or file.

. "$(dirname "$0")/../lib/lib.sh"
LAST_CLOSE=
need_root
need_fuse
need_tools races

SECONDS_EACH=5
[ "${CACHEFS_LONG:-0}" != 1 ] || SECONDS_EACH=60

# Only bytes 0xee in what the clients wrote.
untouched() {
	local f n=0

	for f in "$BACK"/w?; do
		[ -z "$(tr -d '\356' <"$f" | head -c 1)" ] && [ "$(stat -c %s "$f")" -eq 65536 ] ||
			{ echo "$f:"; tr -d '\356' <"$f" | head -c 64 | od -An -tx1; return 1; }
		n=$((n + 1))
	done
	[ $n -eq 8 ]
}

# MODE SECONDS: 4 checks
check_file() {
	must_mount "$BACK" "$MNT" "cache=$1"
	succeeds "$1: no sector is lost beside a byte that is written" \
		timeout 100 "$TOOLS/races" rmw "$MNT/rmw" "$2"
	diag "$output"
	succeeds "$1: O_TRUNC beside a byte that is written" \
		timeout 100 "$TOOLS/races" otrunc "$MNT/trunc" "$2"
	diag "$output"
	succeeds "$1: remount as nobody gives nothing away" \
		timeout 60 "$TOOLS/races" remount "$MNT" "$MNT/secret"
	succeeds "$1: unmounts, the daemon ends" umount_cachefs "$MNT"
	rm -rf "${BACK:?}"/*
}

# One round of SIGTERM. Status 0: the daemon ended as it should and the files are untouched.
term() {
	local pid

	must_mount "$BACK" "$MNT" "$1"
	pid=$(daemon_pid "$MNT")
	timeout 60 "$TOOLS/races" term "$MNT" "$pid"
	wait_end "$pid" 60 || return 1
	sed -i "/^$pid /d" "$WORK/daemons"
	wait "$pid" || { echo "the daemon ended with status $?"; return 1; }
	untouched || return 1
	rm -f "$BACK"/w?
}

plan $((4 * 4 + 4))
make_fs ext4 96M
rm -rf "$BACK/lost+found"
MNT=$WORK/mnt
check_file none $SECONDS_EACH
check_file directsync $SECONDS_EACH
check_file writeback 2
check_file unsafe 2
for i in 1 2 3; do
	succeeds "SIGTERM under load, $i: no file is touched" \
		term cache=writeback,kernel-path=never,threads=2
done
succeeds "SIGTERM under load on the kernel path: no file is touched" term cache=writeback
