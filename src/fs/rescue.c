/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an administrator does with files that a crash may have harmed. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "fs/internal.h"
#include "fs/once.h"
#include "fs/witness.h"

/*
 * A rollback looks so often whether the file is closed, for a second, or for five minutes while the
 * flush of its last close is under way: not for ever, since it waits in a thread that flushes may
 * need.
 */
#define MOMENT_NSEC 10000000
#define CLOSING_MOMENTS 100
#define FLUSHING_MOMENTS 30000

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
	n = node_find(fs, parent.fd, name, NULL);
	if (n) {
		struct file *f = n->rec->close_error ? file_find(fs, n) : NULL;

		if (f) { /* open still, or being flushed again */
			/* it knows the error; the next one does not, which somebody was told of */
			int witness = witness_withdraw(f);

			cleanup_fd(&witness);
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

/* The name of file KEY in DIR_FD (readable), which has one; "" where it has gone since. */
static void find_name(int dir_fd, const struct node_key *key, char name[NAME_MAX + 1])
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *d;

	*name = '\0';
	if (!dir) {
		cleanup_fd(&fd);
		return;
	}
	while ((d = readdir(dir)))
		if (d->d_ino == key->ino) {
			snprintf(name, NAME_MAX + 1, "%s", d->d_name);
			break;
		}
	closedir(dir);
}

/*
 * A dead worker found the file WAS at the name, and has put another one there (FD): the request has
 * come again, and gets the answer that it would have had. What that worker did not finish the
 * store of checkpoints has, when it was opened.
 */
static int rolled_back_before(struct fs *fs, int dir_fd, const struct node_key *was, int fd,
			      struct fs_rollback *out)
{
	find_name(dir_fd, was, out->kept);
	return checkpointer_rolled_back(fs->checkpointer, dir_fd, fd, out);
}

static struct node_key key_of(int fd)
{
	struct statx st;

	if (fs_statx_fd(fd, &st))
		return (struct node_key){0};
	return (struct node_key){(uint64_t)st.stx_dev_major << 32 | st.stx_dev_minor, st.stx_ino};
}

/*
 * What uses the file of N: 0: nothing; -EBUSY: a client has it open, or has closed it a moment ago;
 * -EINPROGRESS: it was closed by all, and is flushed in the background.
 */
static int in_use(struct fs *fs, struct node *n)
{
	struct file *f = file_find(fs, n);
	bool opened, flushing;

	if (!f)
		return 0;
	pthread_mutex_lock(&f->lock);
	opened = f->handles;
	pthread_mutex_unlock(&f->lock);
	flushing = atomic_load(&f->flushing);
	file_put(fs, f);
	return opened || !flushing ? -EBUSY : -EINPROGRESS;
}

/*
 * Until nobody else has it open; nobody can while N is held and tainted. The kernel tells of a
 * close after close(2) has returned, and the flush of a last close goes on after that.
 */
static int wait_closed(struct fs *fs, struct node *n)
{
	static const struct timespec moment = {.tv_nsec = MOMENT_NSEC};
	int err = 0;

	for (unsigned closing = 0, flushing = 0; n; nanosleep(&moment, NULL)) {
		err = in_use(fs, n);
		if (!err || (err == -EBUSY && closing++ == CLOSING_MOMENTS) ||
		    (err == -EINPROGRESS && flushing++ == FLUSHING_MOMENTS))
			break;
	}
	return err ? -EBUSY : 0;
}

static int rollback_once(struct fs *fs, struct node *dir, int dir_fd, const char *name, int fd,
			 bool dry_run, struct node *n, struct fs_rollback *out)
{
	struct node_key was, now = key_of(fd);
	int err;

	if (once_before(0, &was) && was.ino && now.ino && was.ino != now.ino)
		return rolled_back_before(fs, dir_fd, &was, fd, out);
	err = wait_closed(fs, n);
	if (err)
		return err;
	if (dry_run)
		return checkpointer_rollback(fs->checkpointer, dir_fd, name, fd, true, out);
	/* what is there now, and was harmed, gets a name beside it */
	err = unsafe_kept(fs, fd, dir, name);
	if (err)
		return err;
	once_begin(&now, NULL);
	return once_end(checkpointer_rollback(fs->checkpointer, dir_fd, name, fd, false, out));
}

/* The node of what is, or was, at NAME before this request was executed. */
static struct node *rollback_node(struct fs *fs, int parent_fd, const char *name)
{
	struct node_key was;

	return once_before(0, &was) ? node_find_key(fs, &was)
				    : node_find(fs, parent_fd, name, NULL);
}

int fs_rollback(struct fs *fs, uint64_t dir, const char *name, bool dry_run, uid_t uid,
		struct fs_rollback *out)
{
	_cleanup_path_ struct path_fd parent = PATH_FD_NONE;
	_cleanup_fd_ int fd = -1, dir_fd = -1;
	struct path_fd replaced;
	int result, err = find(fs, dir, name, uid, &parent, &fd);

	memset(out, 0, sizeof(*out));
	if (err || (once_done(&result) && result))
		return err ? err : result;
	dir_fd = fs_reopen(fs, parent.fd, O_RDONLY | O_DIRECTORY);
	if (dir_fd < 0)
		return dir_fd;
	replaced = node_hold(fs, rollback_node(fs, parent.fd, name));
	err = rollback_once(fs, node_get(fs, dir), dir_fd, name, fd, dry_run, replaced.node, out);
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
