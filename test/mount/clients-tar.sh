#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A tree unpacked by tar on the mount: contents and everything that tar keeps about files are the
# same, through the mount and below it.

. "$(dirname "$0")/../lib/lib.sh"
LAST_CLOSE=
need_root
need_fuse
need_commands tar

# A source tree, and what source trees seldom have.
make_tree() {
	local name

	mkdir -p "$1/src" "$1/odd/sub" || return
	cp -a /usr/include/linux/[a-d]*.h /usr/include/linux/netfilter "$1/src"
	ln -s ../src/nowhere "$1/odd/dangling"
	ln "$1/src/fuse.h" "$1/odd/hard" 2>/dev/null || ln "$1/src/auxvec.h" "$1/odd/hard"
	mkfifo "$1/odd/fifo"
	printf x >"$1/odd/$(printf 'new\nline \\ \303\244')"
	name=$(printf 'n%.0s' {1..255})
	: >"$1/odd/sub/$name"
	truncate -s 3000001 "$1/odd/sparse"
	printf tail >>"$1/odd/sparse"
	chmod 4750 "$1/odd/hard"
	chmod 3775 "$1/odd/sub"
	chown 12:34 "$1/odd/sparse"
	touch -d "2001-02-03 04:05:06.789012345" "$1/odd/sparse" "$1/odd/sub"
}

# What there is, one line a file; with the times of directories, in nanoseconds.
listing() {
	(cd "$1" && find . ! -path . -printf '%P %y %m %U %G %n %T@ %l ' \
		\( -type f -printf '%s\n' -o -printf '\n' \) | sort)
}

unpack() {
	local copy=$MNT/copy

	mkdir "$copy"
	succeeds "$1: tar unpacks" tar --numeric-owner -xpf "$WORK/tree.tar" -C "$copy"
	succeeds "$1: tar finds no difference" tar --numeric-owner -df "$WORK/tree.tar" -C "$copy"
	succeeds "$1: modes, owners, links, sizes, times" \
		diff <(listing "$WORK/tree") <(listing "$copy")
	succeeds "$1: the same below the mount" \
		diff <(listing "$WORK/tree") <(listing "$BACK/copy")
	succeeds "$1: tar packs it again, to the mount" \
		tar --numeric-owner --sort=name --format=posix -cf "$MNT/again.tar" -C "$copy" .
	succeeds "$1: and that holds the tree" \
		tar --numeric-owner -df "$MNT/again.tar" -C "$WORK/tree"
	succeeds "$1: all of it can be removed" rm -r "$copy"
	is "$(find "$BACK" -mindepth 1 -name .cachefs -prune -o -mindepth 1 -print | wc -l)" -eq 1 \
		"$1: nothing but the archive is left"
}

make_tree "$WORK/tree" || bail_out "cannot make a tree to pack"
tar --numeric-owner --format=posix -cf "$WORK/tree.tar" -C "$WORK/tree" .
each_mode 8 unpack
