/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "durability/sync_attr.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/util.h"

#define RECORDS "sync-attr"

struct sync_attr {
	int root_fd;
	int lock_fd;	/* .cachefs/lock, locked while we are the owner */
	int records_fd; /* .cachefs/sync-attr */
};

/* A record: the file handle of a file whose attribute we set. */
struct record {
	struct file_handle h;
	char space[MAX_HANDLE_SZ];
};

static int attr_change(int fd, bool on)
{
	int flags;

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
		return errno == ENOTTY ? -EOPNOTSUPP : -errno;
	if (!!(flags & FS_SYNC_FL) == on)
		return 1;
	flags ^= FS_SYNC_FL;
	if (ioctl(fd, FS_IOC_SETFLAGS, &flags) < 0)
		return errno == ENOTTY ? -EOPNOTSUPP : -errno;
	return 0;
}

static void record_name(uint64_t name, char *buf, size_t size)
{
	snprintf(buf, size, "%016llx", (unsigned long long)name);
}

/* On stable storage when it returns, its name too. */
static int record_write(struct sync_attr *s, int fd, uint64_t name)
{
	struct record r = {.h = {.handle_bytes = MAX_HANDLE_SZ}};
	_cleanup_fd_ int file = -1;
	size_t size;
	char text[32];
	int mount_id;

	if (name_to_handle_at(fd, "", &r.h, &mount_id, AT_EMPTY_PATH) < 0)
		return -errno;
	size = sizeof(r.h) + r.h.handle_bytes;
	record_name(name, text, sizeof(text));
	file = openat(s->records_fd, text, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
		      0600);
	if (file < 0)
		return -errno;
	if (write(file, &r, size) != (ssize_t)size || fsync(file) < 0 || fsync(s->records_fd) < 0)
		return errno ? -errno : -EIO;
	return 0;
}

static void record_remove(struct sync_attr *s, uint64_t name)
{
	char text[32];

	record_name(name, text, sizeof(text));
	unlinkat(s->records_fd, text, 0);
}

int sync_attr_set(struct sync_attr *s, int fd, uint64_t name)
{
	int flags, err;

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
		return errno == ENOTTY ? -EOPNOTSUPP : -errno;
	if (flags & FS_SYNC_FL)
		return 1;
	err = record_write(s, fd, name);
	if (!err)
		err = attr_change(fd, true);
	if (err < 0)
		record_remove(s, name);
	return MIN(err, 0);
}

int sync_attr_clear(struct sync_attr *s, int fd, uint64_t name)
{
	int err = attr_change(fd, false);

	if (err < 0)
		return err; /* the record stays for the next mount */
	/* cleared before the record goes, on the storage too */
	if (fsync(fd) < 0)
		return -errno;
	record_remove(s, name);
	return 0;
}

/* One record of a process that died: its file's attribute is ours to clear. */
static int recover_one(struct sync_attr *s, const char *name)
{
	_cleanup_fd_ int file = openat(s->records_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	_cleanup_fd_ int fd = -1;
	struct record r;
	ssize_t n;

	if (file < 0)
		return -errno;
	n = read(file, &r, sizeof(r));
	/* a record that was never whole belongs to an attribute that was never set */
	if (n >= (ssize_t)sizeof(r.h) && r.h.handle_bytes <= MAX_HANDLE_SZ &&
	    (size_t)n == sizeof(r.h) + r.h.handle_bytes) {
		fd = open_by_handle_at(s->root_fd, &r.h, O_RDONLY | O_CLOEXEC);
		if (fd < 0 && errno != ESTALE)
			return -errno;
		if (fd >= 0 && (attr_change(fd, false) < 0 || fsync(fd) < 0))
			return -errno;
	}
	return sysret(unlinkat(s->records_fd, name, 0));
}

static void recover(struct sync_attr *s)
{
	int fd = openat(s->records_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;
	unsigned cleared = 0;

	while (d && (e = readdir(d))) {
		int err;

		if (e->d_name[0] == '.')
			continue;
		err = recover_one(s, e->d_name);
		if (err)
			log_warn(
			    "%s/%s/%s: the sync attribute that it names could not be removed: %s",
			    PRIVATE_DIR, RECORDS, e->d_name, strerror(-err));
		else
			cleared++;
	}
	if (d)
		closedir(d);
	if (cleared)
		log_info("removed the sync attribute of %u files that an earlier mount left set",
			 cleared);
}

static int open_dir(int dir_fd, const char *name, bool create)
{
	if (create && mkdirat(dir_fd, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	return sysret(openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
}

/* The daemon of a mount that has just gone may still be flushing: give it a while. */
#define LOCK_TRIES 100 /* of 50 ms */

static int take_lock(int fd, bool wait)
{
	int tries = wait ? LOCK_TRIES : 1;

	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return -errno;
		if (--tries == 0)
			return -EBUSY;
		usleep(50000);
	}
	return 0;
}

static int open_all(struct sync_attr *s, bool create)
{
	_cleanup_fd_ int dir = open_dir(s->root_fd, PRIVATE_DIR, create);
	int err;

	if (dir < 0)
		return dir;
	s->records_fd = open_dir(dir, RECORDS, create);
	if (s->records_fd < 0)
		return s->records_fd;
	s->lock_fd = openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->lock_fd < 0)
		return -errno;
	err = take_lock(s->lock_fd, create);
	if (err)
		return err;
	return create ? sysret(syncfs(s->root_fd)) : 0;
}

int sync_attr_create(int root_fd, bool needed, struct sync_attr **out)
{
	struct sync_attr *s = malloc(sizeof(*s));
	int err;

	*out = NULL;
	if (!s)
		return -ENOMEM;
	*s = (struct sync_attr){.root_fd = root_fd, .lock_fd = -1, .records_fd = -1};
	err = open_all(s, needed);
	if (!err)
		recover(s);
	if (err || !needed) {
		sync_attr_destroy(s);
		return needed && err != -EROFS ? err : 0;
	}
	*out = s;
	return 0;
}

void sync_attr_destroy(struct sync_attr *s)
{
	if (!s)
		return;
	cleanup_fd(&s->records_fd);
	cleanup_fd(&s->lock_fd);
	free(s);
}
