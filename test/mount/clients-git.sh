#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# git on the mount: clone, fsck, commits, gc, and a push to it.

. "$(dirname "$0")/../lib/lib.sh"
need_root
need_fuse
need_commands git

HOME=$WORK
GIT_CONFIG_NOSYSTEM=1
export HOME GIT_CONFIG_NOSYSTEM
git config --global user.name Test
git config --global user.email test@localhost
git config --global init.defaultBranch main
git config --global gc.auto 0
git config --global core.fsync all
git config --global safe.directory '*'

make_repository() {
	git init -q "$1" || return
	cp /usr/include/linux/[a-c]*.h "$1"
	git -C "$1" add . && git -C "$1" commit -qm headers || return
	cp -r /usr/include/linux/netfilter "$1"
	git -C "$1" add . && git -C "$1" commit -qm netfilter
}

change() {
	echo "$1" >>"$2/auxvec.h" && git -C "$2" commit -qam "$1" &&
		git -C "$2" mv netfilter moved && git -C "$2" commit -qm moved
}

versioned() {
	local clone=$MNT/clone

	succeeds "$1: clones" git clone -q --no-local "$WORK/origin" "$clone"
	succeeds "$1: fsck" git -C "$clone" fsck --full --strict --no-progress
	is "$(git -C "$clone" status --porcelain 2>&1)" = "" "$1: the work tree is clean"
	succeeds "$1: commits" change "$1" "$clone"
	succeeds "$1: gc" git -C "$clone" gc -q --prune=now
	succeeds "$1: clones to a bare repository, hard links allowed" \
		git clone -q --bare "$clone" "$MNT/bare.git"
	succeeds "$1: pushes" git -C "$clone" push -q "$MNT/bare.git" HEAD:refs/heads/pushed
	succeeds "$1: fsck of the bare repository" \
		git -C "$MNT/bare.git" fsck --full --strict --no-progress
	succeeds "$1: the backing holds the same work tree" \
		diff -r --exclude=.git "$clone" "$BACK/clone"
}

make_repository "$WORK/origin" || bail_out "cannot make a repository to clone"
each_mode 9 versioned
