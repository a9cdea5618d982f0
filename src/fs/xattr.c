/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Extended attributes go by the path of the descriptor, since f*xattr(2) refuses O_PATH. Who may
 * have which is decided by the kernel on the mount (default_permissions).
 */
#include <linux/limits.h>
#include <string.h>
#include <sys/xattr.h>

#include "base/cap.h"
#include "fs/internal.h"
#include "fs/once.h"

/*
 * The kernel leaves who may do what with system.* to the filesystem (xattr_permission(),
 * fs/xattr.c). ACLs it checks itself on the mount; others (NFS's, CIFS's, ntfs3's) would be done
 * with our rights.
 */
static bool served(const char *name)
{
	return strncmp(name, "system.", strlen("system.")) != 0 ||
	       !strcmp(name, "system.posix_acl_access") ||
	       !strcmp(name, "system.posix_acl_default");
}

/*
 * ---- when the request comes again ----
 *
 * The kernel holds the inode's lock over setxattr and removexattr, so no other client of the mount
 * has touched the attribute. Setting one again is harmless, but for XATTR_CREATE.
 */

static bool is_there(int path_fd, const char *name)
{
	return getxattr(fs_fd_path(path_fd).s, name, NULL, 0) >= 0;
}

/* FLAGS as a dead worker left them: what it has created is not created again. */
static int flags_once(int path_fd, const char *name, int flags)
{
	struct node_key was, now = {0};

	if (!(flags & XATTR_CREATE))
		return flags;
	now.ino = is_there(path_fd, name);
	if (once_before(0, &was))
		return now.ino && !was.ino ? flags & ~XATTR_CREATE : flags;
	once_begin(&now, NULL);
	return flags;
}

static bool removed_before(int path_fd, const char *name)
{
	struct node_key was, now = {.ino = is_there(path_fd, name)};

	if (once_before(0, &was))
		return was.ino && !now.ino;
	once_begin(&now, NULL);
	return false;
}

/* ---- the file's mode ---- */

enum mode_attr { NO_MODE_ATTR, MODE_STORED, MODE_NOW };

static enum mode_attr mode_attr(const char *name)
{
	if (!strcmp(name, CACHEFS_XATTR_STORED))
		return MODE_STORED;
	return strcmp(name, CACHEFS_XATTR_NOW) ? NO_MODE_ATTR : MODE_NOW;
}

static ssize_t get_mode_now(struct fs *fs, uint64_t id, char *buf, size_t size)
{
	struct fs_mode_shown m;
	char text[128];
	int len, err = fs_mode_show(fs, id, &m);

	if (err)
		return err;
	len = mode_describe(m.switches, text, sizeof(text));
	if (size && (size_t)len > size)
		return -ERANGE;
	memcpy(buf, text, size ? (size_t)len : 0);
	return len;
}

/* FLAGS: XATTR_CREATE, XATTR_REPLACE; the one of now is always there. */
static int set_mode(struct fs *fs, uint64_t id, enum mode_attr which, const char *value,
		    size_t size, int flags, uid_t uid)
{
	struct fs_mode_change c = {
	    .persist = which == MODE_STORED, .uid = uid, .xattr_flags = flags};

	if (mode_parse(value, size, &c.switches))
		return -EINVAL;
	if (which == MODE_NOW && flags & XATTR_CREATE)
		return -EEXIST;
	return fs_mode_change(fs, id, &c);
}

static int remove_mode(struct fs *fs, uint64_t id, enum mode_attr which, bool again, uid_t uid)
{
	struct fs_mode_change c = {
	    .persist = which == MODE_STORED, .clear = true, .again = again, .uid = uid};

	return fs_mode_change(fs, id, &c);
}

static bool is_regular(struct fs *fs, uint64_t id)
{
	const struct node *n = node_get(fs, id);

	return n && n->rec->type == S_IFREG;
}

/* ---- all others ---- */

