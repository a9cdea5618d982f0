#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# cachefsctl top: batches for pipes; on a terminal keys, other sizes, and the terminal as it was on every way
# out.

. "$(dirname "$0")/../lib/lib.sh"
need_root
need_fuse
need_commands script stty pgrep
CTL=$top_builddir/cachefsctl
[ -x "$CTL" ] || bail_out "$CTL: not built; run make"

mkfifo "$WORK/keys"
exec {keys}<>"$WORK/keys" # so that there is no end of it, which is ^D, a key as well

# on_terminal COMMANDS [PATTERN ACTION]...: bash on a terminal of its own, 80x10; what it showed is in $WORK/shown.
# Each ACTION is for when PATTERN has been shown, after the ACTION before.
on_terminal() {
	local screen

	: >"$WORK/shown"
	SHELL=$BASH timeout 120 script -qfec "stty rows 10 cols 80; $1" /dev/null <"$WORK/keys" >"$WORK/shown" 2>&1 &
	screen=$!
	shift
	seen=0
	while [ $# -gt 0 ]; do
		soon shown "$1" || { diag "not shown: $1"; kill "$screen"; break; }
		seen=$(shown_bytes)
		eval "$2"
		shift 2
	done
	wait "$screen"
}

shown_bytes() { stat -c %s "$WORK/shown"; }
shown() { tail -c +$((seen + 1)) "$WORK/shown" | grep -Eq -e "$1"; }
key() { printf '%s' "$1" >&"$keys"; }

# A command on the terminal that can be killed from here.
as_noted() { echo "(echo \$BASHPID >$WORK/noted; exec $*)"; }
kill_noted() { kill "$(cat "$WORK/noted")"; }

# way_out TEXT WANT COMMAND PATTERN ACTION: the screen and the settings come back. 4 checks
way_out() {
	local status

	rm -f "$WORK/before" "$WORK/after"
	on_terminal "stty -g >$WORK/before; $3; echo status=\$?; stty -g >$WORK/after" "$4" "$5"
	status=$(sed -n 's/.*status=\([0-9]*\).*/\1/p' "$WORK/shown")
	is "$status" = "$2" "$1: exit status"
	is "$(cat "$WORK/after")" = "$(cat "$WORK/before")" "$1: the terminal is as it was"
	is "$(grep -o $'\033\\[?1049[hl]' "$WORK/shown" | tr -d '\033\n')" = '[?1049h[?1049l' \
		"$1: the screen comes back"
	is "$(grep -o $'\033\\[?25[hl]' "$WORK/shown" | tr -d '\033\n')" = '[?25l[?25h' "$1: and the cursor"
}

# The rate of the busy file, of a look at it that was not the first.
has_rate() { awk '$1 ~ /busy/ && int($4) > 10 { found = 1 } END { exit !found }' "$WORK/rates"; }

plan $((6 + 4 * 4 + 1 + 4 + 3 + 1))
BACK=$WORK/back
MNT=$WORK/mnt
mkdir "$BACK"
must_mount "$BACK" "$MNT" cache=unsafe,kernel-path=never
must_mount "$BACK" "$WORK/gone" cache=writeback # before the files: a daemon would keep them open
open=()
for ((i = 0; i < 20; i++)); do
	exec {fd}<>"$MNT/a-file-with-a-rather-long-name-so-that-it-must-be-cut-$i"
	open+=("$fd")
done
exec 7<>"$MNT/busy"
touch "$WORK/go"
(while [ -e "$WORK/go" ]; do dd if=/dev/zero bs=4k count=10 conv=notrunc status=none >&7; sleep 0.01; done) &
writer=$!

succeeds "batch" timeout 60 "$CTL" top -b -n 3 -d 0.3 "$MNT"
is "$(grep -c '^PATH' <<<"$output")" -eq 3 "as many tables as asked for"
is "$(grep -c $'\033' <<<"$output")" -eq 0 "no control sequences in it"
is "$(grep busy <<<"$output" | awk '{ print $4 }' | head -n 1)" = - "the first has no rates"
# its writer may rest for longer than the time between two looks
"$CTL" top -b -d 0.3 "$MNT" >"$WORK/rates" &
top=$!
succeeds "later ones have writes a second" soon has_rate
kill -KILL "$top" # a second SIGTERM, as timeout(1) sends it, can make a leak checker wait for itself for good
wait "$top" 2>/dev/null
# bash does not end by SIGPIPE here: head(1) leaves after a line
timeout 60 "$CTL" top -b -d 0.1 "$MNT" | head -n 1 >/dev/null
is "${PIPESTATUS[0]}" -eq 0 "a reader that leaves is an end like another"

way_out "q" 0 "$CTL top -d 1 $MNT" WRITTEN "key q"
way_out "SIGTERM" 0 "$(as_noted "$CTL top -d 1 $MNT")" WRITTEN kill_noted
way_out "SIGINT by ^C" 0 "$CTL top -d 1 $MNT" WRITTEN "key $'\003'"
way_out "a mount that goes" 2 "$CTL top -d 0.3 $WORK/gone" WRITTEN "umount -l $WORK/gone"
is "$(sed 's/.*\[?1049l//' "$WORK/shown" | grep -c "gone: cannot be opened: the mount is gone")" -eq 1 \
	"and the reason stays to be read"
# the keys
on_terminal "$CTL top -d 600 $MNT" 'WRITTEN/s\*' "key s" 'FLUSHES/s\*' "key s" 'DROPPED/s\*' "key r" \
	'DROPPED/s\*' "key q"
is "$(grep -o '[A-Z/]*[a-z]*\*' "$WORK/shown" | tr -d '\n')" = "WRITTEN/s*FLUSHES/s*DROPPED/s*DROPPED/s*" \
	"s sorts by the next column, r keeps it"
is "$(sed 's/\x1b\[[0-9;?]*[a-zA-Z]//g' "$WORK/shown" | tr -d '\r' | awk 'length > 80' | wc -l)" -eq 0 \
	"lines fit the terminal"
is "$(tr -d '\r' <"$WORK/shown" | awk '/top - /{ n = 0 } { n++ } n > 10' | wc -l)" -eq 0 "and so does their number"
wide='long-name-so-that-it-must-be-cut-1[^.]*unsafe'
on_terminal "tty >$WORK/noted; $CTL top -d 600 $MNT" WRITTEN 'stty -F "$(cat "$WORK/noted")" cols 200' "$wide" "key q"
is "$(grep -c "$wide" "$WORK/shown")" -gt 0 "another size is followed at once"
on_terminal "$CTL status $MNT"
is "$(grep -c $'\033\\[1mPATH' "$WORK/shown")" -eq 1 "status has colours on a terminal"
is "$(sed 's/\x1b\[[0-9;]*m//g' "$WORK/shown" | tr -d '\r' | awk '/^PATH/ { table = 1 } table && length > 80' | wc -l)" \
	-eq 0 "and its table fits"
on_terminal "NO_COLOR=1 $CTL status $MNT"
is "$(grep -c $'\033' "$WORK/shown")" -eq 0 "NO_COLOR takes them away"
rm "$WORK/go"
wait "$writer"
exec 7>&-
for fd in "${open[@]}"; do
	exec {fd}>&-
done
succeeds "unmounts, the daemon ends" umount_cachefs "$MNT"
