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

# The examples of the rules file, as text; mount.cachefs -f reads them without a mount.
rules=$(sed -n '/^\.SH EXAMPLES/,/^\.SH SEE/p' "$top_srcdir/doc/cachefs.rules.5" | sed -n '/^\.EX/,/^\.EE/p' |
	sed -E '/^(\.|mount )/d; s/\\\(dq/"/g; s/\\-/-/g')
modes=$(sed -nE '/^Cache modes:/,/^$/s/^  ([a-z]+) .*/\1/p' <<<"$help")
unnamed=$(for word in $modes $(grep '^cache\.' <<<"$own"); do
	grep -q "${word//-/.*-}" "$top_srcdir/doc/cachefs.rules.5" || echo "$word"
done)

file=$(mktemp) || exit 99
trap 'rm -f "$file"' EXIT
echo "$rules" >"$file"

echo 1..7
check "--help lists options" "$([ "$(wc -w <<<"$own $flags")" -gt 30 ] || echo few)"
check "in --help, not in the manual" "$(comm -23 <(echo "$own") <(echo "$tags"))"
check "in the manual, not in --help" "$(comm -13 <(echo "$own") <(echo "$tags"))"
check "flags of mount(8) not in the manual" "$(comm -23 <(echo "$flags") <(echo "$words"))"
check "modes and switches not in cachefs.rules(5)" "$unnamed"
check "cachefs.rules(5) has examples" "$([ "$(grep -c . <<<"$rules")" -ge 10 ] || echo few)"
check "and they are rules" \
	"$("$top_builddir/mount.cachefs" / / -f -o rules="$file" 2>&1 || echo "refused")"
