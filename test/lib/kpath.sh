# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Tests of the kernel path. Source lib.sh first.

# need_kernel_path: skips where the kernel has no FUSE passthrough.
need_kernel_path() {
	local log=$WORK/try.log

	mkdir "$WORK/try.back"
	must_mount "$WORK/try.back" "$WORK/try" cache=writeback
	umount_cachefs "$WORK/try"
	! grep -q 'kernel path: not used' "$log" || skip_all "$(sed 's/.*cachefs: //' "$log")"
	rm -rf "$log" "$WORK/try.back"
}

# connections: where the kernel shows its FUSE connections.
connections() {
	local dir=$WORK/connections

	if [ ! -e "$dir" ]; then
		mkdir "$dir"
		mount -t fusectl none "$dir" && echo "$dir" >>"$WORK/mounts"
	fi
	echo "$dir"
}

# who: prints who serves each kind of open of a file of $MNT, as "KIND=rwm ..." where read, write and
# mapping are each k (the kernel) or d (the daemon).
who() {
	rm -f "$BACK/who"
	truncate -s 16M "$BACK/who"
	timeout 400 "$TOOLS/kpath" which "$(server_pid "$MNT")" "$MNT/who" "$(connections)"
}

# What who should print for a mode, with kernel-path=auto.
ON_DAEMON="plain=ddd odirect=ddd osync=ddd odsync=ddd append=ddd odirect+odsync=ddd noatime=ddd"
on_kernel_path() {
	case $1 in
	writeback) echo "plain=kkk odirect=ddk osync=kkk odsync=kkk append=ddk odirect+odsync=ddk noatime=kkk" ;;
	unsafe) echo "plain=kkk odirect=ddk osync=ddk odsync=ddk append=ddk odirect+odsync=ddk noatime=kkk" ;;
	*) echo "$ON_DAEMON" ;;
	esac
}

# remount OPTIONS: as mount(8) would have it done, with the program of the build tree.
remount() {
	timeout 60 "$MOUNT_CACHEFS" "$BACK" "$MNT" -o "remount,$1"
}

# data_checks TEXT: the checks of kpath that every way of serving passes. 8 checks
data_checks() {
	local c

	for c in mix append truncate maps "stale:2000" unlinked privileges attributes; do
		succeeds "$1: ${c%:*}" timeout 60 "$TOOLS/kpath" "${c%:*}" "$MNT/${c%:*}" \
			$([[ $c != *:* ]] || echo "${c#*:}")
	done
}
