/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "fs/internal.h"
#include "fs/once.h"

int fs_entry_from_fd(struct fs *fs, struct node *parent, const char *name, int fd,
		     struct fs_entry *e)
{
	struct node *n;
	int err = fs_statx_fd(fd, &e->st);

	if (err) {
		close(fd);
		return err;
	}
	n = node_lookup(fs, parent, name, fd, &e->st);
	if (!n)
		return -ENOMEM;
	fs_fix_ino(fs, &e->st);
	e->id = node_id(n);
	once_counted(fs, e->id);
	return 0;
}

/*
 * Without a clone of the backing mount for ourselves (fs_config.caps.open_tree), a mountpoint on
 * the way would lead out of it, or into our own mount, where we would wait for ourselves.
 */
int fs_open_beneath(struct fs *fs, int parent_fd, const char *name)
{
	struct open_how how = {.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
			       .resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV};

	if (fs->config.caps.open_tree)
		return sysret(openat(parent_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
	return sysret((int)syscall(SYS_openat2, parent_fd, name, &how, sizeof(how)));
}

int fs_entry_lookup(struct fs *fs, struct node *parent, int parent_fd, const char *name,
		    struct fs_entry *e)
{
	int fd = fs_open_beneath(fs, parent_fd, name);

	return fd < 0 ? fd : fs_entry_from_fd(fs, parent, name, fd, e);
}

bool fs_private_name(const struct fs *fs, const struct node *dir, const char *name)
{
	return dir == fs->root && !strcmp(name, PRIVATE_DIR);
}

int fs_lookup(struct fs *fs, uint64_t parent, const char *name, struct fs_entry *e)
{
	_cleanup_path_ struct path_fd dir = PATH_FD_NONE;
	struct node *n = node_get(fs, parent);
	int err = n ? path_fd_get(fs, n, &dir) : -ESTALE;

	if (!n)
		return report_lookup(fs, parent, name, e);
	if (fs_private_name(fs, n, name)) {
		report_dir_entry(fs, e);
		return 0;
	}
	return err ? err : fs_entry_lookup(fs, n, dir.fd, name, e);
}

void fs_forget(struct fs *fs, uint64_t id, uint64_t nlookup)
{
	struct node *n = node_get(fs, id);

	once_uncounted(id); /* of an operation that fails after all, on its own thread */
	if (n)
		node_forget(fs, n, nlookup);
}

int fs_statfs(struct fs *fs, uint64_t id, struct statfs *st)
{
	(void)id; /* one filesystem: nothing that is mounted below is served */
	return sysret(fstatfs(fs->root_fd, st));
}

ssize_t fs_readlink(struct fs *fs, uint64_t id, char *buf, size_t size)
{
	_cleanup_path_ struct path_fd p = PATH_FD_NONE;
	struct node *n = node_get(fs, id);
	int err = n ? path_fd_get(fs, n, &p) : report_or_stale(id, -EINVAL);

	return err ? err : sysret(readlinkat(p.fd, "", buf, size));
}
