/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "durability/checkpoint.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/util.h"
#include "durability/checkpoint_internal.h"
#include "durability/checkpoint_ranges.h"

int checkpoint_probe(int root_fd)
{
	_cleanup_fd_ int from = -1, to = -1;

	from = openat(root_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	to = openat(root_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (from < 0 || to < 0)
		return errno == EISDIR ? -EOPNOTSUPP : -errno;
	if (ioctl(to, FICLONE, from) == 0)
		return 0;
	return errno == ENOTTY || errno == EINVAL || errno == ENOSYS ? -EOPNOTSUPP : -errno;
}

int checkpoints_create(struct private_dir *p, int root_fd, struct checkpoints **out)
{
	struct checkpoints *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->dir = p;
	c->root_fd = root_fd;
	pthread_mutex_init(&c->lock, NULL);
	*out = c;
	return 0;
}

void checkpoints_destroy(struct checkpoints *c)
{
	if (!c)
		return;
	pthread_mutex_destroy(&c->lock);
	free(c);
}

bool checkpoint_claim(struct checkpoints *c, struct claim *claim, const struct file_id *id)
{
	struct claim *other;

	claim->id = id;
	pthread_mutex_lock(&c->lock);
	for (other = c->claims; other && !file_id_equal(other->id, id); other = other->next)
		;
	if (!other) {
		claim->next = c->claims;
		c->claims = claim;
	}
	pthread_mutex_unlock(&c->lock);
	return !other;
}

void checkpoint_release(struct checkpoints *c, struct claim *claim)
{
	struct claim **p;

	pthread_mutex_lock(&c->lock);
	for (p = &c->claims; *p != claim; p = &(*p)->next)
		;
	*p = claim->next;
	pthread_mutex_unlock(&c->lock);
}

/* Where a file's checkpoints go, with its path on record. */
static int prepare(struct checkpoints *c, const struct file_id *id, const char *path)
{
	_cleanup_fd_ int top = -1, dir = -1;
	char known[PATH_MAX];
	int err;

	top = private_dir_sub(c->dir, CHECKPOINTS);
	if (top < 0)
		return top;
	dir = checkpoint_dir(top, id, true);
	if (dir < 0)
		return dir;
	err = checkpoint_read(dir, CHECKPOINT_PATH, known, sizeof(known));
	if (err < 0 || strcmp(known, path) != 0)
		err = checkpoint_write(dir, CHECKPOINT_PATH, path);
	return err < 0 ? err : steal_fd(&dir);
}

/* Later than all that there are, even where the clock was set back. */
static int name_next(int dir, char name[48])
{
	struct timespec now, taken[CHECKPOINTS_KEPT];
	int n = checkpoint_newest(dir, taken);

	if (n < 0)
		return n;
	clock_gettime(CLOCK_REALTIME, &now);
	if (n > 0 && (now.tv_sec < taken[0].tv_sec ||
		      (now.tv_sec == taken[0].tv_sec && now.tv_nsec <= taken[0].tv_nsec))) {
		now = taken[0];
		if (++now.tv_nsec == 1000000000)
			now = (struct timespec){now.tv_sec + 1, 0};
	}
	checkpoint_name(now, name);
	return 0;
}

/* Clones FD into DIR. What fails leaves at most an unfinished file, which goes. */
static int clone_to(int dir, int fd, struct checkpoint_gate *gate, struct checkpoint_cost *cost)
{
	_cleanup_fd_ int to = -1;
	uint64_t start;
	char name[48];
	int err;

	if (unlinkat(dir, CHECKPOINT_UNFINISHED, 0) < 0 && errno != ENOENT)
		return -errno;
	to = openat(dir, CHECKPOINT_UNFINISHED, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (to < 0)
		return -errno;
	err = checkpoint_clone(to, fd, fd, gate, &cost->clone_nsec);
	start = clock_nsec();
	if (!err)
		err = sysret(fsync(to));
	/* what write-back lost while we cloned is in the page cache, and not in the clone */
	if (!err)
		err = checkpoint_write_error(fd);
	if (!err)
		err = name_next(dir, name);
	if (!err)
		err = sysret(renameat(dir, CHECKPOINT_UNFINISHED, dir, name));
	if (err)
		unlinkat(dir, CHECKPOINT_UNFINISHED, 0);
	else
		err = sysret(fsync(dir));
	cost->durable_nsec = clock_nsec() - start;
	return err;
}

static int take(struct checkpoints *c, int fd, const struct file_id *id, const char *path,
		struct checkpoint_gate *gate, struct checkpoint_cost *cost)
{
	_cleanup_fd_ int dir = -1;
	uint64_t start = clock_nsec();
	struct stat st;
	int err;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (st.st_nlink == 0)
		return -ENOENT;
	err = checkpoint_write_back(fd);
	cost->flushed_nsec = clock_nsec() - start;
	if (err)
		return err;
	dir = prepare(c, id, path);
	if (dir < 0)
		return dir;
	err = clone_to(dir, fd, gate, cost);
	return err ? err : checkpoint_prune(dir, CHECKPOINTS_KEPT);
}

int checkpoint_take_ranges(struct checkpoints *c, int fd, const struct file_id *id,
			   const char *path, struct checkpoint_gate *gate,
			   struct checkpoint_cost *cost)
{
	struct checkpoint_cost none;
	struct claim claim;
	int err;

	if (!cost)
		cost = &none;
	*cost = (struct checkpoint_cost){0};
	if (id->len == 0)
		return -EOPNOTSUPP;
	if (!checkpoint_claim(c, &claim, id))
		return -EBUSY;
	err = take(c, fd, id, path, gate, cost);
	checkpoint_release(c, &claim);
	return err;
}

int checkpoint_take(struct checkpoints *c, int fd, const struct file_id *id, const char *path,
		    struct checkpoint_cost *cost)
{
	return checkpoint_take_ranges(c, fd, id, path, NULL, cost);
}

int checkpoint_drop(struct checkpoints *c, const struct file_id *id)
{
	_cleanup_fd_ int top = checkpoint_top(c);
	struct claim claim;
	int err;

	if (top < 0)
		return top == -ENOENT ? 0 : top;
	if (!checkpoint_claim(c, &claim, id))
		return -EBUSY;
	err = checkpoint_remove(top, id);
	checkpoint_release(c, &claim);
	return err;
}
