#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# status.json: every field, against what the test itself did or sees from outside.

. "$(dirname "$0")/../lib/lib.sh"
. "$top_srcdir/test/lib/kpath.sh"
. "$top_srcdir/test/lib/report.sh"
need_root
need_fuse
kernel_path always && skip_all "counts what the daemon serves, and kernel-path=always was asked for"
need_commands "$PYTHON"
need_tools ioclient pagestat kpath

# is_of EXPR WANT TEXT
is_of() {
	is "$(get "$1")" = "$2" "$3"
}

# is_soon EXPR WANT TEXT: the daemon learns of a close(2) after it has returned (RELEASE).
is_soon() {
	soon gives "$1" "$2"
	is_of "$@"
}
gives() { [ "$(get "$1")" = "$2" ]; }

# bytes KIND FILE: as pagestat sees them.
bytes() {
	"$TOOLS/pagestat" -b "$2" | sed "s/.*$1=\([0-9]*\).*/\1/"
}

plan 69
make_fs ext4 128M
MNT=$WORK/mnt
allocate "$BACK/f" 1M

must_mount "$BACK" "$MNT" "cache=unsafe,kernel-path=never"
pid=$(daemon_pid "$MNT")
is "$(report names "$MNT")" = 0 "all names of the mount, no files"
is_of 's["source"]' "\"$BACK\"" "source"
is_of 's["mountpoint"]' "\"$MNT\"" "mountpoint"
is_of 's["worker_pid"]' "$(server_pid "$MNT")" "worker_pid"
is_of '[s["supervisor_pid"], s["worker_restarts"], s["recover"], s["rules"]]' "[$pid, 0, true, 0]" \
	"a supervisor, no rules"
is_of '[s["mode"], s["switches"]["no_flush"]]' '["unsafe", true]' "mode of the mount"
is_of '"kernel-path=never" in s["options"]' true "options in force"
is_of 's["version"]' "\"$("$MOUNT_CACHEFS" --version | awk '{ print $NF; exit }')\"" "version"

exec 9<>"$MNT/f"
succeeds "64 writes, 8 flushes" "$TOOLS/ioclient" -m plain -s 256k -b 4k -F fsync -e 8 "$MNT/f"
soon gives 'f("f")["opens"]' 1
is "$(report names "$MNT")" = 1 "all names of a file"
is_of 'f("f")["flushes_received"], f("f")["flushes_dropped"], f("f")["flushes_honoured"]' \
	"[8, 8, 0]" "flushes received, dropped, honoured"
is_of 'f("f")["flush_seconds"]' 0.0 "no time in them"
is_of 'f("f")["writes"], f("f")["write_bytes"]' "[64, 262144]" "writes"
is_of 'f("f")["write_seconds"] > 0' true "they took time"
is_of 'f("f")["size"]' 1048576 "size"
is_of 'f("f")["dirty_bytes"] + f("f")["writeback_bytes"]' \
	$(($(bytes dirty "$BACK/f") + $(bytes writeback "$BACK/f"))) "dirty as pagestat has it"
is "$(get 'f("f")["dirty_bytes"]')" -ge 262144 "all that was written is dirty"
is_of 'f("f")["cached_bytes"]' "$(bytes cached "$BACK/f")" "cached as pagestat has it"
is_of 'f("f")["opens"], f("f")["writers"], f("f")["opens_total"]' "[1, 1, 2]" "opens, writers"
is_of 'f("f")["mode"], f("f")["origin"], f("f")["pending"]' '["unsafe", "mount", null]' "mode"
is_of 'f("f")["clients"]' \
	"[{\"opened_by_pid\": $$, \"comm\": \"bash\", \"flags\": \"O_RDWR\", \"kernel_path\": false}]" \
	"who has it open"
is_of 'f("f")["kernel_path"], f("f")["kernel_path_reason"][:17]' '[false, "kernel-path=never"]' \
	"not on the kernel path, and why"
