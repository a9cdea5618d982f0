/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/mounts.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/util.h"
#include "ctl/text.h"

/* Blank, tab, newline and "\" stand there as \ooo. In place. */
static char *unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; to++) {
		if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' &&
		    from[2] <= '7' && from[3] >= '0' && from[3] <= '7') {
			*to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
			from += 4;
		} else
			*to = *from++;
	}
	*to = '\0';
	return text;
}

/* LINE is taken apart. */
static bool parse_line(char *line, struct mount_entry *e)
{
	char *save, *words[5], *word, *type, *source;
	unsigned major_n, minor_n;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!(words[i] = strtok_r(i ? NULL : line, " ", &save)))
			return false;
	while ((word = strtok_r(NULL, " ", &save)) && strcmp(word, "-") != 0)
		;
	type = strtok_r(NULL, " ", &save);
	source = strtok_r(NULL, " ", &save);
	if (!type || !source || strcmp(type, "fuse.cachefs") != 0 ||
	    sscanf(words[2], "%u:%u", &major_n, &minor_n) != 2)
		return false;
	e->dev = makedev(major_n, minor_n);
	e->root = need_memory(strdup(unescape(words[3])));
	e->point = need_memory(strdup(unescape(words[4])));
	e->source = need_memory(strdup(unescape(source)));
	return true;
}

void mounts_parse(const char *text, struct mounts *out)
{
	_cleanup_free_ char *copy = need_memory(strdup(text));
	char *save, *line;

	*out = (struct mounts){0};
	for (line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		out->entries =
		    need_memory(realloc(out->entries, (out->count + 1) * sizeof(*out->entries)));
		if (parse_line(line, &out->entries[out->count]))
			out->count++;
	}
}

int mounts_read(struct mounts *out)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	_cleanup_free_ char *text = NULL;
	size_t room = 0;
	int err = 0;

	*out = (struct mounts){0};
	if (!f)
		return -errno;
	errno = 0;
	if (getdelim(&text, &room, '\0', f) >= 0)
		mounts_parse(text, out);
	else if (errno)
		err = -errno;
	fclose(f);
	return err;
}

void mounts_free(struct mounts *m)
{
	for (size_t i = 0; i < m->count; i++) {
		free(m->entries[i].root);
		free(m->entries[i].point);
		free(m->entries[i].source);
	}
	free(m->entries);
	*m = (struct mounts){0};
}

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
