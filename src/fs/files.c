/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All open files, for those who look at, or change, each of them. */
#include "fs/internal.h"

int fs_shard_files(struct node_shard *s, struct file ***out)
{
	struct file **files;
	struct node *n, *tmp;
	int count = 0;

	pthread_mutex_lock(&s->lock);
	files = calloc(HASH_COUNT(s->hash) + 1, sizeof(*files));
	HASH_ITER (hh, s->hash, n, tmp) {
		if (files && n->file) {
			n->file->opens++;
			files[count++] = n->file;
		}
	}
	pthread_mutex_unlock(&s->lock);
	*out = files;
	return files ? count : -ENOMEM;
}

static int files_add(struct open_files *all, struct file **files, size_t count)
{
	struct file **grown = realloc(all->files, (all->count + count + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		grown[all->count++] = files[i];
	all->files = grown;
	return 0;
}

int fs_open_files(struct fs *fs, struct open_files *out)
{
	int err = 0;

	*out = (struct open_files){0};
	for (int i = 0; i < NODE_SHARDS && !err; i++) {
		struct file **files;
		int count = fs_shard_files(&fs->shards[i], &files);

		err = count < 0 ? count : files_add(out, files, (size_t)count);
		for (int k = 0; err && k < count; k++)
			file_put(fs, files[k]);
		free(files);
	}
	if (err)
		fs_open_files_put(fs, out);
	return err;
}

void fs_open_files_put(struct fs *fs, struct open_files *all)
{
	for (size_t i = 0; i < all->count; i++)
		file_put(fs, all->files[i]);
	free(all->files);
	*all = (struct open_files){0};
}
