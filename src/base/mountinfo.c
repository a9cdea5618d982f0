/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/mountinfo.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/util.h"

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

void mount_entry_free(struct mount_entry *e)
{
	free(e->root);
	free(e->point);
	free(e->source);
}

/* LINE is taken apart. 1: a mount of ours; 0: none; or -ENOMEM. */
static int parse_line(char *line, struct mount_entry *e)
{
	char *save, *words[5], *word, *type, *source;
	unsigned major_n, minor_n;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!(words[i] = strtok_r(i ? NULL : line, " ", &save)))
			return 0;
	while ((word = strtok_r(NULL, " ", &save)) && strcmp(word, "-") != 0)
		;
	type = strtok_r(NULL, " ", &save);
	source = strtok_r(NULL, " ", &save);
	if (!type || !source || strcmp(type, "fuse.cachefs") != 0 ||
	    sscanf(words[2], "%u:%u", &major_n, &minor_n) != 2)
		return 0;
	*e = (struct mount_entry){.id = strtoull(words[0], NULL, 10),
				  .dev = makedev(major_n, minor_n),
				  .root = strdup(unescape(words[3])),
				  .point = strdup(unescape(words[4])),
				  .source = strdup(unescape(source))};
	if (e->root && e->point && e->source)
		return 1;
	mount_entry_free(e);
	return -ENOMEM;
}

int mounts_parse(const char *text, struct mounts *out)
{
	_cleanup_free_ char *copy = strdup(text);
	struct mounts m = {0};
	int one = copy ? 0 : -ENOMEM;
	char *save, *line;

	*out = m;
	for (line = copy ? strtok_r(copy, "\n", &save) : NULL; line && one >= 0;
	     line = strtok_r(NULL, "\n", &save)) {
		struct mount_entry *more = realloc(m.entries, (m.count + 1) * sizeof(*more));

		if (more)
			m.entries = more;
		one = more ? parse_line(line, &m.entries[m.count]) : -ENOMEM;
		if (one > 0)
			m.count++;
	}
	if (one < 0) {
		mounts_free(&m);
		return one;
	}
	*out = m;
	return 0;
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
		err = mounts_parse(text, out);
	else if (errno)
		err = -errno;
	fclose(f);
	return err;
}

void mounts_free(struct mounts *m)
{
	for (size_t i = 0; i < m->count; i++)
		mount_entry_free(&m->entries[i]);
	free(m->entries);
	*m = (struct mounts){0};
}
