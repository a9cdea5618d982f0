#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Reports of many open files, under load: complete and valid, however often they are read. How long
# that takes is shown, not judged.

. "$(dirname "$0")/../lib/lib.sh"
. "$top_srcdir/test/lib/report.sh"
need_root
need_fuse
need_commands "$PYTHON" fio
MNT=$WORK/mnt
BACK=$WORK/back
FILES=500
SECONDS_EACH=$((${CACHEFS_LONG:-0} == 1 ? 15 : 3))
PAIRS=$((${CACHEFS_LONG:-0} == 1 ? 5 : 1))
mkdir "$BACK"

# load: fio's and the daemon's processor time for each read and write, in microseconds
load() {
	local before after

	before=$(daemon_ticks)
	timeout 120 fio --name=load --directory="$MNT" --size=16M --rw=randrw --bs=4k --ioengine=psync \
		--time_based --runtime="$SECONDS_EACH" --numjobs=2 --group_reporting --output-format=json \
		>"$WORK/fio.json" 2>"$WORK/fio.err" || return 1
	after=$(daemon_ticks)
	"$PYTHON" - "$WORK/fio.json" $((after - before)) <<-'END'
		import json, os, sys
		j = json.load(open(sys.argv[1]))["jobs"][0]
		ops = j["read"]["total_ios"] + j["write"]["total_ios"]
		own = (j["usr_cpu"] + j["sys_cpu"]) / 100 * j["job_runtime"] / 1e3
		daemon = int(sys.argv[2]) / os.sysconf("SC_CLK_TCK")
		print("%.2f us of processor time each, %d reads and writes" % ((own + daemon) / ops * 1e6, ops))
	END
}

daemon_ticks() {
	awk '{ print $14 + $15 }' "/proc/$(server_pid "$MNT")/stat"
}

# Ten times a second until told to stop; its reports must be complete.
watch() {
	"$PYTHON" - "$MNT" $FILES "$WORK/stop" <<-'END'
		import json, os, sys, time
		mnt, files, stop = sys.argv[1], int(sys.argv[2]), sys.argv[3]
		times = []
		while not os.path.exists(stop):
		    start = time.time()
		    with open(mnt + "/.cachefs/status.json", "rb") as f:
		        opened, text = time.time(), f.read()
		    times.append(opened - start)
		    many = sum(f["path"].startswith("many") for f in json.loads(text)["files"])
		    assert many == files, many
		    time.sleep(max(0, 0.1 - (time.time() - start)))
		times.sort()
		print("status.json of %d and more files, %d times: %.1f ms at the median, %.1f at most"
		      % (files, len(times), times[len(times) // 2] * 1e3, times[-1] * 1e3))
	END
}

plan $((6 + 3 * PAIRS))
must_mount "$BACK" "$MNT" "cache=unsafe,kernel-path=never"
hold many "$MNT" $FILES
is "$(report names "$MNT" 2>&1)" = $FILES "every field of $FILES files"
status=0
output=$(report metrics "$MNT" 2>&1) || status=$?
if [ $status -eq 77 ]; then
	skip 1 "$output (package python3-prometheus-client)"
else
	is $status -eq 0 "metrics of as many are valid, and the same"
	diag "$output"
fi
for ((pair = 0; pair < PAIRS; pair++)); do
	succeeds "fio, alone" load
	diag "$output"
	rm -f "$WORK/stop"
	watch >"$WORK/watch.out" 2>&1 &
	watcher=$!
	succeeds "fio, status.json read ten times a second" load
	diag "$output"
	touch "$WORK/stop"
	succeeds "each of these was complete" wait $watcher
	diag "$(cat "$WORK/watch.out")"
done
succeeds "all are there under load" report storm "$MNT" 3
let_go
soon all_closed
is "$(report names "$MNT" 2>&1)" = 0 "all closed: none"
is "$(get 't["opens_total"]')" -ge $FILES "all counted"
succeeds "unmounts, the daemon ends" umount_cachefs "$MNT"