is_of 'f("f")["error"], f("f")["tainted"], f("f")["checkpoint_age_s"]' "[null, false, null]" \
	"no error"
is_of 's["sync_error"]' null "nor of the mount"

exec 8<"$MNT/f"
dd bs=4k count=3 status=none <&8 >/dev/null
dd bs=100 count=1 status=none <&8 >/dev/null
is_of 'f("f")["opens"], f("f")["writers"], len(f("f")["clients"])' "[2, 1, 2]" "a reader more"
is_of 'f("f")["reads"], f("f")["read_bytes"], f("f")["unaligned_reads"]' "[4, 12388, 1]" "reads"
exec 8<&-
is_soon 'f("f")["opens"], f("f")["clients"][0]["flags"]' '[1, "O_RDWR"]' "it is gone"

hold hold "$MNT/f" O_RDWR O_DIRECT O_DSYNC O_APPEND
is_of 'f("f")["clients"][1]["flags"], f("f")["clients"][1]["opened_by_pid"]' \
	"[\"O_RDWR|O_DIRECT|O_DSYNC|O_APPEND\", $HELD]" "flags of another client"
is_of 'f("f")["clients"][1]["comm"][:6]' '"python"' "its name"
is_of 'f("f")["opens_direct"], f("f")["opens_sync"]' "[1, 1]" "counted"
let_go
soon gives 'f("f")["opens"]' 1
before=$(get 't["opens_total"]')
exec 9>&-
is_soon 'len(s["files"])' 0 "closed: no files"
is_of 't["flushes_dropped"], t["writes"], t["write_bytes"]' "[8, 64, 262144]" "but in the total"
is "$(get 't["opens_total"]')" -eq "$before" "opens as well: those of reports do not count"

# ---- a live switch, and flushes that are honoured ----
exec 9<>"$MNT/f"
dd if=/dev/zero bs=4k count=4 conv=notrunc status=none >&9
start=$EPOCHREALTIME
succeeds "remount" remount "cache=writeback,kernel-path=never"
is_of 'f("f")["mode"], s["mode"]' '["writeback", "writeback"]' "another mode"
is_of 'f("f")["dirty_bytes"]' 0 "nothing dirty any more"
dd if=/dev/null conv=notrunc,fsync status=none >&9
is_of 'f("f")["flushes_honoured"], f("f")["flushes_dropped"]' "[1, 0]" "a flush honoured"
is_of "0 < f('f')['flush_seconds'] < $EPOCHREALTIME - $start" true "and timed, in seconds"
exec 9>&-
succeeds "unmounts, the daemon ends" umount_cachefs "$MNT"
is "$(grep -c 'flushes received 9, honoured 1, dropped 8; [0-9.]* s in honoured ones' \
	"$WORK/mnt.log")" -eq 1 "the log's sums are of closed files, too"

# ---- names ----
must_mount "$BACK" "$MNT" "cache=none,kernel-path=never"
mkdir -p "$MNT/a/b"
exec 9<>"$MNT/a/b/c"
is_of 's["files"][0]["path"]' '"a/b/c"' "the path under the mount"
mv "$MNT/a" "$MNT/moved"
is_of 's["files"][0]["path"]' '"moved/b/c"' "a directory above was renamed"
mv "$MNT/moved/b/c" "$MNT"/$'q"\\\n\xff\xc3\xbc'
is_of 's["files"][0]["path"]' '"q\"\\\n\\xff\u00fc"' "any bytes"
rm "$MNT"/q*
is_of 's["files"][0]["deleted"], s["files"][0]["path"][:1]' '[true, "q"]' "deleted, with its last name"
printf '%1000s' '' >&9
is_of 's["files"][0]["unaligned_writes"], s["files"][0]["rmw_writes"]' "[1, 1]" "read-modify-write"
is_of 's["files"][0]["rmw_nsec"] > 0' true "and its time"
is_of 's["files"][0]["direct_align"] in (512, 4096)' true "alignment of direct I/O"
is_of 's["files"][0]["cached_bytes"]' 0 "cache=none caches nothing"
exec 9>&-
soon all_closed
hold hold "$MNT" O_TMPFILE O_RDWR
is_of 's["files"][0]["path"], s["files"][0]["deleted"]' '["", true]' "a file without a name"
let_go
soon all_closed
hold many "$MNT" 70
is_of 'len(s["files"]), s["files"] == sorted(s["files"], key=lambda f: f["path"])' "[70, true]" \
	"many, by path"
