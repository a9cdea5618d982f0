# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Which clients a mode is tested with, under every kernel-path. Source lib.sh first.

# The modes, and mounts that are not just a mode.
SETUPS=(writethrough writeback none directsync unsafe "unsafe by the daemon" "none without flushes")

# mount_options SETUP
mount_options() {
	case $1 in
	none\ *) echo "cache=none,cache.no-flush=on" ;;
	unsafe\ *) echo "cache=unsafe,kernel-path=never" ;;
	*) echo "cache=$1" ;;
	esac
}

# without "WORDS" WORD...: the words but these.
without() {
	local words=" $1 " w

	shift
	for w; do
		words=${words/ $w / }
	done
	echo "$words"
}

# clients SETUP "CLIENTS" UNSEEN...: those of CLIENTS whose behaviour the mode promises. UNSEEN: clients
# whose flushes nobody can drop on the kernel path (kpath-exceptions.sh has those).
clients() {
	local setup=$1 clients=$2

	shift 2
	case $setup in
	unsafe) kernel_path never || clients=$(without "$clients" "$@") ;;
	unsafe* | writeback) ;;
	*) ! kernel_path always || clients=$(without "$clients" mmap) ;;
	esac
	echo "$clients"
}

# storm_options MODE: for opstorm. Only a mode lets O_DIRECT be unaligned. On the kernel path clients with
# O_DIRECT have the backing's alignment, and their writes may be missed for a moment by sendfile and splice
# of others (doc/modes.md).
storm_options() {
	[ -z "$CACHEFS_TEST_BIND" ] || { echo "-D"; return; }
	case $1 in
	none | directsync) ! kernel_path always || { echo "-D -x sendfile,splice"; return; } ;;
	esac
	echo "-d"
}
