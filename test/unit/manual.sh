#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Each option that --help lists is explained in the manual, and the manual has no other.
set -u
export LC_ALL=C
manual=$top_srcdir/doc/mount.cachefs.8
help=$("$top_builddir/mount.cachefs" --help) || { echo "Bail out! no --help"; exit 1; }
own=$(sed -nE '/^Options,/,/^$/s/^  ([a-z][a-z.-]*)(=[^ ]*)?$/\1/p' <<<"$help" | sort -u)
flags=$(sed -nE '/^Standard/,/^$/s/^  //p' <<<"$help" | tr ' ' '\n' | tr -d = | sort -u)

# The words of the manual without its markup; of a paragraph's tag for our own options.
section=$(sed 's/\\-/-/g' "$manual" | sed -n '/^\.SS Options of cachefs/,/^\.SS Options of mount/p')
tags=$(grep -A1 '^\.TP' <<<"$section" | sed -nE 's/^\.BR? ([a-z][a-z.-]*).*/\1/p' | sort -u)
words=$(tr -sc "[:lower:]" '\n' <"$manual" | sort -u)

# check TEXT MISSING: ok where nothing is missing.
check() { if [ -z "$2" ]; then echo "ok - $1"; else echo "not ok - $1:" $2; fi; }

echo 1..4
check "--help lists options" "$([ "$(wc -w <<<"$own $flags")" -gt 30 ] || echo few)"
check "in --help, not in the manual" "$(comm -23 <(echo "$own") <(echo "$tags"))"
check "in the manual, not in --help" "$(comm -13 <(echo "$own") <(echo "$tags"))"
check "flags of mount(8) not in the manual" "$(comm -23 <(echo "$flags") <(echo "$words"))"
