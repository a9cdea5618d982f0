#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A short run of every fuzz target, over its inputs in the tree and what becomes of them by chance.
#	CACHEFS_FUZZ_SEED   repeats a run (default: by the clock; the log has it)
#	CACHEFS_FUZZ_RUNS   inputs for each target (default 500000; with CACHEFS_LONG 10 million)
# An input that fails is kept in the current directory, fuzz-TARGET-crash-*: give it to the target.
set -u
top_srcdir=$(realpath "${top_srcdir:-$(dirname "$0")/../..}")
top_builddir=$(realpath "${top_builddir:-$top_srcdir}")
WORK=$(mktemp -d "${TMPDIR:-/var/tmp}/cachefs-fuzz.XXXXXX") || exit 99
trap 'rm -rf "$WORK"' EXIT
. "$top_srcdir/test/lib/tap.sh"

runs=${CACHEFS_FUZZ_RUNS:-$([ "${CACHEFS_LONG:-0}" = 1 ] && echo 10000000 || echo 500000)}
# libFuzzer's seeds have 32 bits
seed=${CACHEFS_FUZZ_SEED:-$(($(date +%s%N) / 1000 % 4294967295 + 1))}

# fuzz TARGET ARGUMENT...: libFuzzer and our own driver take the same
fuzz() {
	local target=$1

	shift
	"$top_builddir/test/fuzz/$target" -seed="$seed" -timeout=120 -max_len=4096 \
		-dict="$top_srcdir/test/fuzz/tokens.dict" "$@"
}

# The engine must see a bug, keep the input, and see the bug in it again. 3 checks
check_engine() {
	local found
	# what is found here is no report
	local -x ASAN_OPTIONS='' UBSAN_OPTIONS=''

	mkdir "$WORK/seeds"
	echo unsafe >"$WORK/seeds/half"
	fails "a bug is found" 'does not hold' \
		fuzz selftest -runs=1000000 -artifact_prefix="$WORK/" "$WORK/seeds"
	found=$(find "$WORK" -maxdepth 1 -name 'crash-*')
	is "$(grep -c unsafe "$found")" -ge 1 "its input is kept"
	fails "and fails again" 'does not hold' fuzz selftest -artifact_prefix="$WORK/" "$found"
}

# 1 check
check_target() {
	local target=$1 corpus=$top_srcdir/test/fuzz/corpus/${1#fuzz_} runs=$runs

	case $target in
	fuzz_ioctl | fuzz_xattr) runs=$((runs / 20 + 1)) ;; # requests to a served directory
	esac
	if [ -z "$(ls "$corpus" 2>/dev/null)" ]; then
		not_ok "$target has inputs in test/fuzz/corpus/${target#fuzz_}"
		return
	fi
	# libFuzzer writes what it finds worth keeping into the first directory
	mkdir "$WORK/$target"
	succeeds "$target: $runs inputs" fuzz "$target" -runs="$runs" \
		-artifact_prefix="$PWD/fuzz-$target-" "$WORK/$target" "$corpus"
}

targets=$(cd "$top_srcdir/test/fuzz" && echo fuzz_*.c)
plan $((3 + $(wc -w <<<"$targets")))
diag "seed $seed"
check_engine
for file in $targets; do
	check_target "${file%.c}"
done
tap_status
