/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/target.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/unserved.h"
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

/* Neither devices nor anything but regular files and directories: opening alone could do something.
 */
static int look(struct target *t, const char *path)
{
	*t = (struct target){.path = path, .fd = -1};
	if (stat(path, &t->st) < 0)
		return complain_errno(path, "cannot be looked at", errno, NULL);
	if (S_ISREG(t->st.st_mode) || S_ISDIR(t->st.st_mode))
		return CTL_OK;
	complain(path, "neither a regular file nor a directory: give one on a cachefs mount");
	return CTL_FAILED;
}

/* PATH is T's, or that of its directory. 0 or an errno. */
static int open_for_asking(struct target *t, const char *path)
{
	/* with O_APPEND the daemon serves it in every mode, so it is never what a switch waits for
	 */
	t->fd = open(path, O_RDONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return t->fd < 0 || fstat(t->fd, &t->st) < 0 ? errno : 0;
}

static int ask(struct target *t)
{
	struct statfs fs;

	/* no foreign filesystem is asked our questions */
	errno = 0;
	if (fstatfs(t->fd, &fs) < 0 || fs.f_type != FUSE_SUPER_MAGIC ||
	    ioctl(t->fd, CACHEFS_IOC_INFO, &t->info) < 0)
		return unserved_error(errno)
			   ? complain_errno(t->path, "gives no answer", errno, NULL)
			   : not_ours(t->path);
	t->info.options[sizeof(t->info.options) - 1] = '\0';
	return CTL_OK;
}

/* Other filesystems have this error, too; no other has this attribute. */
static bool refused_after_crash(const struct target *t, int err)
{
	return err == EUCLEAN && S_ISREG(t->st.st_mode) &&
	       getxattr(t->path, CACHEFS_XATTR_NOW, NULL, 0) > 0;
}

static int cannot_open(const struct target *t, int err)
{
	bool foreign = err == EUCLEAN && !refused_after_crash(t, err);

	return complain_errno(t->path, "cannot be opened", err, foreign ? strerror(err) : NULL);
}

int target_open(struct target *t, const char *path)
{
	int err, code = look(t, path);

	if (code)
		return code;
	err = open_for_asking(t, path);
	return err ? cannot_open(t, err) : ask(t);
}

int target_open_any(struct target *t, const char *path)
{
	int err, code = look(t, path);

	if (code)
		return code;
	err = open_for_asking(t, path);
	if (refused_after_crash(t, err))
		return CTL_OK;
	return err ? cannot_open(t, err) : ask(t);
}

int target_open_parent(struct target *t, const char *path, char name[NAME_MAX + 1])
{
	_cleanup_free_ char *real = NULL;
	struct stat there, file;
	int err, code = look(t, path);
	char *slash;

	if (code)
		return code;
	if (!S_ISREG(t->st.st_mode)) {
		complain(path, "a directory: give a file");
		return CTL_FAILED;
	}
	file = t->st;
	real = realpath(path, NULL);
	if (!real)
		return complain_errno(path, "cannot be resolved", errno, NULL);
	slash = strrchr(real, '/');
	snprintf(name, NAME_MAX + 1, "%s", slash + 1);
	*slash = '\0';
	err = open_for_asking(t, *real ? real : "/");
	if (err)
		return complain_errno(path, "its directory cannot be opened", err,
				      err == EACCES ? "it may not be read by you" : NULL);
	code = ask(t);
	if (code)
		return code;
	if (fstatat(t->fd, name, &there, AT_SYMLINK_NOFOLLOW) == 0 && there.st_dev == file.st_dev &&
	    there.st_ino == file.st_ino && t->st.st_dev == file.st_dev)
		return CTL_OK;
	complain(path, "mounted there alone, or moved just now: give its path in its directory, on "
		       "a cachefs mount");
	return CTL_FAILED;
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
