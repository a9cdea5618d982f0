/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libmount's table of what the kernel does not keep (util-linux, libmount/src/tab_update.c): lines
 * of SRC= TARGET= ROOT= OPTS=, blanks and backslashes as octal escapes, replaced by rename under a
 * lock. libmount itself would drop options that it does not know from what it writes there.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/util.h"
#include "fuse/mount.h"

#define UTAB "/run/mount/utab"
#define UTAB_LOCK "/run/mount/utab.lock"
#define UTAB_NEW "/run/mount/utab.cachefs"

static void put_escaped(FILE *f, const char *key, const char *s)
{
	fprintf(f, "%s=", key);
	for (; *s; s++) {
		if (strchr(" \t\n\\", *s))
			fprintf(f, "\\%03o", (unsigned char)*s);
		else
			fputc(*s, f);
	}
}

static char *escaped_target(const char *target)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	put_escaped(f, " TARGET", target);
	fputc(' ', f);
	fclose(f);
	return text;
}

/* Every line but those of TARGET. */
static void copy_others(FILE *from, FILE *to, const char *target)
{
	_cleanup_free_ char *needle = escaped_target(target), *line = NULL;
	size_t size = 0;

	while (needle && getline(&line, &size, from) > 0) {
		if (!strstr(line, needle))
			fputs(line, to);
	}
}

static void utab_replace(const char *source, const char *target, const char *options)
{
	_cleanup_fd_ int lock = open(UTAB_LOCK, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	FILE *old, *new;

	if (lock < 0 || flock(lock, LOCK_EX) < 0)
		return;
	new = fopen(UTAB_NEW, "we");
	if (!new)
		return;
	old = fopen(UTAB, "re");
	if (old) {
		copy_others(old, new, target);
		fclose(old);
	}
	if (options) {
		put_escaped(new, "SRC", source);
		put_escaped(new, " TARGET", target);
		fputs(" ROOT=/", new);
		put_escaped(new, " OPTS", options);
		fputc('\n', new);
	}
	fchmod(fileno(new), 0644);
	if (fclose(new) || rename(UTAB_NEW, UTAB) < 0)
		unlink(UTAB_NEW);
}

void utab_set(const char *source, const char *target, const char *options)
{
	utab_replace(source, target, options);
}

void utab_remove(const char *target)
{
	if (access(UTAB, F_OK) == 0)
		utab_replace(NULL, target, NULL);
}
