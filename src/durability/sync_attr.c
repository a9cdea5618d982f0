/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "durability/sync_attr.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/util.h"
#include "durability/private_dir.h"

#define RECORDS "sync-attr"

struct sync_attr {
	struct private_dir *own;
	int root_fd;
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

static bool is_kept(const struct sync_attr_kept *kept, const char *name)
{
	char text[32];
	uint64_t number;

	if (!kept || sscanf(name, "%" SCNx64, &number) != 1)
		return false;
	record_name(number, text, sizeof(text));
	for (size_t i = 0; i < kept->count; i++)
		if (kept->names[i] == number)
			return !strcmp(text, name);
	return false;
}

static void recover(struct sync_attr *s, const struct sync_attr_kept *kept)
{
	int fd = openat(s->records_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;
	unsigned cleared = 0;

	while (d && (e = readdir(d))) {
		int err;

		if (e->d_name[0] == '.' || is_kept(kept, e->d_name))
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

/* Where no process needs the attribute, records without an owner are of one that died. */
static void recover_unowned(struct private_dir *own, int root_fd)
{
	struct sync_attr s = {.own = own, .root_fd = root_fd, .records_fd = -1};
	int dir = private_dir_fd(own);

	if (dir < 0)
		return;
	s.records_fd = openat(dir, RECORDS, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (s.records_fd >= 0 && private_dir_try_own_existing(own) == 0) {
		recover(&s, NULL);
		private_dir_disown(own);
	}
	cleanup_fd(&s.records_fd);
}

int sync_attr_create(struct private_dir *own, int root_fd, bool needed,
		     const struct sync_attr_kept *kept, struct sync_attr **out)
{
	struct sync_attr *s;
	int err;

	*out = NULL;
	if (!needed) {
		recover_unowned(own, root_fd);
		return 0;
	}
	err = private_dir_own(own);
	if (err)
		return err;
	s = malloc(sizeof(*s));
	if (s)
		*s = (struct sync_attr){own, root_fd, private_dir_sub(own, RECORDS)};
	if (!s || s->records_fd < 0) {
		err = s ? s->records_fd : -ENOMEM;
		free(s);
		private_dir_disown(own);
		return err;
	}
	recover(s, kept);
	*out = s;
	return 0;
}

void sync_attr_destroy(struct sync_attr *s)
{
	if (!s)
		return;
	private_dir_disown(s->own);
	cleanup_fd(&s->records_fd);
	free(s);
}
