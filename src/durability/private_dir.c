/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "durability/private_dir.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/util.h"

#define LOCK_NAME "lock"
/* The daemon of a mount that has just gone may still be flushing: give it a while. */
#define LOCK_TRIES 100 /* of 50 ms */

struct private_dir {
	int root_fd;
	/*
	 * Held for memory only. Who wants to open the directory or to take or drop the lock waits
	 * for its turn, since that may take seconds.
	 */
	pthread_mutex_t mutex;
	pthread_cond_t turned;
	bool busy;
	atomic_int dir_fd;     /* -1: not opened yet; its number stays, as others have it */
	int lock_fd;	       /* turn; -1: not the owner */
	bool adopted;	       /* turn; the lock is a dead process's, and may be claimed yet */
	atomic_int *record;    /* LOCK_FD + 1, for who comes after us; or NULL */
	atomic_uint owners;    /* calls of private_dir_own() that were not given back */
	atomic_int complained; /* errno of the last refusal that was logged */
};

static void turn_take(struct private_dir *p)
{
	pthread_mutex_lock(&p->mutex);
	while (p->busy)
		pthread_cond_wait(&p->turned, &p->mutex);
	p->busy = true;
	pthread_mutex_unlock(&p->mutex);
}

static void turn_give(struct private_dir *p)
{
	pthread_mutex_lock(&p->mutex);
	p->busy = false;
	pthread_cond_signal(&p->turned);
	pthread_mutex_unlock(&p->mutex);
}

int private_dir_create(int root_fd, struct private_dir **out)
{
	struct private_dir *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->root_fd = root_fd;
	p->lock_fd = -1;
	atomic_store(&p->dir_fd, -1);
	pthread_mutex_init(&p->mutex, NULL);
	pthread_cond_init(&p->turned, NULL);
	*out = p;
	return 0;
}

/* Turn, or nobody else is there. The record goes before the number can be another file's. */
static void release_lock(struct private_dir *p)
{
	if (p->record)
		atomic_store(p->record, 0);
	cleanup_fd(&p->lock_fd);
	p->lock_fd = -1;
}

void private_dir_destroy(struct private_dir *p)
{
	int fd;

	if (!p)
		return;
	fd = atomic_load(&p->dir_fd);
	release_lock(p);
	cleanup_fd(&fd);
	pthread_cond_destroy(&p->turned);
	pthread_mutex_destroy(&p->mutex);
	free(p);
}

/* ---- the directory ---- */

static int refuse_kind(struct private_dir *p, int error)
{
	if (atomic_exchange(&p->complained, error) != error)
		log_error("%s in the backing directory is not a directory: move it away, cachefs "
			  "keeps what must outlive it under that name",
			  PRIVATE_DIR);
	return -error;
}

/*
 * What is in the directory is believed, as root. Whoever else could write there could make us
 * believe anything, and replace what we write.
 */
static int check_trusted(struct private_dir *p, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_uid == geteuid() && !(st.st_mode & (S_IWGRP | S_IWOTH)))
		return 0;
	if (atomic_exchange(&p->complained, EPERM) != EPERM)
		log_error(
		    "%s in the backing directory belongs to user %u and has mode %04o: "
		    "nothing in it can be trusted; remove it, or make it user %u's, mode 0700",
		    PRIVATE_DIR, st.st_uid, st.st_mode & 07777, geteuid());
	return -EPERM;
}

static int open_dir(int dir_fd, const char *name)
{
	return sysret(openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
}

static int open_private(struct private_dir *p, bool create)
{
	_cleanup_fd_ int fd = open_dir(p->root_fd, PRIVATE_DIR);
	bool made = false;
	int err;

	if (fd == -ENOENT && create) {
		made = mkdirat(p->root_fd, PRIVATE_DIR, 0700) == 0;
		if (!made && errno != EEXIST)
			return -errno;
		fd = open_dir(p->root_fd, PRIVATE_DIR);
	}
	if (fd == -ENOTDIR || fd == -ELOOP)
		return refuse_kind(p, ENOTDIR);
	if (fd < 0)
		return fd;
	/* a thread that allocates blocks as a client (fsuid) has made it that client's */
	if (made && fchown(fd, geteuid(), (gid_t)-1) < 0) {
		err = -errno;
		unlinkat(p->root_fd, PRIVATE_DIR, AT_REMOVEDIR);
		return err;
	}
	err = check_trusted(p, fd);
	return err ? err : steal_fd(&fd);
}

/* Turn. The directory of now: it may have been moved away or removed since it was opened. */
static int refresh_dir(struct private_dir *p, bool create)
{
	_cleanup_fd_ int fd = open_private(p, create);
	int old = atomic_load(&p->dir_fd);

	if (fd < 0)
		return fd;
	if (old < 0)
		atomic_store(&p->dir_fd, steal_fd(&fd));
	else if (dup3(fd, old, O_CLOEXEC) < 0)
		return -errno;
	return 0;
}

int private_dir_fd(struct private_dir *p)
{
	int fd = atomic_load(&p->dir_fd), err = 0;

	if (fd >= 0)
		return fd;
	turn_take(p);
	if (atomic_load(&p->dir_fd) < 0)
		err = refresh_dir(p, false);
	turn_give(p);
	return err ? err : atomic_load(&p->dir_fd);
}

/* ---- the owner ---- */

static int take_lock(int fd, int tries)
{
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return -errno;
		if (--tries <= 0)
			return -EBUSY;
		usleep(50000);
	}
	return 0;
}

