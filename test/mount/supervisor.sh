#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the supervisor does when the worker is killed, hangs, dies again and again, or is to be another program; and
# what the worker does when the supervisor dies. That no data is lost is shown by recover-*.sh.

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/recover.sh"
need_root
need_fuse
need_commands jq
need_tools pagestat
CTL=$top_builddir/cachefsctl

# run COMMAND...: its exit status in $status, what it says in $output
run() { output=$(timeout 60 "$@" 2>&1) && status=0 || status=$?; }
status_of() { mount_status "$MNT" | jq -c "$1"; }
same_worker() { [ "$(worker_pid "$MNT")" = "$1" ]; }
other_worker() { ! same_worker "$1" && [ -n "$(worker_pid "$MNT")" ]; }

plan 65
BACK=$WORK/back
MNT=$WORK/mnt
mkdir "$BACK"
# a program of its own, which an upgrade can replace
mkdir "$WORK/bin"
cp "$MOUNT_CACHEFS" "$WORK/bin/mount.cachefs"
installed=$MOUNT_CACHEFS
MOUNT_CACHEFS=$WORK/bin/mount.cachefs
must_mount "$BACK" "$MNT" cache=writeback,hang-timeout=2
need_recover "$MNT"

# ---- killed ----
echo contents >"$MNT/file"
exec 7<>"$MNT/file"
mkdir "$MNT/dir"
old=$(worker_pid "$MNT")
is "$(status_of '[.recover, .worker_restarts, .upgrades, .last_death]')" = '[true,0,0,null]' "nobody has died yet"
start=$EPOCHREALTIME
succeeds "killed: another worker answers" kill_worker "$MNT"
took=$(awk -v from="$start" -v to="$EPOCHREALTIME" 'BEGIN { print to - from }')
is "$(status_of '.worker_restarts')" -eq 1 "which is counted"
is "$(status_of "[.last_death.pid, .last_death.signal, .last_death.exit_status, .last_death.hung]")" = \
	"[$old,9,0,false]" "the obituary in the status"
is "$(status_of ".last_death.pause_seconds < $took and .last_death.at > 1700000000")" = true "with times"
is "$(grep -c "process $old, which served, ended by signal 9" "$WORK/mnt.log")" -eq 1 "and in the log"
is "$(cat "$MNT/.cachefs/metrics" | grep '^cachefs_mount_worker_restarts_total' | awk '{ print $2 }')" -eq 1 \
	"and in the metrics"
is "$(cat <&7)" = contents "what was open is open"
is "$(stat -c %F "$MNT/dir")" = directory "names lead where they led"
succeeds "killed while it starts" kill_now "$MNT"
for ((i = 0; i < 5; i++)); do kill_now "$MNT"; sleep 0.002; done
is "$(echo more >&7; cat "$BACK/file")" = "$(printf 'contents\nmore')" "and the mount goes on"
rss=$(awk '/^VmRSS/ { print $2 }' "/proc/$(daemon_pid "$MNT")/status")
if grep -aq __asan_init "$MOUNT_CACHEFS"; then
	is "$rss" -lt 65536 "the supervisor has less than 64 MiB with a sanitizer ($rss KiB)"
else
	is "$rss" -lt 4096 "the supervisor has less than 4 MiB ($rss KiB)"
fi

# ---- options of a remount, and modes, outlive it ----
succeeds "remount" "$MOUNT_CACHEFS" "$BACK" "$MNT" -n -o "remount,cache=unsafe,rule=*.img=writethrough"
echo image | tee "$MNT/x.img" >"$MNT/own"
succeeds "mode of a file" "$CTL" mode "$MNT/own" none
succeeds "killed" kill_worker "$MNT"
is "$(status_of .mode)" = '"unsafe"' "the mount has the mode of the remount"
is "$("$CTL" mode "$MNT/own" | head -n 1 | grep -c none)" -eq 1 "the file its own"
is "$("$CTL" mode "$MNT/x.img" | head -n 1 | grep -c writethrough)" -eq 1 "and one that a rule gives its"
exec 7>&-