let_go
for ((i = 0; i < 70; i++)); do
	exec {fd}<"$MNT/f"
	fds[i]=$fd
done
is_of 'f("f")["opens"], f("f")["clients_total"], len(f("f")["clients"])' "[70, 70, 64]" \
	"more clients than are shown"
for fd in "${fds[@]}"; do
	exec {fd}<&-
done
dd if="$MNT/f" of=/dev/null bs=1M count=1 status=none
succeeds "sendfile" "$PYTHON" -c '
import os, sys
f, o = os.open(sys.argv[1], os.O_RDONLY), os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)
assert os.sendfile(o, f, 0, 65536) > 0' "$MNT/f" "$WORK/copy"
is "$(get 't["page_cache_requests"]')" -ge 1 "requests of the kernel's page cache"
succeeds "files come and go while two read reports" report storm "$MNT" 4
diag "reports read: $output"
succeeds "unmounts, the daemon ends" umount_cachefs "$MNT"

# ---- without cachestat(2) ----
must_mount "$BACK" "$MNT" "cache=writeback,mask-caps=cachestat"
exec 9<>"$MNT/f"
is_of 'f("f")["cached_bytes"], f("f")["dirty_bytes"], f("f")["writeback_bytes"]' \
	"[null, null, null]" "unknown is null"
is "$(report names "$MNT")" = 1 "all names"
exec 9>&-
succeeds "unmounts, the daemon ends" umount_cachefs "$MNT"

# ---- the kernel path ----
# reason BEGINNING ON-IT TEXT: what is said of $MNT/f
reason() {
	is_of "[f('f')['kernel_path'], f('f')['kernel_path_reason'].startswith('$1')]" \
		"[$2, true]" "$3"
}

MNT=$WORK/masked
must_mount "$BACK" "$MNT" "cache=writeback,mask-caps=kernel-path"
exec 9<>"$MNT/f"
reason "not possible on this mount" false "no kernel path here"
exec 9>&-
succeeds "unmounts, the daemon ends" umount_cachefs "$MNT"
MNT=$WORK/auto
must_mount "$BACK" "$MNT" "cache=writeback,kernel-path=auto"
if grep -q 'kernel path: not used' "$WORK/auto.log"; then
	skip 8 "no kernel path here"
else
	exec 9<>"$MNT/f"
	reason "on the kernel path" true "a plain open is on it"
	is_of 'f("f")["clients"][0]["kernel_path"]' true "so says its client"
	exec 9>&-
	soon all_closed
	hold hold "$MNT/f" O_RDWR O_DIRECT
	reason "the flags of the client" false "one with O_DIRECT is not"
	let_go
	soon all_closed
	chmod u+s "$MNT/f"
	exec 9<>"$MNT/f"
	reason "suid or sgid" false "a suid file is not"
	exec 9>&-
	soon all_closed
	chmod u-s "$MNT/f"
	remount "cache=writethrough"
	exec 9<>"$MNT/f"
	reason "the daemon serves this mode" false "writethrough is not"
	remount "cache=writeback"
	reason "first opened in a mode" false "nor after a switch, until it was closed"
	exec 9>&-
	soon all_closed
	exec 9<>"$MNT/f"
	reason "on the kernel path" true "opened again it is"
	exec 9>&-
	succeeds "status while it is open elsewhere" report names "$MNT"
fi
succeeds "unmounts, the daemon ends" umount_cachefs "$MNT"
