#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A signal that comes in the middle of an upgrade is not lost, and counts once: told to end, the mount is
# flushed and ends; told to reload, the rules are read again. Whether the new program takes over or goes
# back, and without an upgrade where a worker is killed; but a reload that kills whoever does it is given up.
# test/lib/takeover sends the signal, or dies, at the place that is named.

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/recover.sh"
need_root
need_fuse
need_commands jq
need_tools pagestat takeover
CTL=$top_builddir/cachefsctl

# PLACE:the program that serves in the end
ENDINGS="term int worker-term drained-term drained-self-term taken-term"
RELOADS="hup:new worker-hup:old drained-hup:new drained-self-hup:new taken-hup:new"

install_program() { cp "$1" "$PROGRAM.new" && mv "$PROGRAM.new" "$PROGRAM"; }
mode_of() { "$CTL" mode "$1" | head -n 1; }
reloaded() { grep -c 'read 1 rules again' "$WORK/mnt.log"; }
reloaded_once() { [ "$(reloaded)" -eq 1 ]; }
reloaded_twice() { [ "$(reloaded)" -eq 2 ]; }
program_of() {
	case $(stat -Lc %i "/proc/$(daemon_pid "$MNT")/exe") in
	"$OLD_PROGRAM") echo old ;;
	"$NEW_PROGRAM") echo new ;;
	esac
}

# begin PLACE: a mount of the program before, which is takeover as well where the place is in that one
begin() {
	rm -f "$PROGRAM.place" "$PROGRAM.taken" "$WORK/mnt.log"
	case $1 in
	drained-* | taken-* | dies-*) install_program "$TOOLS/takeover" ;;
	*) install_program "$installed" ;;
	esac
	OLD_PROGRAM=$(stat -c %i "$PROGRAM")
	BACK=$WORK/back.$1
	mkdir "$BACK"
	echo '*.img writethrough' >"$WORK/rules"
	must_mount "$BACK" "$MNT" "cache=unsafe,kernel-path=never,rules=$WORK/rules"
	[ $tap_planned -gt 0 ] || { need_recover "$MNT"; plan $((5 * $(wc -w <<<"$ENDINGS $RELOADS") + 15)); }
	install_program "$TOOLS/takeover"
	NEW_PROGRAM=$(stat -c %i "$PROGRAM")
	echo image >"$MNT/x.img"
	echo "$1" >"$PROGRAM.place"
}

# What others sync on the same backing filesystem may take it along.
dirtied() {
	dd if=/dev/zero of="$MNT/data" bs=64k count=16 conv=notrunc status=none
	[ "$(dirty "$BACK/data")" -gt 0 ]
}

# To the worker, where the place is the moment in which it has taken a signal.
send_signal() {
	[[ $1 == taken-* ]] || return 0
	kill -"${1#taken-}" "$(worker_pid "$MNT")"
	soon test -e "$PROGRAM.taken"
}

# Under unsafe nobody flushes but the end. 5 checks
ending() {
	local daemon

	begin "$1"
	daemon=$(daemon_pid "$MNT")
	succeeds "$1: there is something to flush" soon dirtied
	send_signal "$1"
	timeout 120 "$CTL" upgrade "$MNT" >"$WORK/upgrade.out" 2>&1
	succeeds "$1: the supervisor ends" wait_end "$daemon" 60
	wait "$daemon" && status=0 || status=$?
	is "$status" -eq 0 "$1: with status 0"
	is "$(dirty "$BACK/data")" -eq 0 "$1: all is flushed"
	is "$(fuse_mounted "$MNT" && echo mounted)" = "" "$1: and nothing is mounted"
	sed -i "/^$daemon /d" "$WORK/daemons"
}

# read_once NAME: what came before counts, and nothing more is on its way when the next one comes. 4 checks
read_once() {
	succeeds "$1: the rules are read again" soon reloaded_once
	is "$(mode_of "$MNT/x.img")" = "directsync (rule)" "$1: and count"
	rm -f "$PROGRAM.place"
	echo '*.img none' >"$WORK/rules"
	kill -HUP "$(daemon_pid "$MNT")"
	succeeds "$1: the next time as well" soon reloaded_twice
	succeeds "$1: unmounts, the supervisor ends" umount_cachefs "$MNT"
}

# 5 checks
reload() {
	begin "$1"
	echo '*.img directsync' >"$WORK/rules"
	send_signal "$1"
	timeout 120 "$CTL" upgrade "$MNT" >"$WORK/upgrade.out" 2>&1
	is "$(program_of)" = "$2" "$1: the $2 program serves"
	read_once "$1"
}

# The worker was told, and does not live to do it. 5 checks
killed_before_reload() {
	local worker

	begin killed
	echo '*.img directsync' >"$WORK/rules"
	worker=$(worker_pid "$MNT")
	stop_process "$worker"
	kill -HUP "$(daemon_pid "$MNT")"
	is_told() { awk '/^ShdPnd/ { exit $2 !~ /[13579bdf]$/ }' "/proc/$worker/status"; }
	succeeds "killed: a worker has been told" soon is_told
	kill -KILL "$worker"
	read_once killed
}

given_up() { grep -c 'the rules stay as they were: 4 processes in a row died' "$WORK/mnt.log"; }
was_given_up() { [ "$(given_up)" -gt 0 ]; }

# Whoever does it dies: the worker that was asked, and each successor. 10 checks
deadly_reload() {
	begin dies-reloading
	echo '*.img directsync' >"$WORK/rules"
	kill -HUP "$(daemon_pid "$MNT")"
	succeeds "deadly: a reload is given up" soon was_given_up
	is "$(status_field "$MNT" worker_restarts)" -eq 4 "deadly: after three successors"
	is "$(mode_of "$MNT/x.img")" = "writethrough (rule)" "deadly: the rules are those that they were"
	is "$(given_up)" -eq 1 "deadly: the log says so, once"
	rm "$PROGRAM.place"
	succeeds "deadly: another one when a worker has served well" soon "$CTL" reload "$MNT"
	is "$(mode_of "$MNT/x.img")" = "directsync (rule)" "deadly: counts"
	echo dies-reloading >"$PROGRAM.place"
	output=$(timeout 120 "$CTL" reload "$MNT" 2>&1) && status=0 || status=$?
	is "$status:$(grep -c 'not reloaded: 4 processes in a row died' <<<"$output")" = 2:1 "deadly: one by cachefsctl is given up, too"
	is "$(status_field "$MNT" worker_restarts)" -eq 8 "deadly: after three more"
	is "$(mode_of "$MNT/x.img")" = "directsync (rule)" "deadly: and the mount goes on"
	succeeds "deadly: unmounts, the supervisor ends" umount_cachefs "$MNT"
}

ulimit -c 0
MNT=$WORK/mnt
mkdir "$WORK/bin"
PROGRAM=$WORK/bin/mount.cachefs
installed=$MOUNT_CACHEFS
MOUNT_CACHEFS=$PROGRAM
for place in $ENDINGS; do
	ending "$place"
done
for each in $RELOADS; do
	reload "${each%:*}" "${each#*:}"
done
killed_before_reload
deadly_reload
