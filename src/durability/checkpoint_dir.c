/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is kept, and how it is named: directories and files under checkpoints/. */
#include "durability/checkpoint_internal.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"

int checkpoint_top(struct checkpoints *c)
{
	int dir = private_dir_fd(c->dir);

	if (dir < 0)
		return dir;
	return sysret(openat(dir, CHECKPOINTS, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

int checkpoint_dir(int top, const struct file_id *id, bool create)
{
	_cleanup_fd_ int fd = -1;
	char text[FILE_ID_TEXT];

	file_id_text(id, text);
	if (create && mkdirat(top, text, 0700) < 0) {
		if (errno != EEXIST)
			return -errno;
		create = false;
	}
	fd = openat(top, text, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || (create && fsync(top) < 0))
		return -errno;
	return steal_fd(&fd);
}

bool checkpoint_is(int fd, const struct file_id *id)
{
	struct file_id now;

	return file_id_of(fd, &now) && file_id_equal(&now, id);
}

int checkpoint_names(int dir, int (*fn)(void *arg, int dir, const char *name), void *arg)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), ret = 0;
	struct dirent *entry;
	DIR *stream;

	if (fd < 0)
		return -errno;
	stream = fdopendir(fd);
	if (!stream) {
		ret = -errno;
		close(fd);
		return ret;
	}
	while (ret == 0) {
		errno = 0;
		entry = readdir(stream);
		if (!entry) {
			ret = -errno;
			break;
		}
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			ret = fn(arg, dir, entry->d_name);
	}
	closedir(stream);
	return ret;
}

void checkpoint_name(struct timespec taken, char name[48])
{
	snprintf(name, 48, "%" PRId64 ".%09ld", (int64_t)taken.tv_sec, taken.tv_nsec);
}

/* False: not the name of a checkpoint. */
static bool name_parse(const char *name, struct timespec *taken)
{
	int64_t seconds;
	char again[48];
	long nsec;

	if (sscanf(name, "%" SCNd64 ".%9ld", &seconds, &nsec) != 2)
		return false;
	*taken = (struct timespec){(time_t)seconds, nsec};
	checkpoint_name(*taken, again);
	return strcmp(name, again) == 0;
}

static bool later(struct timespec a, struct timespec b)
{
	return a.tv_sec > b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec > b.tv_nsec);
}

struct newest {
	struct timespec taken[CHECKPOINTS_KEPT];
	int count;
};

static int sort_in(void *arg, int dir, const char *name)
{
	struct newest *n = arg;
	struct timespec t;

	(void)dir;
	if (!name_parse(name, &t))
		return 0;
	if (n->count == 0 || later(t, n->taken[0])) {
		n->taken[1] = n->taken[0];
		n->taken[0] = t;
	} else if (n->count == 1 || later(t, n->taken[1])) {
		n->taken[1] = t;
	}
	n->count = MIN(n->count + 1, CHECKPOINTS_KEPT);
	return 0;
}

int checkpoint_newest(int dir, struct timespec taken[CHECKPOINTS_KEPT])
{
	struct newest n = {.count = 0};
	int err = checkpoint_names(dir, sort_in, &n);

	if (err)
		return err;
	memcpy(taken, n.taken, sizeof(n.taken));
	return n.count;
}

static int remove_older(void *arg, int dir, const char *name)
{
	const struct newest *keep = arg;
	struct timespec t;

	if (!name_parse(name, &t) || (keep->count > 0 && !later(keep->taken[keep->count - 1], t)))
		return 0;
	return sysret(unlinkat(dir, name, 0));
}

int checkpoint_prune(int dir, int keep)
{
	struct newest n;

	n.count = checkpoint_newest(dir, n.taken);
	if (n.count < 0)
		return n.count;
	n.count = MIN(n.count, keep);
	return checkpoint_names(dir, remove_older, &n);
}

static int remove_any(void *arg, int dir, const char *name)
{
	(void)arg;
	return sysret(unlinkat(dir, name, 0));
}

int checkpoint_remove(int top, const struct file_id *id)
{
	_cleanup_fd_ int dir = checkpoint_dir(top, id, false);
	char text[FILE_ID_TEXT];
	int err;

	if (dir < 0)
		return dir == -ENOENT ? 0 : dir;
	err = checkpoint_names(dir, remove_any, NULL);
	if (err)
		return err;
	file_id_text(id, text);
	if (unlinkat(top, text, AT_REMOVEDIR) < 0 || fsync(top) < 0)
		return -errno;
	return 0;
}

int checkpoint_write(int dir, const char *name, const char *text)
{
	_cleanup_fd_ int fd = -1;
	size_t len = strlen(text);
	char unfinished[64];
	ssize_t n;

	snprintf(unfinished, sizeof(unfinished), "%s.new", name);
	fd = openat(dir, unfinished, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	n = write(fd, text, len);
	if (n != (ssize_t)len) {
		int err = n < 0 ? -errno : -ENOSPC;

		unlinkat(dir, unfinished, 0);
		return err;
	}
	if (fsync(fd) < 0 || renameat(dir, unfinished, dir, name) < 0 || fsync(dir) < 0)
		return -errno;
	return 0;
}

int checkpoint_read(int dir, const char *name, char *text, size_t size)
{
	_cleanup_fd_ int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, size);
	if (n < 0)
		return -errno;
	if ((size_t)n == size)
		return -ENAMETOOLONG;
	text[n] = '\0';
	return 0;
}