/* ERR: of what has no attributes. */
static int path_of(struct fs *fs, uint64_t id, struct path_fd *p, int err)
{
	struct node *n = node_get(fs, id);

	return n ? path_fd_get(fs, n, p) : report_or_stale(id, err);
}

ssize_t fs_getxattr(struct fs *fs, uint64_t id, const char *name, void *buf, size_t size)
{
	_cleanup_path_ struct path_fd p = PATH_FD_NONE;
	int err = path_of(fs, id, &p, -ENODATA);

	if (mode_attr(name) == MODE_NOW)
		return get_mode_now(fs, id, buf, size);
	if (!served(name) || (mode_attr(name) && !is_regular(fs, id)))
		return -EOPNOTSUPP;
	return err ? err : sysret(getxattr(fs_fd_path(p.fd).s, name, buf, size));
}

/*
 * The kernel hides trusted attributes from who lacks CAP_SYS_ADMIN; it would show them all to us.
 * The mode of now is never listed, not even where the backing has an attribute of its name.
 */
static bool listed(const char *name, bool trusted)
{
	return mode_attr(name) != MODE_NOW &&
	       (trusted || strncmp(name, "trusted.", strlen("trusted.")) != 0);
}

static size_t keep_listed(char *list, size_t len, bool trusted)
{
	size_t kept = 0;

	for (size_t pos = 0; pos < len;) {
		size_t n = strnlen(list + pos, len - pos - 1) + 1;

		if (listed(list + pos, trusted)) {
			memmove(list + kept, list + pos, n);
			kept += n;
		}
		pos += n;
	}
	return kept;
}

ssize_t fs_listxattr(struct fs *fs, uint64_t id, char *buf, size_t size, bool trusted)
{
	_cleanup_path_ struct path_fd p = PATH_FD_NONE;
	_cleanup_free_ char *list = NULL;
	ssize_t n = path_of(fs, id, &p, -ENODATA);

	if (n)
		return n == -ENODATA ? 0 : n;
	list = malloc(XATTR_LIST_MAX);
	if (!list)
		return -ENOMEM;
	n = sysret(listxattr(fs_fd_path(p.fd).s, list, XATTR_LIST_MAX));
	if (n <= 0)
		return n;
	n = (ssize_t)keep_listed(list, (size_t)n, trusted);
	if (size && (size_t)n > size)
		return -ERANGE;
	if (size)
		memcpy(buf, list, (size_t)n);
	return n;
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
		int flags, bool kill_sgid, uid_t uid)
{
	_cleanup_path_ struct path_fd p = PATH_FD_NONE;
	int result, err = path_of(fs, id, &p, -EPERM);

	if (once_done(&result) && result)
		return result;
	if (!err && mode_attr(name) != MODE_NOW)
		flags = flags_once(p.fd, name, flags);
	if (mode_attr(name))
		return once_end(set_mode(fs, id, mode_attr(name), value, size, flags, uid));
	if (!served(name))
		return -EOPNOTSUPP;
	atomic_store_explicit(&fs->written, true, memory_order_relaxed);
	cap_thread_fsetid(true); /* a new ACL takes sgid away only where the kernel says so */
	if (!err)
		err = once_end(sysret(setxattr(fs_fd_path(p.fd).s, name, value, size, flags)));
	return err || !kill_sgid ? err : clear_sgid(p.fd);
}

int fs_removexattr(struct fs *fs, uint64_t id, const char *name, uid_t uid)
{
	_cleanup_path_ struct path_fd p = PATH_FD_NONE;
	int result, err = path_of(fs, id, &p, -EPERM);
	bool removed;

	if (once_done(&result) && result)
		return result;
	removed = !err && mode_attr(name) != MODE_NOW && removed_before(p.fd, name);
	if (mode_attr(name))
		return once_end(remove_mode(fs, id, mode_attr(name), removed, uid));
	if (!served(name))
		return -EOPNOTSUPP;
	if (err || removed)
		return err;
	return once_end(sysret(removexattr(fs_fd_path(p.fd).s, name)));
}
