/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Extended attributes go by the path of the descriptor, since f*xattr(2) refuses O_PATH. Who may have
 * which is decided by the kernel on the mount (default_permissions).
 */
#include <sys/xattr.h>

#include "fs/internal.h"

static int path_of(struct fs *fs, uint64_t id, struct path_fd *p)
{
	struct node *n = node_get(fs, id);

	return n ? path_fd_get(fs, n, p) : -ESTALE;
}

ssize_t fs_getxattr(struct fs *fs, uint64_t id, const char *name, void *buf, size_t size)
{
	_cleanup_path_ struct path_fd p = PATH_FD_NONE;
	int err = path_of(fs, id, &p);

	return err ? err : sysret(getxattr(fs_fd_path(p.fd).s, name, buf, size));
}

ssize_t fs_listxattr(struct fs *fs, uint64_t id, char *buf, size_t size)
{
	_cleanup_path_ struct path_fd p = PATH_FD_NONE;
	int err = path_of(fs, id, &p);

	return err ? err : sysret(listxattr(fs_fd_path(p.fd).s, buf, size));
}

/* An ACL that takes the group's rights away takes sgid with it, where the caller is no member. */
static int clear_sgid(int path_fd)
{
	struct stat st;

	if (fstat(path_fd, &st) < 0)
		return -errno;
	if (!(st.st_mode & S_ISGID))
		return 0;
	return sysret(chmod(fs_fd_path(path_fd).s, st.st_mode & 07777 & ~S_ISGID));
}

int fs_setxattr(struct fs *fs, uint64_t id, const char *name, const void *value, size_t size,
		int flags, bool kill_sgid)
{
	_cleanup_path_ struct path_fd p = PATH_FD_NONE;
	int err = path_of(fs, id, &p);

	if (!err)
		err = sysret(setxattr(fs_fd_path(p.fd).s, name, value, size, flags));
	return err || !kill_sgid ? err : clear_sgid(p.fd);
}

int fs_removexattr(struct fs *fs, uint64_t id, const char *name)
{
	_cleanup_path_ struct path_fd p = PATH_FD_NONE;
	int err = path_of(fs, id, &p);

	return err ? err : sysret(removexattr(fs_fd_path(p.fd).s, name));
}
