#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# cachefsctl's verbs against a mount, looked at from outside: what is dirty and cached in the backing, what
# the report says, and who may do what.

. "$(dirname "$0")/../lib/lib.sh"
need_root
need_fuse
need_commands setpriv jq
need_tools ioclient pagestat
CTL=$top_builddir/cachefsctl
[ -x "$CTL" ] || bail_out "$CTL: not built; run make"

OWNER=(setpriv --reuid 1000 --regid 1000 --clear-groups)
OTHER=(setpriv --reuid 1001 --regid 1001 --clear-groups)

# status_of WANT TEXT COMMAND...: the exit status; output in $output. 1 check
status_of() {
	local want=$1 text=$2 status

	shift 2
	output=$(timeout 60 "$@" 2>&1) && status=0 || status=$?
	is "$status: $output" = "$want: $output" "$text"
}

# field FILTER FILE: of the JSON of one file
field() {
	"$CTL" status --json "$2" | jq -r "$1"
}

# As the report has it, which opens no file.
opens_are() {
	[ "$(jq -r ".files[] | select(.path == \"$1\") | .opens" "$MNT/.cachefs/status.json")" = "$2" ]
}

write() {
	dd if=/dev/zero bs=64k count=16 conv=notrunc status=none >&7
}

# 13 checks
check_flush_and_status() {
	local filter

	exec 7<>"$MNT/a"
	write
	dd if=/dev/null conv=notrunc,fsync status=none >&7
	is "$(field .dirty_bytes "$MNT/a")" -eq 1048576 "unsafe: what was written is dirty, and the status knows"
	is "$(field '.switches | "\(.direct) \(.writeback) \(.no_flush)"' "$MNT/a")" = "false true true" \
		"with its switches"
	is "$(field .flushes_dropped "$MNT/a")" -eq 1 "and the flush that was dropped"
	is "$(field '.clients[0].opened_by_pid' "$MNT/a")" -eq $$ "and who has it open"
	is "$(field '.clients[0].flags' "$MNT/a")" = O_RDWR "and how"
	soon opens_are a 1
	# our own open is counted in opens_total
	filter='del(.path, .opens_total, .clients[].comm)'
	is "$("$CTL" status --json "$MNT" | jq -cS ".files[] | select(.path == \"a\") | $filter")" = \
		"$("$CTL" status --json "$MNT/a" | jq -cS "$filter")" "it is what the report has, field for field"
	soon opens_are a 1
	status_of 0 "table" "$CTL" status "$MNT"
	is "$(awk '$1 == "a" { print $2, $3, $4, $7, $8 }' <<<"$output")" = "unsafe mount 1 1.0 MiB" \
		"the table has it in a line"
	is "$(grep -c $'\033' <<<"$output")" -eq 0 "without colours where there is no terminal"
	status_of 0 "flush" "$CTL" flush "$MNT/a"
	is "$(dirty "$BACK/a")" -eq 0 "a real flush, in unsafe too"
	write
	status_of 0 "flush of the mount" "$CTL" flush "$MNT"
	is "$(dirty "$BACK/a")" -eq 0 "flushes all files"
	exec 7>&-
}

# 16 checks
check_mode() {
	exec 7<>"$MNT/a"
	write
	status_of 0 "mode, shown" "$CTL" mode "$MNT/a"
	is "$output" = "unsafe (mount)" "where it comes from"
	status_of 0 "mode writethrough" "$CTL" mode "$MNT/a" writethrough
	is "$output" = "writethrough (runtime)" "says what is in force"
	is "$(dirty "$BACK/a")" -eq 0 "and what was written before is on stable storage"
	status_of 0 "mode none" "$CTL" mode "$MNT/a" none,cache.no-flush=on
	is "$output" = "cache.direct=on,cache.writeback=on,cache.no-flush=on (runtime)" "switches have no name"
	is "$(cached "$BACK/a")" -eq 0 "and nothing is cached"
	status_of 0 "mode --persist" "$CTL" mode "$MNT/a" directsync --persist
	is "$output" = "directsync (stored)" "stored, and nothing of run time any more"
	status_of 0 "mode --persist --clear" "$CTL" mode "$MNT/a" --persist --clear
	is "$output" = "unsafe (mount)" "the mount's again"
	status_of 0 "mode of the mount" "$CTL" mode "$MNT" writeback
	is "$output,$("$CTL" mode "$MNT/a")" = "writeback (mount),writeback (mount)" "which its files follow"
	"$CTL" mode "$MNT" unsafe >/dev/null
	status_of 2 "which is not stored" "$CTL" mode "$MNT" none --persist
	status_of 2 "nor cleared" "$CTL" mode "$MNT" --clear
	exec 7>&-
}

# 8 checks
check_handoff() {
	"$TOOLS/ioclient" -m plain -s 1M "$MNT/a" >/dev/null
	is "$(dirty "$BACK/a")" -gt 0 "before: dirty"
	soon is_closed a
	status_of 0 "handoff" "$CTL" handoff "$MNT/a"
	is "$output" = "$MNT/a: flushed; nothing cached" "says so"
	is "$(cached "$BACK/a"):$(dirty "$BACK/a")" = 0:0 "and it is so"
	# a program that runs is mapped
	cp "$(command -v sleep)" "$MNT/program"
	"$CTL" handoff "$MNT/program" >/dev/null
	soon is_closed program # or the text is busy
	"$BACK/program" 600 &
	soon sleeps $! "$BACK/program"
	status_of 3 "handoff of what is mapped" "$CTL" handoff "$MNT/program" "$MNT/a"
	is "$(grep -c 'program: flushed, but left: .* KiB cached' <<<"$output")" -eq 1 "says what is left"
	is "$(grep -c 'mapped or locked in memory' <<<"$output")" -eq 1 "and why"
	is "$(grep -c "$MNT/a: flushed; nothing cached" <<<"$output")" -eq 1 "the others are handed off"
	kill $!
	wait $! 2>/dev/null
}

# 7 checks
check_reload() {
	status_of 0 "reload" "$CTL" reload "$MNT"
	is "$output" = "$MNT: 1 rules; 0 open files switched" "counts the rules"
	exec 7<>"$MNT/x.rule"
	echo '*.rule directsync' >"$WORK/rules"
	status_of 0 "reload with another rule" "$CTL" reload "$MNT"
	is "$output,$("$CTL" mode "$MNT/x.rule")" = \
		"$MNT: 1 rules; 1 open files switched,directsync (rule)" "an open file follows"
	echo '*.rule directsink' >"$WORK/rules"
	status_of 2 "reload with an error" "$CTL" reload "$MNT"
	is "$(grep -Ec "rules:1:8: " <<<"$output")" -eq 1 "names file, line and column"
	is "$("$CTL" mode "$MNT/x.rule")" = "directsync (rule)" "and nothing has changed"
	exec 7>&-
}

# 15 checks
check_rights() {
	local verb

	echo data >"$MNT/theirs"
	chown 1000:1000 "$MNT/theirs"
	chmod 644 "$MNT/theirs"
	status_of 0 "owner: status" "${OWNER[@]}" "$CTL" status "$MNT/theirs"
	status_of 0 "owner: mode" "${OWNER[@]}" "$CTL" mode "$MNT/theirs" none
	status_of 0 "owner: mode --persist" "${OWNER[@]}" "$CTL" mode "$MNT/theirs" none --persist
	status_of 0 "owner: flush" "${OWNER[@]}" "$CTL" flush "$MNT/theirs"
	status_of 0 "owner: handoff" "${OWNER[@]}" "$CTL" handoff "$MNT/theirs"
	status_of 0 "owner: doctor" "${OWNER[@]}" "$CTL" doctor "$MNT/theirs"
	status_of 0 "another: mode, shown" "${OTHER[@]}" "$CTL" mode "$MNT/theirs"
	status_of 3 "another: mode" "${OTHER[@]}" "$CTL" mode "$MNT/theirs" unsafe
	status_of 3 "another: flush" "${OTHER[@]}" "$CTL" flush "$MNT/theirs"
	status_of 3 "another: handoff" "${OTHER[@]}" "$CTL" handoff "$MNT/theirs"
	for verb in status doctor reload "top -b" flush; do
		# shellcheck disable=SC2086
		status_of 3 "the mount is not theirs: $verb" "${OWNER[@]}" "$CTL" $verb "$MNT"
	done
}

settled() { [[ $("$CTL" mode "$MNT/a") != *pending* ]]; }

# On the kernel path an open file cannot follow into a direct mode. 6 checks
check_pending() {
	umount_cachefs "$MNT"
	must_mount "$BACK" "$MNT" cache=writeback
	exec 7<>"$MNT/a"
	if [ "$(field .kernel_path "$MNT/a")" != true ]; then
		exec 7>&-
		skip 6 "the kernel path is not possible here"
		return
	fi
	status_of 3 "a mode that an open file cannot follow into" "$CTL" mode "$MNT/a" none
	is "$(head -n 1 <<<"$output")" = "writeback (mount)" "what is in force"
	is "$(grep -c '^pending: none (runtime)' <<<"$output")" -eq 1 "what is pending"
	is "$(grep -c "process $$ (.*) O_RDWR, on the kernel path" <<<"$output")" -eq 1 "and who has it open"
	exec 6<>"$MNT/another" # which has the mount's mode
	status_of 3 "a mount's mode is refused" "$CTL" mode "$MNT" none
	exec 7>&- 6>&-
	soon settled # a close is answered before what follows from it is done
	is "$("$CTL" mode "$MNT/a")" = "none (runtime)" "it comes when the file is closed"
}

plan $((13 + 16 + 8 + 7 + 15 + 6 + 1))
make_fs ext4 64M
chmod 755 "$BACK"
MNT=$WORK/mnt
allocate "$BACK/a" 1M
echo x >"$BACK/x.rule"
echo '*.rule writeback' >"$WORK/rules"
must_mount "$BACK" "$MNT" "cache=unsafe,kernel-path=never,on-close=none,rules=$WORK/rules"
check_flush_and_status
check_mode
check_handoff
check_reload
check_rights
check_pending
succeeds "unmounts, the daemon ends" umount_cachefs "$MNT"
