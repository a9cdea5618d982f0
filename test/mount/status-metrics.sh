#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The metrics as an OpenMetrics parser reads them: valid, and the same as status.json.

. "$(dirname "$0")/../lib/lib.sh"
. "$top_srcdir/test/lib/report.sh"
need_root
need_fuse
kernel_path always && skip_all "counts what the daemon serves, and kernel-path=always was asked for"
need_commands "$PYTHON"
need_tools ioclient
"$PYTHON" -c 'import prometheus_client.openmetrics.parser' 2>/dev/null ||
	skip_all "no Python module prometheus_client (package python3-prometheus-client)"
MNT=$WORK/mnt
BACK=$WORK/back
mkdir "$BACK"

sample() {
	report sample "$MNT" "$@" 2>&1
}

plan $((5 * 7 + 5))
for mode in $MODES; do
	must_mount "$BACK" "$MNT" "cache=$mode,kernel-path=never"
	succeeds "$mode: valid without files" report metrics "$MNT"
	exec 9<>"$MNT/f"
	succeeds "$mode: writes and flushes" "$TOOLS/ioclient" -m plain -s 64k -b 1000 -F fsync -e 8 "$MNT/f"
	succeeds "$mode: reads" "$TOOLS/ioclient" -m plain -s 64k -b 1000 -r "$MNT/f"
	succeeds "$mode: valid, and the same as status.json" report metrics "$MNT"
	dropped=$(sample cachefs_file_flushes_dropped_total f)
	honoured=$(sample cachefs_file_flushes_honoured_total f)
	if [ "$mode" = unsafe ]; then
		is "$honoured $dropped" = "0 8" "$mode: flushes are dropped"
	else
		is "$honoured $dropped" = "8 0" "$mode: flushes are honoured"
	fi
	exec 9>&-
	is "$(sample cachefs_mount_flushes_received_total)" = 8 "$mode: of closed files as well"
	succeeds "$mode: unmounts, the daemon ends" umount_cachefs "$MNT"
done

# Paths that would break a line or a label, and two files of one name.
must_mount "$BACK" "$MNT" "cache=writeback"
for name in $'a\nb' 'q"uo\te' $'latin\xfc' 'sp ace' '{}' $'tab\t' '#' 'comma,=' $'\r'; do
	echo x >"$MNT/$name"
done
exec 8>"$MNT/same"
rm "$MNT/same"
exec 7>"$MNT/same"
hold every "$MNT"
succeeds "any name, and two files of one name" timeout 60 "$PYTHON" -c 'import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
families = list(parse(open(sys.argv[1] + "/.cachefs/metrics", newline="").read()))
paths = [s.labels["path"] for f in families for s in f.samples if s.name == "cachefs_file_info"]
for p in ("a\nb", "q\"uo\\te", "latin\\xfc", "sp ace", "{}", "tab\\x09", "#", "comma,=", "\\x0d"):
    assert paths.count(p) == 1, (p, paths)
assert paths.count("same") == 2, paths
units = {f.name: f.unit for f in families}
assert units["cachefs_file_write_seconds"] == "seconds" and units["cachefs_file_size_bytes"] == "bytes"
assert all(f.documentation for f in families)' "$MNT"
let_go
exec 8>&- 7>&-
soon all_closed
succeeds "a mode without a name" "$MOUNT_CACHEFS" "$BACK" "$MNT" -o remount,cache=writeback,cache.direct=on,cache.no-flush=on
exec 9<>"$MNT/f"
is "$(grep -c '^cachefs_file_info.*mode="cache.direct=on,cache.writeback=on,cache.no-flush=on"} 1$' \
	"$MNT/.cachefs/metrics")" -eq 1 "is shown by its switches"
succeeds "and is valid" report metrics "$MNT"
exec 9>&-
succeeds "unmounts, the daemon ends" umount_cachefs "$MNT"
