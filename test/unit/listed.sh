#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Every source, header and test in the tree is named in Makefile.am: what is not would silently be
# neither built, nor run, nor shipped.
set -u
cd "${top_srcdir:-.}" || exit 1

patterns=('src/*/*.c' 'src/*/*.h' 'src/*.c' 'include/*.h' 'test/unit/*.c' 'test/unit/*.h' 'test/guest/*.sh'
	'test/mount/*.sh' 'test/lib/*.c' 'test/lib/*.h' 'test/lib/*.sh' 'test/fuzz/*.[ch]' 'test/fuzz/*.sh' 'contrib/bench/*.c'
	'm4/*.m4' 'doc/*')
echo "1..${#patterns[@]}"
words=$(tr -s ' \t\\' '\n' <Makefile.am | sort -u)
for pattern in "${patterns[@]}"; do
	missing=
	for file in $pattern; do
		[ -e "$file" ] || continue
		# A unit test is named without its suffix; probes come in by aclocal.
		case $file in
		m4/*.m4) grep -q "^$(basename "$file" .m4 | tr '[:lower:]' '[:upper:]')\$" configure.ac && continue ;;
		test/*.c | contrib/*.c) grep -qxF "${file%.c}" <<<"$words" && continue ;;
		esac
		grep -qxF "$file" <<<"$words" || missing+=" $file"
	done
	if [ -z "$missing" ]; then
		echo "ok - $pattern: all named"
	else
		echo "not ok - $pattern: not named in Makefile.am (probes: configure.ac):$missing"
	fi
done
