#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Mappings, splice, sendfile and exec see what was written, and nothing older.

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/fsops.sh"
need_root
need_fuse
need_tools fsops mapcheck

ROUNDS=200
[ "${CACHEFS_LONG:-0}" != 1 ] || ROUNDS=20000

# A program that is replaced by another of the same length, in place and by name.
executed() {
	printf '#!/bin/sh\necho first\n' >"$MNT/script"
	chmod 755 "$MNT/script"
	is "$("$MNT/script")" = first "$1: a script runs"
	printf 'other' | dd of="$MNT/script" bs=1 seek=15 conv=notrunc status=none
	is "$("$MNT/script")" = other "$1: a script runs as it was changed"
	cp "$(type -P sleep)" "$MNT/program"
	succeeds "$1: a program runs" "$MNT/program" 0
	"$MNT/program" 600 &
	pid=$!
	soon sleeps "$pid" "$MNT/program"
	fails "$1: a program that runs cannot be written" "Text file busy" \
		sh -c "echo >>'$MNT/program'"
	kill "$pid"
	wait "$pid" 2>/dev/null
	cp "$(type -P true)" "$MNT/program"
	succeeds "$1: another program at that name" "$MNT/program" 30 30 nonsense
}

mappings() {
	local how

	for how in shared private truncate; do
		succeeds "$1: $how" "$TOOLS/mapcheck" $how "$MNT/$how"
	done
	succeeds "$1: nothing stale" "$TOOLS/mapcheck" stale "$MNT/stale" $ROUNDS
	same "$1: where a mapping ends" <<-SCRIPT
	open 0 f rdwr,creat 0644
	mmap 0 read 0
	write 0 @10000
	mmap 0 read 9999
	mmap 0 write 12287
	mmap 0 read 12288
	fstat 0
	read 0 9990
	ftruncate 0 100
	mmap 0 read 5000
	mmap 0 write 200
	ftruncate 0 300
	read 0 95
	open 1 f rdonly
	mmap 1 read 0
	mmap 1 write 0
	open 2 f wronly
	mmap 2 read 0
	SCRIPT
	executed "$1"
	dd if=/dev/zero of="$MNT/large" bs=1M count=64 status=none
	diag "$1: $("$TOOLS/mapcheck" time "$MNT/large"); natively: $("$TOOLS/mapcheck" time \
		"$BACK/large")"
	rm "$MNT/large"
}

NATIVE=$WORK/native
mkdir "$NATIVE"
each_mode 10 mappings
