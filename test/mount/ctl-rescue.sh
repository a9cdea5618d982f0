#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# cachefsctl trust and rollback, and what the other verbs say of a file that may have lost data. The host does
# not go down here: the daemon is killed, and the crash marker gets the boot id of another boot.

. "$(dirname "$0")/../lib/lib.sh"
LAST_CLOSE=
need_root
need_fuse
need_commands setpriv jq script
CTL=$top_builddir/cachefsctl
[ -x "$CTL" ] || bail_out "$CTL: not built; run make"

OWNER=(setpriv --reuid 1000 --regid 1000 --clear-groups)
OTHER=(setpriv --reuid 1001 --regid 1001 --clear-groups)
TRUSTED="trusted as it is"

# status_of WANT TEXT COMMAND...: the exit status; output in $output. 1 check
status_of() {
	local want=$1 text=$2 status

	shift 2
	output=$(timeout 60 "$@" 2>&1) && status=0 || status=$?
	is "$status: $output" = "$want: $output" "$text"
}

# says REGEX TEXT: one line of $output does. 1 check
says() {
	is "$(grep -Ec -- "$1" <<<"$output"): $output" = "1: $output" "$2"
}

has_checkpoint() {
	[ "$("$CTL" status --json "$1" | jq .checkpoint_age_s)" -ge 0 ] 2>/dev/null
}

# The daemon dies, and the marker is that of another boot.
crash() {
	local pid

	pid=$(daemon_pid "$MNT")
	kill_all "$pid"
	wait "$pid" 2>/dev/null
	umount -l "$MNT"
	sed -i 's/^boot [^ ]*/boot 00000000-0000-4000-8000-000000000000/' "$BACK/.cachefs/crash-marker" ||
		bail_out "no crash marker"
}

# opens FILE: "yes", or why it cannot be opened
opens() {
	local why

	why=$(cat "$1" 2>&1 >/dev/null) && echo yes || echo "${why##*: }"
}

# $MNT/vm/img with a checkpoint of "good", written over with "harmed"; files that have none; then the crash.
prepare() {
	local name

	mkdir "$BACK/vm"
	chmod 755 "$BACK/vm"
	for name in none linked theirs other/names; do
		mkdir -p "$(dirname "$BACK/vm/$name")"
		echo "$name" >"$BACK/vm/$name"
	done
	ln -s vm/img "$BACK/link"
	chown 1000:1000 "$BACK/vm/theirs"
	# files born after the marker was seen are not concerned, and times have a coarse clock
	sleep 0.1
	must_mount "$BACK" "$MNT" cache=unsafe,checkpoint=1
	exec 7<>"$MNT/vm/img" 8<>"$MNT/vm/linked"
	echo good >&7
	echo good >&8
	soon has_checkpoint "$MNT/vm/img" && soon has_checkpoint "$MNT/vm/linked" ||
		bail_out "no checkpoint is taken"
	"$MOUNT_CACHEFS" "$BACK" "$MNT" -o remount,checkpoint=0 || bail_out "no remount"
	echo harmed >&7
	crash
	exec 7>&- 8>&-
	ln "$BACK/vm/linked" "$BACK/second"
	chown 1000:1000 "$BACK/vm/img"
	must_mount "$BACK" "$MNT" cache=unsafe
}

# 13 checks
check_tainted() {
	is "$(opens "$MNT/vm/img")" = "Structure needs cleaning" "after the crash a file cannot be opened"
	status_of 0 "its status can be seen" "$CTL" status "$MNT/vm/img"
	says '^tainted +yes$' "it says tainted"
	says '^mode +unsafe' "and the mode"
	says '^size +12 B$' "and the size"
	says 'cachefsctl rollback .*cachefsctl trust' "and what can be done"
	is "$("$CTL" status --json "$MNT/vm/img" | jq -c '[.tainted, .opens, .mode]')" = '[true,null,"unsafe"]' \
		"in JSON what is not known is null"
	status_of 2 "flush" "$CTL" flush "$MNT/vm/img"
	says 'img: cannot be opened: .*cachefsctl rollback.*cachefsctl trust' "says what can be done"
	is "$(wc -l <<<"$output")" -eq 1 "in one line"
	status_of 2 "handoff" "$CTL" handoff "$MNT/vm/img"
	status_of 2 "top" "$CTL" top -bn1 "$MNT/vm/img"
	status_of 0 "status of the mount" "$CTL" status "$MNT"
}