/* Turn. */
static int become_owner(struct private_dir *p, bool create, int tries)
{
	_cleanup_fd_ int lock = -1;
	int dir, err = refresh_dir(p, create);

	if (err)
		return err;
	dir = atomic_load(&p->dir_fd);
	/* O_RDWR: on a read-only filesystem nobody is an owner */
	lock = openat(dir, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (lock < 0)
		return -errno;
	err = take_lock(lock, tries);
	if (err)
		return err;
	/* whoever made the directory may have died before it was durable */
	if (fsync(dir) < 0 || fsync(p->root_fd) < 0)
		return -errno;
	p->lock_fd = steal_fd(&lock);
	if (p->record)
		atomic_store(p->record, p->lock_fd + 1);
	return 0;
}

/* Somebody may have put another directory in the place of the one that FD is locked in. */
static int check_lock(struct private_dir *p, int fd)
{
	struct stat held, there;

	if (fstat(fd, &held) < 0 ||
	    fstatat(atomic_load(&p->dir_fd), LOCK_NAME, &there, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return held.st_dev == there.st_dev && held.st_ino == there.st_ino ? 0 : -ESTALE;
}

int private_dir_record(struct private_dir *p, atomic_int *lock_fd)
{
	int err;

	p->record = lock_fd;
	p->lock_fd = atomic_load(lock_fd) - 1;
	if (p->lock_fd < 0)
		return 0;
	err = refresh_dir(p, false);
	if (!err)
		err = check_lock(p, p->lock_fd);
	if (err)
		release_lock(p);
	p->adopted = !err;
	return err;
}

void private_dir_settle(struct private_dir *p)
{
	turn_take(p);
	p->adopted = false;
	if (!atomic_load(&p->owners))
		release_lock(p);
	turn_give(p);
}

static int own(struct private_dir *p, bool create, int tries)
{
	int err = 0;

	turn_take(p);
	if (p->lock_fd < 0)
		err = become_owner(p, create, tries);
	if (!err)
		atomic_fetch_add(&p->owners, 1);
	turn_give(p);
	return err;
}

int private_dir_own(struct private_dir *p)
{
	return own(p, true, LOCK_TRIES);
}

int private_dir_own_existing(struct private_dir *p)
{
	return own(p, false, LOCK_TRIES);
}

int private_dir_try_own_existing(struct private_dir *p)
{
	return own(p, false, 1);
}

void private_dir_disown(struct private_dir *p)
{
	turn_take(p);
	/* a short owner in between gives nothing up that others will rely on */
	if (atomic_fetch_sub(&p->owners, 1) == 1 && !p->adopted)
		release_lock(p);
	turn_give(p);
}

/* ---- what is in it ---- */

/* Of an owner: the directory's descriptor. */
static int owned_dir(struct private_dir *p)
{
	return atomic_load(&p->owners) ? atomic_load(&p->dir_fd) : -EPERM;
}

int private_dir_sub(struct private_dir *p, const char *name)
{
	_cleanup_fd_ int fd = -1;
	int dir = owned_dir(p);

	if (dir < 0)
		return dir;
	if (mkdirat(dir, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = open_dir(dir, name);
	if (fd < 0)
		return fd;
	if (fsync(dir) < 0)
		return -errno;
	return steal_fd(&fd);
}

static int write_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -EIO;
		if (n > 0) {
			text += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

/* A new file NAME with TEXT, on stable storage. */
static int write_new(int dir, const char *name, const char *text, size_t len)
{
	_cleanup_fd_ int fd = -1;
	int err;

	/* what a crash left */
	if (unlinkat(dir, name, 0) < 0 && errno != ENOENT)
		return -errno;
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	err = write_all(fd, text, len);
	return err ? err : sysret(fsync(fd));
}

int private_dir_write(struct private_dir *p, const char *name, const char *text, size_t len)
{
	int err, dir = owned_dir(p);
	char new[64];

	if (dir < 0)
		return dir;
	if (snprintf(new, sizeof(new), "%s.new", name) >= (int)sizeof(new))
		return -ENAMETOOLONG;
	err = write_new(dir, new, text, len);
	if (!err)
		err = sysret(renameat(dir, new, dir, name));
	if (err) {
		unlinkat(dir, new, 0);
		return err;
	}
	return sysret(fsync(dir));
}

int private_dir_remove(struct private_dir *p, const char *name)
{
	int dir = owned_dir(p);

	if (dir < 0)
		return dir;
	if (unlinkat(dir, name, 0) < 0)
		return errno == ENOENT ? 0 : -errno;
	return sysret(fsync(dir));
}

/* LIMIT is looked at while reading: the size that fstat(2) tells may not be the last word. */
static int read_whole(int fd, size_t limit, char **text, size_t *len)
{
	_cleanup_free_ char *buf = NULL;
	size_t size = 0, used = 0;

	for (;;) {
		ssize_t n;

		if (used + 1 >= size) {
			size_t bigger = size ? 2 * size : 4096;
			char *b = realloc(buf, bigger);

			if (!b)
				return -ENOMEM;
			buf = b;
			size = bigger;
		}
		n = read(fd, buf + used, size - used - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		used += (size_t)n;
		if (used > limit)
			return -EFBIG;
		if (n == 0)
			break;
	}
	buf[used] = '\0';
	*len = used;
	*text = buf;
	buf = NULL;
	return 0;
}

int private_dir_read(struct private_dir *p, const char *name, size_t limit, char **text,
		     size_t *len)
{
	int dir = private_dir_fd(p);
	_cleanup_fd_ int fd = -1;
	struct stat st;

	if (dir < 0)
		return dir;
	/* O_NONBLOCK: do not wait for the writer of a FIFO */
	fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) ? read_whole(fd, limit, text, len) : -EINVAL;
}
