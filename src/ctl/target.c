/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/target.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/util.h"
#include "ctl/ctl.h"
#include "ctl/text.h"

static int not_ours(const char *path)
{
	_cleanup_free_ char *real = NULL;
	struct stat st;

	if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode) && (real = realpath(path, NULL)))
		complain(path,
			 "a symbolic link to %s, which is not on a cachefs mount: give a path on "
			 "one (see cachefsctl status)",
			 real);
	else
		complain(path,
			 "not on a cachefs mount: give a path on one (see cachefsctl status)");
	return CTL_FAILED;
}

int target_open(struct target *t, const char *path)
{
	struct statfs fs;

	*t = (struct target){.path = path, .fd = -1};
	if (stat(path, &t->st) < 0)
		return complain_errno(path, "cannot be looked at", errno, NULL);
	if (!S_ISREG(t->st.st_mode) && !S_ISDIR(t->st.st_mode)) {
		complain(path,
			 "neither a regular file nor a directory: give one on a cachefs mount");
		return CTL_FAILED;
	}
	/* with O_APPEND the daemon serves it in every mode, so it is never what a switch waits for
	 */
	t->fd = open(path, O_RDONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (t->fd < 0 || fstat(t->fd, &t->st) < 0)
		return complain_errno(path, "cannot be opened", errno, NULL);
	/* no foreign filesystem is asked our questions */
	if (fstatfs(t->fd, &fs) < 0 || fs.f_type != FUSE_SUPER_MAGIC ||
	    ioctl(t->fd, CACHEFS_IOC_INFO, &t->info) < 0)
		return not_ours(path);
	t->info.options[sizeof(t->info.options) - 1] = '\0';
	return CTL_OK;
}

void target_close(struct target *t)
{
	cleanup_fd(&t->fd);
	t->fd = -1;
}

bool target_is_file(const struct target *t)
{
	return S_ISREG(t->st.st_mode);
}

int mount_open(const struct mount_entry *entry)
{
	_cleanup_fd_ int fd = open(entry->point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	return st.st_dev == entry->dev ? steal_fd(&fd) : -ESTALE;
}

int target_mount(const struct target *t, const struct mounts *mounts,
		 const struct mount_entry **entry, char **below)
{
	_cleanup_free_ char *real = realpath(t->path, NULL);
	_cleanup_free_ char *rest = NULL;
	int fd;

	if (!real)
		return -complain_errno(t->path, "cannot be resolved", errno, NULL);
	*entry = mounts_whole(mounts, t->st.st_dev);
	if (!mounts_find(mounts, t->st.st_dev, real, &rest) || !*entry) {
		complain(t->path,
			 "the root of its mount is not to be seen from here: use this where the "
			 "whole mount is");
		return -CTL_FAILED;
	}
	fd = mount_open(*entry);
	if (fd < 0)
		return -complain_errno((*entry)->point, "cannot be opened", -fd,
				       fd == -ESTALE ? "the mount is gone, or covered by another"
						     : NULL);
	*below = rest;
	rest = NULL;
	return fd;
}
