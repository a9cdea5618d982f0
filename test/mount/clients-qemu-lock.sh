#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# QEMU's image locking between two processes on the mount.

. "$(dirname "$0")/../lib/lib.sh"
need_root
need_fuse
need_commands qemu-img qemu-io

mkfifo "$WORK/commands"

# Start a writer that holds the image open until its commands end; wait until it has opened it.
start_writer() {
	: >"$WORK/writer.out"
	qemu-io -f qcow2 "$MNT/a.qcow2" <"$WORK/commands" >"$WORK/writer.out" 2>&1 9>&- &
	writer=$!
	exec 9>"$WORK/commands"
	echo "write -P 1 0 4k" >&9
	soon grep -q "wrote 4096" "$WORK/writer.out"
}

locking() {
	qemu-img create -q -f qcow2 "$MNT/a.qcow2" 8M
	succeeds "$1: the first writer opens the image" start_writer
	fails "$1: a second writer is refused" 'Failed to get (shared )?"write" lock' \
		qemu-io -f qcow2 -c "write 0 4k" "$MNT/a.qcow2"
	fails "$1: a reader that wants no writer is refused" 'Failed to get shared "write" lock' \
		qemu-io -f qcow2 -r -c "read 0 4k" "$MNT/a.qcow2"
	succeeds "$1: a reader that shares is not" qemu-img info -U "$MNT/a.qcow2"
	exec 9>&-
	succeeds "$1: the first writer ends well" wait "$writer"
	succeeds "$1: then the second may write" \
		qemu-io -f qcow2 -c "read -P 1 0 4k" -c "write 0 4k" "$MNT/a.qcow2"
}

each_mode 6 locking
