#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# QEMU's tools on images of the mount: qemu-img create, convert, compare, check, and qemu-io with
# each of its cache modes and each of its ways to do I/O.

. "$(dirname "$0")/../lib/lib.sh"
need_root
need_fuse
need_commands qemu-img qemu-io

# aio=native is defined for O_DIRECT only, as QEMU says itself.
COMBINATIONS="none:native directsync:native"
for cache in none writethrough writeback directsync unsafe; do
	COMBINATIONS+=" $cache:threads $cache:io_uring"
done

# io FORMAT IMAGE CACHE AIO N: writes that are and are not aligned, a flush, and both read again.
io() {
	qemu-io -f "$1" -t "$3" -i "$4" \
		-c "write -P $5 ${5}M 256k" -c "write -P $((5 + $5)) $(($5 * 1048576 + 262144)) 512" \
		-c "aio_write -P 9 $(($5 * 1048576 + 524288)) 64k" -c aio_flush -c flush \
		-c "read -P $5 ${5}M 256k" -c "read -P $((5 + $5)) $(($5 * 1048576 + 262144)) 512" \
		-c "read -P 9 $(($5 * 1048576 + 524288)) 64k" "$2"
}

qemu() {
	local combination n=0

	cd "$MNT" || bail_out "cannot enter $MNT"
	succeeds "$1: qemu-img create qcow2" qemu-img create -q -f qcow2 a.qcow2 32M
	succeeds "$1: qemu-img create raw, preallocated" \
		qemu-img create -q -f raw -o preallocation=full a.raw 32M
	for combination in $COMBINATIONS; do
		n=$((n + 1))
		succeeds "$1: qemu-io qcow2 $combination" \
			io qcow2 a.qcow2 "${combination%:*}" "${combination#*:}" $n
		succeeds "$1: qemu-io raw $combination" \
			io raw a.raw "${combination%:*}" "${combination#*:}" $n
	done
	succeeds "$1: qemu-img check" qemu-img check -q a.qcow2
	succeeds "$1: qemu-img compare qcow2 with raw" qemu-img compare -q a.qcow2 a.raw
	succeeds "$1: qemu-img convert to raw" qemu-img convert -O raw a.qcow2 b.raw
	succeeds "$1: qemu-img convert without a cache" \
		qemu-img convert -t none -T none -O qcow2 b.raw b.qcow2
	succeeds "$1: qemu-img check of the converted" qemu-img check -q b.qcow2
	succeeds "$1: qemu-img compare of the converted" qemu-img compare -q a.qcow2 b.qcow2
	succeeds "$1: the backing holds the same" qemu-img compare -q a.raw "$BACK/b.raw"
	cd / || exit
}

each_mode $((9 + 2 * $(wc -w <<<"$COMBINATIONS"))) qemu
