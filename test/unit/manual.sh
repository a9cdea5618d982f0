#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Each option that --help lists is explained in the manual, and the manual has no other. The same for the
# verbs of cachefsctl, their options, exit codes, warnings and fields.
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

echo 1..14
check "--help lists options" "$([ "$(wc -w <<<"$own $flags")" -gt 30 ] || echo few)"
check "in --help, not in the manual" "$(comm -23 <(echo "$own") <(echo "$tags"))"
check "in the manual, not in --help" "$(comm -13 <(echo "$own") <(echo "$tags"))"
check "flags of mount(8) not in the manual" "$(comm -23 <(echo "$flags") <(echo "$words"))"
check "modes and switches not in cachefs.rules(5)" "$unnamed"
check "cachefs.rules(5) has examples" "$([ "$(grep -c . <<<"$rules")" -ge 10 ] || echo few)"
check "and they are rules" \
	"$("$top_builddir/mount.cachefs" / / -f -o rules="$file" 2>&1 || echo "refused")"

# ---- cachefsctl ----

manual=$top_srcdir/doc/cachefsctl.8
ctl=$top_builddir/cachefsctl
both() { comm -3 <(sort -u <<<"$1") <(sort -u <<<"$2"); }
# ctl_section NAME: of the manual, without hyphens' backslashes.
ctl_section() { sed 's/\\-/-/g' "$manual" | sed -n "/^\.SH $1/,/^\.SH /p"; }
# The words of its paragraphs' tags that are set in bold.
ctl_tags() { ctl_section "$1" | grep -A1 '^\.TP' | sed -nE 's/^\.BR? //p' | tr -d '",' | tr -s ' ' '\n' | grep .; }

verbs=$("$ctl" --help | sed -nE 's/^  ([a-z]+) .*/\1/p')
tags=$(ctl_section VERBS | grep -A1 '^\.TP' | sed -nE 's/^\.BR? ([a-z]+).*/\1/p')
check "cachefsctl --help lists verbs" "$([ "$(wc -w <<<"$verbs")" -ge 8 ] || echo few)"
check "verbs of cachefsctl, in --help or the manual alone" "$(both "$verbs" "$tags")"
missing=
for verb in $verbs; do
	# a line each in the synopsis, and all options in the paragraph of the verb
	grep -q "^\.B cachefsctl $verb\$" "$manual" || missing+=" synopsis:$verb"
	text=$(ctl_section VERBS | awk -v v="$verb" '/^\.TP/ { getline; on = on && /^\.BR? -/ || $2 == v } on')
	for option in $("$ctl" "$verb" --help | sed -nE 's/^ .*--([a-z]+)[ =].*/\1/p'); do
		[ "$option" = help ] || grep -q -e "--$option" <<<"$text" || missing+=" $verb:--$option"
	done
done
check "verbs and options that lack in the manual" "$missing"
check "exit codes, in --help or the manual alone" "$(both \
	"$("$ctl" --help | sed -n 's/^Exit status: //p' | grep -o '[0-9]')" \
	"$(ctl_section 'EXIT STATUS' | sed -nE 's/^\.B ([0-9])$/\1/p')")"
check "warnings of doctor, in the program or the manual alone" "$(both \
	"$(sed -nE 's/^\tX\([A-Z_]+, "([a-z-]+)",.*/\1/p' "$top_srcdir/src/ctl/judge.h")" \
	"$(ctl_tags WARNINGS)")"
fields=$(sed -nE 's/^\tX\([A-Z]+, ([a-z_]+), .*/\1/p' "$top_srcdir/src/ctl/file_status.h"
	sed -n '/^#define CACHEFS_COUNTERS/,/[^\\]$/s/^\tX(\([a-z_]*\),.*/\1/p' "$top_srcdir/include/cachefs.h")
check "there are fields" "$([ "$(wc -w <<<"$fields")" -ge 25 ] || echo few)"
check "fields that lack in the manual" "$(comm -23 <(sort -u <<<"$fields") <(ctl_tags FIELDS | sort -u))"
