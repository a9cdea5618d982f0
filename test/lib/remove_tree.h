/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A directory and what is in it, for test programs; links are not followed. */
#ifndef CACHEFS_TEST_REMOVE_TREE_H
#define CACHEFS_TEST_REMOVE_TREE_H

#include <ftw.h>
#include <stdio.h>

static inline int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

/* 0, or -1 with errno of what could not be removed. */
static inline int remove_tree(const char *path)
{
	return nftw(path, remove_entry, 32, FTW_DEPTH | FTW_PHYS);
}

#endif
