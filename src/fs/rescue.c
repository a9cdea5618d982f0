/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an administrator does with files that a crash may have harmed. */
#include <string.h>

#include "base/log.h"
#include "fs/internal.h"

/* A regular file that UID may decide about. Its descriptor (O_PATH) goes to FD. */
static int find(struct fs *fs, uint64_t dir, const char *name, uid_t uid, struct path_fd *parent,
		int *fd)
{
	struct node *n = node_get(fs, dir);
	struct stat st;
	int err = n ? path_fd_get(fs, n, parent) : -ESTALE;

	if (err)
		return err;
	if (n->rec->type != S_IFDIR || fs_private_name(fs, n, name))
		return -EINVAL;
	*fd = fs_open_beneath(fs, parent->fd, name);
	if (*fd < 0)
		return *fd;
	if (fstat(*fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	return fs_may_set_modes(fs, uid, st.st_uid) ? 0 : -EPERM;
}

int fs_trust(struct fs *fs, uint64_t dir, const char *name, uid_t uid)
{
	_cleanup_path_ struct path_fd parent = PATH_FD_NONE;
	_cleanup_fd_ int fd = -1;
	struct node *n;
	int err = find(fs, dir, name, uid, &parent, &fd);

	if (err)
		return err;
	err = unsafe_trust(fs, fd, name);
	if (err)
		return err;
	n = node_find(fs, parent.fd, name);
	if (n) {
		struct file *f = n->rec->close_error ? file_find(fs, n) : NULL;

		if (f) { /* open still, or being flushed again */
			flush_forgive(&f->flush);
			file_put(fs, f);
		}
		/* last: if we are killed, who does it again knows by it that there is more to do */
		if (node_set_error(fs, n, 0))
			unsafe_forgiven(fs);
		node_unref(fs, n);
	}
	return 0;
}

int fs_trust_all(struct fs *fs)
{
	return unsafe_trust_all(fs);
}

/* Nobody else has it open, and nobody can while N is held. */
static int check_closed(struct fs *fs, struct node *n)
{
	struct file *f = n ? file_find(fs, n) : NULL;

	if (!f)
		return 0;
	file_put(fs, f);
	return -EBUSY;
}

int fs_rollback(struct fs *fs, uint64_t dir, const char *name, bool dry_run, uid_t uid,
		struct fs_rollback *out)
{
	_cleanup_path_ struct path_fd parent = PATH_FD_NONE;
	_cleanup_fd_ int fd = -1, dir_fd = -1;
	struct path_fd replaced;
	int err = find(fs, dir, name, uid, &parent, &fd);

	memset(out, 0, sizeof(*out));
	if (err)
		return err;
	dir_fd = fs_reopen(fs, parent.fd, O_RDONLY | O_DIRECTORY);
	if (dir_fd < 0)
		return dir_fd;
	replaced = node_hold(fs, parent.fd, name);
	err = check_closed(fs, replaced.node);
	if (!err)
		err = checkpointer_rollback(fs->checkpointer, dir_fd, name, fd, dry_run, out);
	node_name_lost(&replaced, node_get(fs, dir), name, !err && !dry_run);
	if (err || dry_run)
		return err;
	log_warn("%s: put back to its checkpoint; the file that was there is %s", name, out->kept);
	fs->config.invalidate_entry(fs->config.invalidate_arg, dir, name);
	err = unsafe_trust_id(fs, &out->id, name);
	if (err)
		log_error(
		    "%s: it is back, but could not be trusted: %s: do it with cachefsctl trust",
		    name, strerror(-err));
	return err;
}

void fs_set_flush_on_close(struct fs *fs, bool flush)
{
	atomic_store(&fs->flush_on_close, flush);
}

int fs_set_checkpoint(struct fs *fs, unsigned seconds)
{
	return checkpointer_set(fs->checkpointer, seconds);
}
