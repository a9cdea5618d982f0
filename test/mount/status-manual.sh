#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The manual's lists of what the reports have, against the reports of a mount: neither has a name that the
# other lacks.

. "$(dirname "$0")/../lib/lib.sh"
. "$top_srcdir/test/lib/report.sh"
need_root
need_fuse
need_commands "$PYTHON"
MNT=$WORK/mnt
BACK=$WORK/back
mkdir "$BACK"

# tags SECTION: the names that a subsection of the manual explains.
tags() {
	sed 's/\\-/-/g' "$top_srcdir/doc/mount.cachefs.8" | awk -v want=".SS $1" '
		/^\.S[SH] / { on = $0 == want; next }
		on && tag { gsub(/^\.BR? |[",]/, ""); gsub(/ +/, "\n"); print }
		{ tag = /^\.TP/ }' | sort -u
}

# keys EXPR: the names of an object of status.json.
keys() {
	get "$1" | "$PYTHON" -c 'import json, sys; print("\n".join(json.load(sys.stdin)))' | sort -u
}

# same TEXT MANUAL REPORT: what stands in one of them alone.
same() {
	local differs
	differs=$(comm -3 <(echo "$2") <(echo "$3") | tr -s '\t\n' '  ')
	is "$(wc -w <<<"$2") names, differs:$differs" = "$(wc -w <<<"$3") names, differs:" "$1"
}

# samples PREFIX: the names of metrics behind it; of a histogram, that of the histogram.
samples() {
	local name
	awk -v p="$1" 'index($1, p) == 1 { print substr($1, length(p) + 1) }' "$WORK/metrics" |
		sed 's/{.*//' | sort -u | while read -r name; do
		case $name in
		*_seconds_bucket | *_seconds_count | *_seconds_sum) echo "${name%_*}" ;;
		*) echo "$name" ;;
		esac
	done | sort -u
}

plan 8
must_mount "$BACK" "$MNT" "cache=writeback,kernel-path=never"
# A file that has been read, written and flushed has all histograms.
exec 9<>"$MNT/f"
succeeds "a file is written, flushed and read" eval \
	'dd if=/dev/zero of="$MNT/f" bs=4k count=1 conv=fsync,notrunc && cat "$MNT/f" >"$WORK/f"'
cat "$MNT/.cachefs/metrics" >"$WORK/metrics"

counters=$(tags "status.json: counters")
same "the mount" "$(tags "status.json: the mount")" "$(keys s)"
same "its total" "$counters" "$(keys 's["total"]')"
same "a file" "$({ tags "status.json: a file"; echo "$counters"; } | sort -u)" "$(keys 'f("f")')"
same "a client" "$(tags "status.json: a client")" "$(keys 'f("f")["clients"][0]')"
same "metrics of the mount" "$(tags metrics | grep -E '^info$|_total$|^(read|write|flush)_seconds$')" \
	"$(samples cachefs_mount_)"
same "metrics of a file" "$(tags metrics | grep -vE '^(worker_restarts|upgrades|requests_resent)_total$')" \
	"$(samples cachefs_file_)"
exec 9>&-
succeeds "unmounts, the daemon ends" umount_cachefs "$MNT"