# ---- hangs ----
old=$(worker_pid "$MNT")
kill -STOP "$old"
succeeds "a worker that does not answer is replaced" within 60 other_worker "$old"
is "$(status_of .last_death.hung)" = true "the status says why"
is "$(grep -c "process $old, which served, hung and was ended" "$WORK/mnt.log")" -eq 1 "and so does the log"
old=$(worker_pid "$MNT")
sleep 5
is "$(worker_pid "$MNT")" = "$old" "one that has nothing to do is left alone"

# ---- upgrade ----
before=$(status_of .worker_restarts)
echo open >"$MNT/open"
exec 7<>"$MNT/open" 8<>"$MNT/unlinked"
echo unlinked >&8
rm "$MNT/unlinked"
old=$(worker_pid "$MNT")
supervisor=$(daemon_pid "$MNT")
rm "$WORK/bin/mount.cachefs"
cp "$installed" "$WORK/bin/mount.cachefs"
succeeds "upgrade" "$CTL" upgrade "$MNT"
is "$(grep -c "serves, process $(worker_pid "$MNT")\$" <<<"$output")" -eq 1 "says who serves"
is "$(worker_pid "$MNT")" != "$old" "which is another one"
is "$(readlink "/proc/$supervisor/exe")" = "$WORK/bin/mount.cachefs" "the supervisor is the installed program"
is "$(readlink "/proc/$(worker_pid "$MNT")/exe")" = "$WORK/bin/mount.cachefs" "and so is the worker"
is "$(status_of '[.upgrades, .worker_restarts, .supervisor_pid]')" = "[1,$before,$supervisor]" "counted as an upgrade"
is "$(status_of '[.mode, .source, .mountpoint]')" = "[\"unsafe\",\"$BACK\",\"$MNT\"]" "with the options of the mount"
is "$(cat <&7)" = open "what was open is open"
is "$(cat /proc/self/fd/8)" = unlinked "what was unlinked has its contents"
succeeds "a worker of the new program that is killed is replaced" kill_worker "$MNT"
succeeds "another upgrade" "$CTL" upgrade "$MNT"
is "$(status_of .upgrades)" -eq 2 "is counted, too"
old=$(worker_pid "$MNT")
printf '#!/bin/sh\necho this cannot take over; exit 1\n' >"$WORK/bin/new"
chmod +x "$WORK/bin/new"
mv "$WORK/bin/new" "$WORK/bin/mount.cachefs"
run "$CTL" upgrade "$MNT"
is "$status" -eq 2 "a program that cannot take over: exit status"
is "$(grep -c 'this cannot take over' <<<"$output")" -eq 1 "with its reason"
is "$(worker_pid "$MNT")" = "$old" "the old one goes on"
rm "$WORK/bin/mount.cachefs"
run "$CTL" upgrade "$MNT"
is "$status" -eq 2 "no program: exit status"
is "$(worker_pid "$MNT")" = "$old" "the old one goes on"
exec 7>&- 8>&-
succeeds "unmounts, the supervisor ends with status 0" umount_cachefs "$MNT"

# ---- an upgrade at once: rules, and a name that wants to be escaped ----
cp "$installed" "$WORK/bin/mount.cachefs"
MNT="$WORK/mnt,with=commas"
mkdir "$WORK/back3" "$WORK/back3/sub"
echo '*.raw directsync' >"$WORK/rules"
for f in a.img b.raw "sub/c,d.raw"; do echo "$f" >"$WORK/back3/$f"; done
must_mount "$WORK/back3" "$MNT" "cache=unsafe,rule=*.img=writethrough,rules=$WORK/rules"
exec 7<"$MNT/a.img"
echo '*.raw unsafe' >"$WORK/rules" # counts with a reload, not before
succeeds "upgrade right after the mount" "$CTL" upgrade "$MNT"
mode_of() { "$CTL" mode "$1" | head -n 1; }
is "$(mode_of "$MNT/a.img")" = "writethrough (rule)" "an open file has the mode of its rule"
is "$(mode_of "$MNT/sub/c,d.raw")" = "directsync (rule)" "so has one by the rules as they were read"
succeeds "killed" kill_worker "$MNT"
is "$(mode_of "$MNT/b.raw")" = "directsync (rule)" "and after a kill"
succeeds "reload" "$CTL" reload "$MNT"
is "$(mode_of "$MNT/b.raw")" = "unsafe (rule)" "reads them again"
exec 7<&-
# says that it can, and is nothing that can be executed by its descriptor
printf '#!/bin/sh\necho impostor 1; exit 0\n' >"$WORK/bin/new"
chmod +x "$WORK/bin/new"
mv "$WORK/bin/new" "$WORK/bin/mount.cachefs"
run "$CTL" upgrade "$MNT"
is "$status:$(grep -c 'the old program goes on' <<<"$output")" = 2:1 "one that lies: the old program goes on"
is "$(cat "$MNT/b.raw")" = b.raw "and serves"

