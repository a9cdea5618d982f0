/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/mounts.h"

#include <string.h>

#include "ctl/text.h"

const char *path_below(const char *path, const char *directory)
{
	size_t n = strlen(directory);

	while (n && directory[n - 1] == '/')
		n--;
	if (strncmp(path, directory, n) != 0 || (path[n] && path[n] != '/'))
		return NULL;
	path += n;
	return path + strspn(path, "/");
}

const struct mount_entry *mounts_find(const struct mounts *m, dev_t dev, const char *path,
				      char **below)
{
	const struct mount_entry *best = NULL;
	const char *best_rest = NULL;

	for (size_t i = 0; i < m->count; i++) {
		const struct mount_entry *e = &m->entries[i];
		const char *rest = e->dev == dev ? path_below(path, e->point) : NULL;

		if (rest && (!best || strlen(rest) <= strlen(best_rest))) {
			best = e;
			best_rest = rest;
		}
	}
	if (best) {
		const char *root = best->root + strspn(best->root, "/");

		*below = text_format("%s%s%s", root, *root && *best_rest ? "/" : "", best_rest);
	}
	return best;
}

const struct mount_entry *mounts_whole(const struct mounts *m, dev_t dev)
{
	for (size_t i = m->count; i-- > 0;)
		if (m->entries[i].dev == dev && strcmp(m->entries[i].root, "/") == 0)
			return &m->entries[i];
	return NULL;
}
