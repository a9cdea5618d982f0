/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files that a section of the crash marker names one by one. */
#include <string.h>

#include "base/util.h"
#include "durability/marker_internal.h"

/* File handles name files for good; without them there is only the path. */
static const void *file_key(const struct file_id *id, const char *path, size_t *len)
{
	if (id->len) {
		*len = offsetof(struct file_id, bytes) + id->len;
		return id;
	}
	*len = strlen(path);
	return path;
}

struct named_file *files_find(struct named_file *files, const struct file_id *id, const char *path)
{
	size_t len;
	const void *key = file_key(id, path, &len);
	struct named_file *f = NULL;

	HASH_FIND(hh, files, key, len, f);
	return f;
}

int files_add(struct named_file **files, const struct file_id *id, const char *path)
{
	struct named_file *f = calloc(1, sizeof(*f) + strlen(path) + 1);
	const void *key;
	size_t len;

	if (!f)
		return -ENOMEM;
	f->id = *id;
	strcpy(f->path, path);
	key = file_key(&f->id, f->path, &len);
	HASH_ADD_KEYPTR(hh, *files, key, len, f);
	if (f->hh.tbl)
		return 0;
	free(f);
	return -ENOMEM;
}

void files_free(struct named_file **files)
{
	struct named_file *f, *next;

	HASH_ITER (hh, *files, f, next) {
		HASH_DEL(*files, f);
		free(f);
	}
}

size_t files_text_size(const char *path)
{
	return FILE_ID_TEXT + 4 * strlen(path) + sizeof("trusted  \"\"\n");
}

/* Of several names, each with a NUL and an empty one at the end. */
static bool paths_have(const char *paths, const char *path)
{
	for (; paths && *paths; paths += strlen(paths) + 1)
		if (!strcmp(paths, path))
			return true;
	return false;
}

/* Where one of the two has no id, names decide. */
bool files_have(struct named_file *files, const struct file_id *id, const char *paths)
{
	static const struct file_id none;
	struct named_file *f, *next;

	if (id->len) {
		if (files_find(files, id, ""))
			return true;
		for (; paths && *paths; paths += strlen(paths) + 1)
			if (files_find(files, &none, paths))
				return true;
		return false;
	}
	HASH_ITER (hh, files, f, next)
		if (paths_have(paths, f->path))
			return true;
	return false;
}

bool files_trust(struct named_file *files, const struct file_id *id, const char *paths)
{
	if (id->len)
		return files_find(files, id, "");
	for (; paths && *paths; paths += strlen(paths) + 1)
		if (files_find(files, id, paths))
			return true;
	return false;
}