# ---- the place is another's by the time that the supervisor ends ----
old=$(daemon_pid "$MNT")
kill -STOP "$old"
umount "$MNT"
MOUNT_CACHEFS=$installed
must_mount "$WORK/back3" "$MNT" cache=writeback
kill -CONT "$old"
succeeds "the supervisor of an earlier mount ends" wait_end "$old" 30
is "$(cat "$MNT/b.raw")" = b.raw "and leaves the new one alone"
umount_cachefs "$MNT"
MNT=$WORK/mnt

# ---- again and again ----
must_mount "$BACK" "$MNT" cache=writeback
exec 7<>"$MNT/file"
given_up() { grep -q 'ended again and again' "$WORK/mnt.log"; }
# five in a row, unless the machine is so busy that one of them lives for some seconds
for ((i = 0; i < 50; i++)); do
	old=$(worker_pid "$MNT")
	kill -ABRT "$old"
	soon eval 'given_up || other_worker "$old"'
	! given_up || break
done
failed_state() { ! timeout 10 stat "$MNT/dir" >/dev/null 2>&1; }
succeeds "no new worker any more" within 30 failed_state
run stat "$MNT/dir"
is "$(grep -c 'Input/output error' <<<"$output")" -eq 1 "requests fail with EIO, at once"
is "$(grep -c "$MNT: the process that serves it ended again and again" "$WORK/mnt.log")" -eq 1 "the log says why"
exec 7>&-
umount "$MNT" || umount -l "$MNT"
succeeds "umount works, and the supervisor ends" wait_end "$(daemon_pid "$MNT")" 30

# ---- without a supervisor ----
mkdir "$WORK/back2"
MNT=$WORK/mnt2
must_mount "$WORK/back2" "$MNT" cache=writeback,kernel-path=never
dd if=/dev/zero of="$MNT/data" bs=64k count=16 status=none
worker=$(worker_pid "$MNT")
kill -KILL "$(daemon_pid "$MNT")"
worker_gone() { ! kill -0 "$worker" 2>/dev/null; }
succeeds "the supervisor is killed: the worker ends" within 30 worker_gone
is "$(dirty "$WORK/back2/data")" -eq 0 "having flushed"
fuse_mounted "$MNT" && umount -l "$MNT"
is "$(fuse_mounted "$MNT" && echo mounted)" = "" "nothing is mounted"
must_mount "$WORK/back2" "$WORK/off" cache=writeback,recover=off
is "$("$CTL" status --json "$WORK/off" | jq -c '[.recover, .supervisor_pid]')" = '[false,0]' "recover=off: one process"
run "$CTL" upgrade "$WORK/off"
is "$status:$(grep -c 'recover=off' <<<"$output")" = 2:1 "which cannot be upgraded"
succeeds "unmounts, the daemon ends" umount_cachefs "$WORK/off"
must_mount "$WORK/back2" "$WORK/masked" cache=writeback,mask-caps=resend
is "$(grep -c 'recover: off: the kernel cannot send requests again' "$WORK/masked.log")" -eq 1 "an old kernel: a sentence"
succeeds "and all else works" umount_cachefs "$WORK/masked"

# ---- by somebody who does not wait for children ----
cat >"$WORK/ignoring" <<-EOT
	#!/bin/sh
	exec env --ignore-signal=CHLD "$MOUNT_CACHEFS" "\$@"
EOT
chmod +x "$WORK/ignoring"
MOUNT_CACHEFS=$WORK/ignoring
MNT=$WORK/ignored
must_mount "$WORK/back2" "$MNT" cache=writeback
succeeds "SIGCHLD was ignored: a dead worker is replaced all the same" kill_worker "$MNT"
succeeds "unmounts" umount_cachefs "$MNT"
