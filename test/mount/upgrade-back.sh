#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# An upgrade to a program that says it can take over, and then fails at one of all places: the program before
# goes on, with what is open, under a client that writes all the time; cachefsctl says so; and an upgrade to
# one that works is still possible. test/lib/takeover is that program.

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/recover.sh"
need_root
need_fuse
need_commands jq
need_tools ioclient takeover
CTL=$top_builddir/cachefsctl

# At which place, and in which process: one that can go back by itself, or that is gone and can not.
RETURNS="receive version settings supervisor descriptors process worker-exits worker-dies worker-hangs thread"
DEATHS="exit crash late hang"
COULD_NOT="the installed one took over and could not serve: see the log"
ENDED="the installed one ended or hung when it took over: see the log"

status_of() { mount_status "$MNT" | jq -c "$1"; }
supervisor() { status_of .supervisor_pid; }
gone() { ! kill -0 "$1" 2>/dev/null; }
# install PROGRAM: as a package does it; what runs goes on under no name
install_program() { cp "$1" "$PROGRAM.new" && mv "$PROGRAM.new" "$PROGRAM"; }

# A client that notices each error, and each byte that is wrong.
writer() {
	local n

	for ((n = 1; ; n++)); do
		timeout 120 "$TOOLS/ioclient" -m plain -b 4k -s 256k -p $n "$MNT/written" &&
			timeout 120 "$TOOLS/ioclient" -m plain -b 4k -s 256k -p $n -r "$MNT/written" || return 1
		[ ! -e "$WORK/stop" ] || return 0
	done
}

# What is open, its contents, its mode, and whether it still can be written to.
keeps() {
	printf 'more\n' >&7
	[ "$(cat "$MNT/open")" = "$(cat "$BACK/open")" ] && [ "$(wc -l <"$BACK/open")" -eq $((++lines)) ] &&
		[ "$(cat /proc/self/fd/8)" = unlinked ] && [ "$("$CTL" mode "$MNT/open" | head -n 1)" = "$OPEN_MODE" ]
}

# comes_back PLACE SENTENCE: 5 checks
comes_back() {
	echo "$1" >"$PROGRAM.place"
	output=$(timeout 120 "$CTL" upgrade "$MNT" 2>&1) && status=0 || status=$?
	is "$status:$(wc -l <<<"$output")" = 2:1 "$1: exit status 2, one line"
	is "$(grep -c "not upgraded, the old program goes on: $2" <<<"$output")" -eq 1 "$1: which says why"
	is "$(status_of '[.upgrades, .worker_restarts]')" = '[0,0]' "$1: neither an upgrade nor a death is counted"
	is "$(stat -Lc %i "/proc/$(supervisor)/exe" "/proc/$(status_of .worker_pid)/exe" | sort -u)" = "$OLD_PROGRAM" \
		"$1: the program before serves"
	succeeds "$1: and keeps what is open" keeps
}

# Also where the supervisor is no child of this shell any more.
ends() {
	local pid

	pid=$(supervisor)
	within 10 umount "$MNT" && within 60 gone "$pid"
}

ulimit -c 0
BACK=$WORK/back
MNT=$WORK/mnt
mkdir "$BACK" "$WORK/bin"
PROGRAM=$WORK/bin/mount.cachefs
installed=$MOUNT_CACHEFS
install_program "$installed"
MOUNT_CACHEFS=$PROGRAM
must_mount "$BACK" "$MNT" cache=writeback
need_recover "$MNT"
plan $((5 * $(wc -w <<<"$RETURNS $DEATHS") + 22))
daemon=$(daemon_pid "$MNT")
OLD_PROGRAM=$(stat -c %i "$PROGRAM")
exec 7>>"$MNT/open" 8<>"$MNT/unlinked"
lines=0
echo unlinked >&8
rm "$MNT/unlinked"
succeeds "a mode" "$CTL" mode "$MNT/open" writethrough
OPEN_MODE=$("$CTL" mode "$MNT/open" | head -n 1)
install_program "$TOOLS/takeover"
writer >"$WORK/writer.out" 2>&1 9>&- &
writer=$!

# ---- it goes back by itself ----
for place in $RETURNS; do
	comes_back "$place" "$COULD_NOT"
done
is "$(supervisor)" -eq "$daemon" "the supervisor is the process that it was"
is "$(grep -c 'this program took over and cannot serve: back to the one before' "$WORK/mnt.log")" -eq 7 "the log says so"
is "$(grep -c 'an upgrade failed: ' "$WORK/mnt.log")" -eq 3 "and what could not be received"

# ---- its worker has answered requests when it dies: what it opened stays open ----
echo serving >"$PROGRAM.place"
timeout 120 "$CTL" upgrade "$MNT" >"$WORK/upgrade.out" 2>&1 9>&- &
upgrade=$!
succeeds "its worker serves" soon test -e "$PROGRAM.serving"
worker=$(worker_pid "$MNT")
is "$(stat -Lc %i "/proc/$worker/exe")" -eq "$(stat -c %i "$PROGRAM")" "which is the new program's"
exec 6<>"$MNT/during"
echo during >&6
mkdir "$MNT/dir"
touch "$PROGRAM.die"
wait "$upgrade" && status=0 || status=$?
is "$status:$(grep -c "$COULD_NOT" "$WORK/upgrade.out")" = 2:1 "it dies: exit status and reason"
is "$(stat -Lc %i "/proc/$(supervisor)/exe")" -eq "$OLD_PROGRAM" "the program before serves"
echo after >&6
is "$(cat "$MNT/during")" = "$(printf 'during\nafter')" "what was opened meanwhile is open"
is "$(stat -c %F "$MNT/dir")" = directory "what was made meanwhile is there"
succeeds "and so is all else" keeps
exec 6>&-

# ---- nobody is left to go back ----
for place in $DEATHS; do
	comes_back "$place" "$ENDED"
	sed -i '$d' "$WORK/daemons"
	echo "$(supervisor) $MNT" >>"$WORK/daemons"
done
is "$(grep -c 'the program that took over ended at once: the one before goes on' "$WORK/mnt.log")" -eq 3 "the log says so"
is "$(grep -c 'the program that took over hung and was ended: the one before goes on' "$WORK/mnt.log")" -eq 1 "and that"
touch "$WORK/stop"
succeeds "the client has seen no error" wait "$writer"
grep ^ioclient: "$WORK/writer.out" | while read -r line; do diag "$line"; done

# ---- it leaves nothing behind ----
soon has_opens written 0
before=$(descriptors "$MNT")
for place in version worker-dies exit; do
	echo $place >"$PROGRAM.place"
	timeout 120 "$CTL" upgrade "$MNT" >/dev/null 2>&1
done
sed -i '$d' "$WORK/daemons"
echo "$(supervisor) $MNT" >>"$WORK/daemons"
same_descriptors() { [ "$(descriptors "$MNT")" -eq "$before" ]; }
succeeds "and no descriptor is left behind ($before)" soon same_descriptors
is "$(ps -o pid= --ppid "$(supervisor)" | wc -l)" -eq 1 "nor a process"

# ---- one that works ----
echo none >"$PROGRAM.place"
succeeds "an upgrade to one that works" "$CTL" upgrade "$MNT"
is "$(status_of .upgrades)" -eq 1 "is counted"
is "$(stat -Lc %i "/proc/$(supervisor)/exe")" -eq "$(stat -c %i "$PROGRAM")" "and serves"
succeeds "with what is open" keeps
is "$(ps -o pid= --ppid "$(supervisor)" | wc -l)" -eq 1 "alone"
exec 7>&- 8>&-
succeeds "unmounts, the supervisor ends" ends
