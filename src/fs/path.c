/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a node is called. */
#include <string.h>

#include "fs/internal.h"

/* From the end of BUF to its beginning; -ENOENT where a name is missing on the way to the root. */
static int path_build(struct fs *fs, const struct node *n, char *buf, size_t size, size_t *start)
{
	size_t pos = size - 1;

	buf[pos] = 0;
	/* ends in a circle too, which renames behind the mount may make: the buffer does */
	for (; n != fs->root; n = n->parent) {
		size_t len = n && n->parent && n->name ? strlen(n->name) : 0;

		if (!len)
			return -ENOENT;
		if (pos < len + 1)
			return -ENAMETOOLONG;
		if (pos != size - 1)
			buf[--pos] = '/';
		pos -= len;
		memcpy(buf + pos, n->name, len);
	}
	*start = pos;
	return 0;
}

int fs_node_path(struct fs *fs, struct node *n, char *buf, size_t size)
{
	size_t start = 0;
	int err;

	if (!size)
		return -ENAMETOOLONG;
	pthread_mutex_lock(&fs->tree);
	err = path_build(fs, n, buf, size, &start);
	pthread_mutex_unlock(&fs->tree);
	if (err)
		return err;
	memmove(buf, buf + start, size - start);
	return (int)(size - start - 1);
}
