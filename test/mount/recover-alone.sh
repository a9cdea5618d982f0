#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# One client with one request at a time, and nobody else who could wake the worker by a request of his own: each
# time it is killed the client goes on by itself. (A wake-up that something of the dead worker has taken, is seen
# as a client that waits for ever.)
# CACHEFS_LONG=1: 200 kills each.

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/recover.sh"
need_root
need_fuse
need_tools beat

KILLS=30
[ "${CACHEFS_LONG:-0}" != 1 ] || KILLS=200
KILLS=${RECOVER_KILLS:-$KILLS}
LIMIT=10 # seconds for what takes milliseconds
client= load=

end() {
	local status=$?

	# shellcheck disable=SC2086
	[ -z "$client$load" ] || kill $client $load 2>/dev/null
	(exit $status)
	cleanup
}
trap end EXIT

acked() { od -A n -t u8 "$WORK/acked" | tr -d ' '; }
beyond() { [ "$(acked)" -gt "$1" ] || ! running "$client"; }

# Nothing here asks the mount: a request would help. The worker is killed early and late in its life.
kill_and_look() {
	local i at

	for ((i = 0; i < KILLS; i++)); do
		within 10 kill_now "$MNT" || { echo "no worker 10 s after kill $i"; return 1; }
		sleep 0.1
		at=$(acked)
		within $LIMIT beyond "$at" || { echo "kill $i: no answer for $LIMIT s after number $at"; return 1; }
		sleep 0.$((RANDOM % 4))
	done
	running "$client"
}

stop() {
	local status

	kill "$client"
	wait "$client"
	status=$?
	# shellcheck disable=SC2086
	kill $load && wait $load
	client= load=
	return $status
}

# check MODE ENGINE OPTIONS: 4 checks
check() {
	local name="$1, engine $2${3:+, $3}"

	must_mount "$BACK" "$MNT" "cache=$1,kernel-path=never,engine=$2"
	[ $tap_planned -gt 0 ] || { need_recover "$MNT"; plan $((4 * ${#SETUPS[@]})); }
	: >"$WORK/acked"
	# shellcheck disable=SC2086
	"$TOOLS/beat" -r $3 -s 3000 -a "$WORK/acked" -l 200 "$MNT/beat" >"$WORK/beat.out" 2>&1 9>&- &
	client=$!
	# the processors are busy, so what a kill leaves to be done later is not done at once
	"$TOOLS/beat" -s 3000 "$BACK/load" >"$WORK/load.out" 9>&- &
	load=$!
	"$TOOLS/beat" -s 3000 "$BACK/load" >"$WORK/load.out" 9>&- &
	load="$load $!"
	succeeds "$name: a client works" soon begun
	succeeds "$name: it goes on by itself after each of $KILLS kills" kill_and_look
	succeeds "$name: no error for it" stop
	diag "$(tail -n 1 "$WORK/beat.out")"
	succeeds "$name: unmounts, the supervisor ends" umount_cachefs "$MNT"
}
begun() { [ -s "$WORK/acked" ] && [ "$(acked)" -gt 10 ]; }

SETUPS=("writeback:uring:" "none:uring:-d" "none:threads:-d")
MNT=$WORK/mnt
BACK=$WORK/back
mkdir "$BACK"
allocate "$BACK/beat" 1M
allocate "$BACK/load" 1M
for setup in "${SETUPS[@]}"; do
	IFS=: read -r mode engine options <<<"$setup"
	check "$mode" "$engine" "$options"
done
