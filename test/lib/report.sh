# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Tests of the reports in .cachefs. Source lib.sh first.

# The distribution's own, which has the distribution's modules.
PYTHON=/usr/bin/python3
[ -x "$PYTHON" ] || PYTHON=python3

# report VERB ARGUMENT...: test/lib/report.py
report() {
	timeout 120 "$PYTHON" "$top_srcdir/test/lib/report.py" "$@"
}

# get EXPR: of the mount at $MNT
get() {
	report get "$MNT" "$1" 2>&1
}

# hold VERB TARGET ARGUMENT...: report.py in the background until let_go; sets HELD, its process id.
# One at a time.
hold() {
	local line

	coproc HOLDER { exec "$PYTHON" "$top_srcdir/test/lib/report.py" "$@" 2>&1 9>&-; }
	HELD=$HOLDER_PID
	read -r -t 60 line <&"${HOLDER[0]}" || line="nothing for a minute"
	[ "$line" = ready ] || bail_out "report.py $*: $line"
}

let_go() {
	local pid=$HELD in=${HOLDER[1]}

	exec {in}>&-
	wait "$pid"
}
