# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Tests of a mount whose worker is killed. Source lib.sh first; MNT is the mount. The process that lib.sh knows
# as the daemon is the supervisor, the worker its child. $WORK/kills has a line a kill: the time, as
# date +%s.%6N, and the process.
#
# From outside: RECOVER_KILLS, how many kills where a test makes random ones; CACHEFS_SEED, their moments.

KILL_SEED=${CACHEFS_SEED:-$((RANDOM * 32768 + RANDOM))}
killer=

# mount_status MNT: status.json of the mount; waits for a worker, at most 60 s.
mount_status() {
	timeout 60 "$top_builddir/cachefsctl" status --json "$1"
}

# status_field MNT FIELD: a number or a boolean of the mount's object.
status_field() {
	mount_status "$1" | tr -d ' \n' | sed -n "s/.*\"$2\":\([0-9a-z]*\)[,}].*/\1/p"
}

# need_recover MNT: before plan; ends the test where nothing would bring the worker back.
need_recover() {
	[ -z "$CACHEFS_TEST_BIND" ] || skip_all "a bind mount has no worker"
	[ "$(status_field "$1" recover)" = true ] || skip_all "this build has no supervisor, or this kernel no RESEND"
	[ "$(status_field "$1" supervisor_pid)" = "$(daemon_pid "$1")" ] ||
		bail_out "supervisor_pid is not the process that was started"
	[ "$(status_field "$1" worker_pid)" = "$(worker_pid "$1")" ] ||
		bail_out "worker_pid is no child of the supervisor"
}

# worker_pid MNT: the supervisor's child that has not ended, or nothing. Needs no answer of the mount.
worker_pid() {
	ps -o pid=,stat= --ppid "$(daemon_pid "$1")" | awk '$2 !~ /^Z/ { pid = $1 } END { print pid }'
}

new_worker() {
	local now

	now=$(worker_pid "$1")
	[ -n "$now" ] && [ "$now" != "$2" ]
}

# kill_now MNT: SIGKILL for the worker, without waiting for anything; 1 when there is none.
kill_now() {
	local pid

	pid=$(worker_pid "$1")
	[ -n "$pid" ] && kill -KILL "$pid" && echo "$EPOCHREALTIME $pid" >>"$WORK/kills"
}

# kill_worker MNT: SIGKILL; returns when another worker answers.
kill_worker() {
	local old

	old=$(worker_pid "$1")
	kill_now "$1" && within 30 new_worker "$1" "$old" && [ "$(status_field "$1" worker_pid)" != "$old" ]
}

# kills MNT COUNT MIN MAX: so many, at random moments MIN to MAX milliseconds apart; some fall into the start of
# a worker.
kills() {
	local i ms

	RANDOM=$KILL_SEED
	for ((i = 0; i < $2; i++)); do
		ms=$(($3 + RANDOM * ($4 - $3) / 32767))
		sleep "$(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))"
		within 30 kill_now "$1" || { echo "no worker 30 s after kill $i"; return 1; }
	done
}

# start_kills MNT COUNT MIN MAX, and wait_kills: in the background; the latter has their status.
start_kills() {
	KILL_SEED=$((KILL_SEED + 1))
	kills "$@" >"$WORK/kills.out" 2>&1 9>&- &
	killer=$!
}

killing() { [ -n "$killer" ] && running "$killer"; }

wait_kills() {
	local status=0

	[ -z "$killer" ] || wait "$killer" || { status=1; cat "$WORK/kills.out"; }
	killer=
	return $status
}

stop_kills() {
	[ -z "$killer" ] || kill "$killer" 2>/dev/null
	wait_kills >/dev/null 2>&1
}

# under_kills COUNT MIN MAX COMMAND...: the command again and again, until all kills of the worker of MNT have
# been made and it has succeeded once afterwards. $round is how often it ran before. Fails with the command.
under_kills() {
	local count=$1 min=$2 max=$3 before status=0 last

	shift 3
	: >"$WORK/kills"
	before=$(status_field "$MNT" worker_restarts)
	start_kills "$MNT" "$count" "$min" "$max"
	for ((round = 0; ; round++)); do
		last=
		killing || last=1
		"$@" || { status=$?; break; }
		[ -z "$last" ] || break
	done
	if [ $status -ne 0 ]; then
		echo "round $round failed with status $status; the last kills:"
		tail -n 8 "$WORK/kills"
		stop_kills
		return $status
	fi
	wait_kills || return 1
	within 30 all_counted "$before" ||
		{ echo "$(killed) workers were killed; worker_restarts was $before, is $(status_field "$MNT" worker_restarts)"; return 1; }
}

# How many workers were killed; one that took its time to die may have got two signals, in a row. (Numbers of
# processes come again.)
killed() { cut -d' ' -f2 "$WORK/kills" | uniq | wc -l; }
all_counted() { [ $(($(status_field "$MNT" worker_restarts) - $1)) -eq "$(killed)" ]; }

# descriptors MNT: how many the worker has, shared with the supervisor.
descriptors() {
	find "/proc/$(worker_pid "$1")/fd" -mindepth 1 | wc -l
}
