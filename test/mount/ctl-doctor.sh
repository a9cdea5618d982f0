#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# cachefsctl doctor: each warning where it belongs, and none where all is well; on a disk whose flushes can
# be made slow.

. "$(dirname "$0")/../lib/lib.sh"
. "$top_srcdir/test/lib/disk.sh"
need_root
need_fuse
need_commands jq
CTL=$top_builddir/cachefsctl
[ -x "$CTL" ] || bail_out "$CTL: not built; run make"
reason=$(disk_missing mkfs.ext4) && skip_all "$reason"

end() {
	local status=$?

	exec 7>&-
	rm -f "$WORK/go"
	if [ -n "$DISK_PID" ]; then
		disk_clear
		for m in second mnt; do
			[ ! -e "$WORK/$m" ] || umount_cachefs "$WORK/$m" >/dev/null 2>&1
		done
		umount "$WORK/fs" 2>/dev/null
		disk_stop
	fi
	(exit $status)
	cleanup
}

# warned FILE WANT TEXT: names of the warnings about it, sorted, and the mode that results. 1 check
warned() {
	is "$(warnings "$1")" = "$2" "$3"
}

warnings() {
	"$CTL" doctor --json "$1" |
		jq -r '.files[0] | ([.warnings[].warning] | sort | join(" ")) + " -> " + .effective'
}

# soon_warned FILE WANT TEXT: of a client in the background, which needs its time. 1 check
soon_warned() {
	soon warns "$1" "$2"
	is "$seen" = "$2" "$3"
}

warns() {
	seen=$(warnings "$1")
	[ "$seen" = "$2" ]
}

mode() {
	"$CTL" mode "$MNT/f" "$1" >/dev/null
}

# 7 checks. One client has the file open all the time, so counters go on.
check_clients() {
	exec 7<>"$MNT/f"
	warned "$MNT/f" " -> writeback" "nothing done: no warning"
	dd if=/dev/zero bs=4k count=9 conv=notrunc status=none >&7
	warned "$MNT/f" "never-flushes -> unsafe" "written and never flushed"
	mode none
	warned "$MNT/f" "never-flushes -> cache.direct=on,cache.writeback=on,cache.no-flush=on" "under none too"
	mode unsafe
	warned "$MNT/f" " -> unsafe" "under unsafe it is what was asked for"
	mode writeback
	dd if=/dev/null conv=notrunc,fsync status=none >&7
	warned "$MNT/f" " -> writeback" "a flush, and all is well"
	dd if=/dev/zero of="$MNT/f" bs=4k count=1 conv=notrunc oflag=direct status=none
	warned "$MNT/f" "direct-cached -> writeback" "a client with O_DIRECT under a cached mode"
	mode none
	warned "$MNT/f" " -> none" "and under a direct one"
	exec 7>&-
}

# 2 checks
check_alignment() {
	mode none
	exec 7<>"$MNT/f"
	dd if=/dev/zero bs=100 count=20 conv=notrunc status=none >&7
	dd if=/dev/null conv=notrunc,fsync status=none >&7
	warned "$MNT/f" "unaligned -> none" "unaligned writes under none"
	is "$("$CTL" doctor "$MNT/f" | grep -Ec '100 % of the writes \(20\) .* ms each')" -eq 1 "and what they cost"
	exec 7>&-
	mode writeback
}

# 1 check
check_synchronous() {
	if ! command -v fio >/dev/null; then
		skip 1 "no fio"
		return
	fi
	fio --name=sync --filename="$MNT/g" --rw=write --bs=4k --size=1M --sync=1 --ioengine=psync --time_based \
		--runtime=600 --thread --allow_file_create=0 >"$WORK/fio.log" 2>&1 &
	succeeds "a client that opens with O_SYNC makes writethrough of writeback" soon effective "$MNT/g" writethrough
	kill $!
	wait $!
}

effective() {
	[ "$("$CTL" doctor --json "$1" | jq -r '.files[0].effective')" = "$2" ]
}

# 2 checks
check_aio() {
	if ! command -v fio >/dev/null; then
		skip 2 "no fio"
		return
	fi
	fio --name=aio --filename="$MNT/f" --rw=randread --bs=4k --size=1M --direct=1 --ioengine=libaio --iodepth=4 \
		--time_based --runtime=600 --thread=0 --allow_file_create=0 >"$WORK/fio.log" 2>&1 &
	soon_warned "$MNT/f" "aio-cached direct-cached -> writeback" "a client with Linux AIO under a cached mode"
	mode none
	warned "$MNT/f" " -> none" "and under a direct one"
	kill $!
	wait $!
	mode writeback
}

