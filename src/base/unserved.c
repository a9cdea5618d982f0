/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/unserved.h"

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"

/* More names than a path can have. */
#define STEPS_MAX PATH_MAX

bool unserved_error(int err)
{
	/* the last one: it died before it had answered FUSE's INIT */
	return err == ENOTCONN || err == ECONNABORTED || err == ECONNREFUSED;
}

static int look(const char *path, int sync, unsigned mask, struct statx *st)
{
	return sysret(statx(AT_FDCWD, path, sync | AT_NO_AUTOMOUNT, mask, st));
}

/*
 * One step to the root of a mount on which nothing below the root can be looked up: the target of
 * the symbolic link PATH, or the directory that it is in. To be freed; NULL: no memory.
 */
static char *step_up(const char *path)
{
	_cleanup_free_ char *copy = strdup(path);
	char target[PATH_MAX], *directory, *next;
	ssize_t n;

	if (!copy)
		return NULL;
	for (size_t len = strlen(copy); len > 1 && copy[len - 1] == '/'; len--)
		copy[len - 1] = '\0';
	n = readlink(copy, target, sizeof(target) - 1);
	directory = dirname(copy);
	if (n < 0)
		return strdup(directory);
	target[n] = '\0';
	if (target[0] == '/')
		return strdup(target);
	return asprintf(&next, "%s/%s", directory, target) < 0 ? NULL : next;
}

/* From the root on, since even the working directory is looked at. To be freed; NULL: errno. */
static char *absolute(const char *path)
{
	_cleanup_free_ char *here = path[0] == '/' ? NULL : getcwd(NULL, 0);
	char *whole;

	if (!here)
		return strdup(path);
	return asprintf(&whole, "%s/%s", here, path) < 0 ? NULL : whole;
}

/*
 * PATH, or what is nearest to it that can be looked at without asking a daemon; ST is of that. To
 * be freed; NULL: there is nothing, or no memory: errno.
 */
static char *nearest(const char *path, struct statx *st)
{
	char *now = absolute(path);

	for (int i = 0; now && i < STEPS_MAX; i++) {
		/* without a mask also those get the mount who may not use it */
		int err = look(now, AT_STATX_DONT_SYNC, 0, st);
		char *next = NULL;

		if (!err)
			return now;
		if (unserved_error(-err))
			next = step_up(now);
		else
			errno = -err;
		cleanup_mem(&now);
		now = next;
	}
	cleanup_mem(&now);
	return NULL;
}

int mount_of(const char *path, struct mount_entry *out)
{
	struct statx st = {0};
	_cleanup_free_ char *where = nearest(path, &st);
	struct mounts m;
	int err = where ? mounts_read(&m) : -errno;

	if (err)
		return err;
	err = -ENOENT;
	/* a kernel that does not say which mount it is has 0 here, which none is */
	for (size_t i = 0; err && i < m.count; i++) {
		if (m.entries[i].id != st.stx_mnt_id)
			continue;
		*out = m.entries[i];
		m.entries[i] = m.entries[--m.count];
		err = 0;
	}
	mounts_free(&m);
	return err;
}

bool unserved(const char *path)
{
	struct statx st;
	_cleanup_free_ char *where = nearest(path, &st);

	return where && unserved_error(-look(where, AT_STATX_FORCE_SYNC, STATX_MODE, &st));
}

char *unserved_text(const char *path)
{
	struct mount_entry e;
	char *text = NULL;

	if (mount_of(path, &e))
		return NULL;
	if (unserved(path) &&
	    asprintf(&text,
		     "on a cachefs mount that nobody serves any more: unmount it (umount %s) and "
		     "mount it again",
		     e.point) < 0)
		text = NULL;
	mount_entry_free(&e);
	return text;
}
