# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# TAP for shell tests: every check prints one line, a failed one also what was observed.
# Source it, call plan, then checks; tap_status is the exit status that the test deserves.
# $WORK must be a directory for a file or two.

tap_planned=0
tap_run=0
tap_failed=0
output=

# plan N: how many checks follow.
plan() {
	tap_planned=$1
	echo "1..$1"
}

diag() {
	printf '%s\n' "$@" | sed 's/^/# /'
}

# skip_all REASON: before plan; ends the test, as skipped.
skip_all() {
	echo "1..0 # SKIP $*"
	exit 0
}

bail_out() {
	echo "Bail out! $*"
	exit 99
}

ok() {
	tap_run=$((tap_run + 1))
	echo "ok $tap_run - $*"
}

# not_ok TEXT [OBSERVED...]
not_ok() {
	tap_run=$((tap_run + 1))
	tap_failed=$((tap_failed + 1))
	echo "not ok $tap_run - $1"
	shift
	[ $# -eq 0 ] || diag "$@"
}

# skip N REASON: N checks that cannot be made here.
skip() {
	local i

	for ((i = 0; i < $1; i++)); do
		tap_run=$((tap_run + 1))
		echo "ok $tap_run # SKIP $2"
	done
}

# is GOT OPERATOR WANT TEXT: an operator of test(1), = or -eq -ne -gt -ge -lt -le.
is() {
	if test "$1" "$2" "$3" 2>/dev/null; then
		ok "$4"
	else
		not_ok "$4" "observed: $1, wanted: $2 $3"
	fi
}

# between GOT MIN MAX TEXT
between() {
	if [ "$1" -ge "$2" ] && [ "$1" -le "$3" ]; then
		ok "$4"
	else
		not_ok "$4" "observed: $1, wanted: $2 to $3"
	fi
}

# succeeds TEXT COMMAND...: its output is shown when it fails, and is in $output afterwards. Runs in
# this shell, so that functions can wait for its children.
succeeds() {
	local text=$1 status

	shift
	"$@" >"$WORK/tap.out" 2>&1 && status=0 || status=$?
	output=$(tr -d '\0' <"$WORK/tap.out")
	if [ "$status" -eq 0 ]; then
		ok "$text"
	else
		not_ok "$text" "$* ended with status $status:" "$(tail -n 30 <<<"$output")"
	fi
	return "$status"
}

# fails TEXT PATTERN COMMAND...: it must fail and say what matches the extended regexp.
fails() {
	local text=$1 pattern=$2

	shift 2
	if output=$("$@" 2>&1); then
		not_ok "$text" "$* succeeded:" "$(tail -n 30 <<<"$output")"
	elif grep -Eq "$pattern" <<<"$output"; then
		ok "$text"
	else
		not_ok "$text" "wanted a message like: $pattern" "$(tail -n 30 <<<"$output")"
	fi
}

# 0 when all planned checks ran and none failed.
tap_status() {
	if [ "$tap_planned" -gt 0 ] && [ "$tap_run" -ne "$tap_planned" ]; then
		diag "planned $tap_planned checks, ran $tap_run"
		return 1
	fi
	[ "$tap_failed" -eq 0 ]
}
