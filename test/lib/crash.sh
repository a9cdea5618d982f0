# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Tests of what a host crash leaves. Source lib.sh first; MNT and BACK as there.

MARKER=.cachefs/crash-marker

# another_boot DIR: what the marker of the backing directory DIR says was said on an earlier boot.
another_boot() {
	sed -i 's/^boot [^ ]* /boot 00000000-dead-4000-8000-000000000000 /' "$1/$MARKER"
}

has_marker() { [ -e "${1:-$BACK}/$MARKER" ]; }
no_marker() { ! has_marker "$@"; }

modectl() {
	timeout 60 "$TOOLS/modectl" "$@"
}

# logged TEXT [LOG]: the daemon of MNT said it.
logged() {
	grep -qF -- "$1" "${2:-$WORK/$(basename "$MNT").log}"
}

new_log() {
	: >"$WORK/$(basename "$MNT").log"
}

# kill_cachefs MNT: all its processes die without a flush; the host does not.
kill_cachefs() {
	local pid

	pid=$(daemon_pid "$1")
	kill_all "$pid"
	wait "$pid" 2>/dev/null
	sed -i "/^$pid /d" "$WORK/daemons"
	umount -l "$1"
}

clean() { [ "$(dirty "$BACK/$1")" -eq 0 ]; }
