#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Random operations on a file of the mount, compared with a plain file: each mode, by one thread and
# by four, through descriptors with and without O_DIRECT at any alignment.
# CACHEFS_SEED repeats a run; CACHEFS_LONG=1 makes it 200 000 operations a mode.

. "$(dirname "$0")/../lib/lib.sh"
LAST_CLOSE=
. "$(dirname "$0")/../lib/setups.sh"
need_root
need_fuse
need_tools opstorm

OPS=6000
[ "${CACHEFS_LONG:-0}" != 1 ] || OPS=100000
SEED=${CACHEFS_SEED:-$((RANDOM * 32768 + RANDOM))}
REQUIRED=read,readv,sendfile,splice,write,writev,append,truncate,mapread,mapwrite,falloc
REQUIRED+=,falloc-keep,punch,zero,zero-keep,copy,copy-from,fsync,seek

storm() {
	local threads options required=$REQUIRED

	options=$(storm_options "$1")
	[[ $options != *-x* ]] || required=${REQUIRED/sendfile,splice,/}
	for threads in 1 4; do
		diag "$1: opstorm $options -t $threads -S $SEED -n $OPS"
		succeeds "$1, $threads threads: $OPS operations as on a plain file" \
			"$TOOLS/opstorm" $options -t $threads -S "$SEED" -n $OPS -R $required \
			"$MNT/storm" "$WORK/plain"
		diag "$output"
	done
}

each_mode 2 storm