# 2 checks
check_rates() {
	local i flushers=()

	exec 7<>"$MNT/f"
	disk_delay flush 100
	touch "$WORK/go"
	# several, so that one is in a flush at any time, however long a dd takes to start
	for i in 1 2 3 4; do
		(while [ -e "$WORK/go" ]; do dd if=/dev/zero bs=4k count=1 conv=notrunc,fsync status=none >&7; done) &
		flushers[i]=$!
	done
	soon_warned "$MNT/f" "flush-rate -> writeback" "a device that is busy with flushes"
	rm "$WORK/go"
	wait "${flushers[@]}"
	disk_clear
	mode unsafe
	touch "$WORK/go"
	# around in the file, so that there is always more to make dirty
	(for ((i = 0; ; i++)); do
		[ -e "$WORK/go" ] || break
		[ $((i % 128)) -ne 127 ] || "$CTL" flush "$MNT/f"
		dd if=/dev/zero bs=256k count=1 seek=$((i % 128)) conv=notrunc status=none >&7
		sleep 0.05
	done) &
	soon_warned "$MNT/f" "dirty-grows -> unsafe" "more and more is dirty"
	rm "$WORK/go"
	wait $!
	exec 7>&-
	mode writeback
}

# 3 checks
check_two_mounts() {
	must_mount "$BACK/dir" "$WORK/second" cache=directsync,kernel-path=never
	warned "$MNT/dir/h" "two-modes -> writeback" "another mount serves the file in another mode"
	is "$("$CTL" doctor "$WORK/second/h" | grep -c "also served at $MNT, as writeback")" -eq 1 "seen from there too"
	"$CTL" mode "$WORK/second" writeback >/dev/null
	warned "$MNT/dir/h" " -> writeback" "in the same mode it is none"
	umount_cachefs "$WORK/second"
}

# What leads past the mount, as PATHs under it. 7 checks
check_leads() {
	if ! command -v qemu-img >/dev/null; then
		skip 7 "no qemu-img"
		return
	fi
	mkdir "$MNT/tree"
	qemu-img create -q -f raw "$MNT/tree/base" 1M
	qemu-img create -q -f qcow2 -F raw -b "$BACK/tree/base" "$MNT/tree/absolute"
	qemu-img create -q -f qcow2 -F raw -b base "$MNT/tree/relative"
	qemu-img create -q -f qcow2 -o data_file="$BACK/tree/data" "$MNT/tree/data-outside" 1M
	ln -s /etc/passwd "$MNT/tree/link-outside"
	ln -s base "$MNT/tree/link-inside"
	ln -s /nonesuch "$MNT/tree/link-nowhere"
	mknod "$MNT/tree/node" b 7 200
	mkfifo "$MNT/tree/fifo"
	succeeds "a directory is searched" "$CTL" doctor --json "$MNT/tree"
	is "$(jq -r '.tree[] | .path' <<<"$output" | xargs -n 1 basename | sort | paste -sd ' ')" = \
		"absolute data-outside link-outside node" "what leads past the mount is named, and nothing else"
	is "$(jq -r '.tree[] | select(.path | endswith("/absolute")) | .warnings[].seen' <<<"$output")" = \
		"its backing file is $BACK/tree/base" "and where it leads"
	warned "$MNT/tree/absolute" "leads-past -> writeback" "of a file, too"
	warned "$MNT/tree/relative" " -> writeback" "a relative name stays"
	umount_cachefs "$MNT"
	# over itself an absolute name leads to the mount
	MNT=$BACK
	must_mount "$BACK" "$MNT" cache=writeback,kernel-path=never
	succeeds "mounted over itself" "$CTL" doctor --json "$MNT/tree"
	is "$(jq -r '.tree[] | .path' <<<"$output" | xargs -n 1 basename | sort | paste -sd ' ')" = \
		"link-outside node" "absolute names of images stay"
}

trap end EXIT
MNT=$WORK/mnt
BACK=$WORK/fs
plan $((7 + 2 + 1 + 2 + 2 + 3 + 7 + 3))
disk_start "$WORK/disk" 128M || bail_out "the disk does not start"
disk_attach || bail_out "no loop device"
mkfs.ext4 -q -O '^has_journal' -E lazy_itable_init=0 "$DISK_LOOP" || bail_out "mkfs.ext4"
mkdir -p "$BACK"
mount -o noatime "$DISK_LOOP" "$BACK" || bail_out "mount"
mkdir "$BACK/dir"
allocate "$BACK/f" 32M
allocate "$BACK/g" 1M
echo x >"$BACK/dir/h"
must_mount "$BACK" "$MNT" cache=writeback,kernel-path=never
check_clients
check_alignment
check_synchronous
check_aio
check_rates
check_two_mounts
succeeds "text" "$CTL" doctor "$MNT/f"
is "$(head -n 1 <<<"$output")" = "$MNT/f: writeback (runtime), end to end writeback" "names the mode end to end"
check_leads
succeeds "unmounts, the daemon ends" umount_cachefs "$MNT"