# 16 checks
check_rollback() {
	local kept

	status_of 0 "rollback --dry-run" "$CTL" rollback --dry-run "$MNT/vm/img"
	says 'vm/img: can be put back to its checkpoint of 2[0-9-]{9} [0-9:]{8} [+-][0-9]{4} \([0-9]+ [a-z]+ ago\)' \
		"says of when it is"
	says 'vm/img: the checkpoint takes [0-9.]+ ?[KMGi]*B? ?that the file does not share' "and what it takes"
	is "$(opens "$MNT/vm/img"),$(cat "$BACK/vm/img"),$(find "$BACK" -name '*.tainted-*')" = \
		"Structure needs cleaning,good
harmed," "and changes nothing"
	status_of 0 "the time is local time" env TZ=UTC-5:30 "$CTL" rollback --dry-run "$MNT/vm/img"
	says ' \+0530 ' "with its offset"
	status_of 3 "another may not" "${OTHER[@]}" "$CTL" rollback "$MNT/vm/img"
	status_of 3 "a file with two names" "$CTL" rollback "$MNT/vm/linked"
	says 'other names' "says why not"
	status_of 2 "a file without a checkpoint" "$CTL" rollback "$MNT/vm/none"
	says 'no checkpoint of it' "says so"
	status_of 0 "rollback by its owner, and by a symbolic link" "${OWNER[@]}" "$CTL" rollback "$MNT/link"
	kept=$(sed -n 's/.* the file that was there is //p' <<<"$output")
	is "$(cat "$MNT/vm/img")" = good "it is what it was at the checkpoint, and can be opened"
	is "$(dirname "$kept"),$(cat "$BACK/vm/${kept##*/}")" = "$MNT/vm,good
harmed" "what was there is where it says"
	exec 7<"$MNT/vm/img"
	status_of 3 "while it is open" "$CTL" rollback "$MNT/vm/img"
	says 'is open' "says why not"
	exec 7>&-
}

# 13 checks
check_trust() {
	status_of 3 "trust: another may not" "${OTHER[@]}" "$CTL" trust "$MNT/vm/theirs"
	is "$(opens "$MNT/vm/theirs")" = "Structure needs cleaning" "and nothing has changed"
	status_of 0 "its owner may" "${OWNER[@]}" "$CTL" trust "$MNT/vm/theirs"
	is "$output" = "$MNT/vm/theirs: $TRUSTED" "says so"
	is "$(opens "$MNT/vm/theirs"),$(opens "$MNT/vm/none")" = "yes,Structure needs cleaning" \
		"this one can be opened, others not"
	cd "$MNT/vm/other" || bail_out "no directory"
	status_of 0 "a relative name" "$CTL" trust names
	is "$(opens names),$(opens ../none)" = "yes,Structure needs cleaning" "is the file of that name here"
	cd /
	status_of 3 "the mount is not an owner's" "${OWNER[@]}" "$CTL" trust "$MNT"
	status_of 2 "a directory of it is no mount" "$CTL" trust "$MNT/vm"
	status_of 0 "the mount" script -qec "'$CTL' trust '$MNT'" /dev/null </dev/null
	says 'all files of the mount are trusted as they are' "is trusted without a question"
	is "$(opens "$MNT/vm/none"),$(opens "$MNT/vm/linked")" = yes,yes "all can be opened"
	is "$(grep -s '^boot 0000' "$BACK/.cachefs/crash-marker")" = "" "and the marker has no other boot"
}

# 8 checks
check_wrong() {
	local verb

	mkfifo "$MNT/fifo"
	for verb in trust rollback; do
		status_of 2 "$verb: no such file" "$CTL" $verb "$MNT/nosuch"
		status_of 2 "$verb: a fifo" "$CTL" $verb "$MNT/fifo"
		status_of 2 "$verb: the backing file itself" "$CTL" $verb "$BACK/vm/none"
		says 'not on a cachefs mount' "$verb: says so"
	done
}

# A file alone mounted elsewhere has no directory there to ask. 3 checks
check_bind() {
	touch "$WORK/alone"
	mount --bind "$MNT/vm/none" "$WORK/alone"
	status_of 2 "a file that is mounted alone" "$CTL" trust "$WORK/alone"
	is "$(wc -l <<<"$output")" -eq 1 "is complained of in one line"
	says "alone: " "by its name"
	umount "$WORK/alone"
}

plan $((13 + 16 + 13 + 8 + 3 + 1))
make_fs xfs 320M
chmod 755 "$BACK"
MNT=$WORK/mnt
prepare
check_tainted
check_rollback
check_trust
check_wrong
check_bind
succeeds "unmounts, the daemon ends" umount_cachefs "$MNT"
