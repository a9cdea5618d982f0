/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What checkpoints there are, and what goes with the files that are gone. */
#include "durability/checkpoint.h"

#include <limits.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/util.h"
#include "durability/checkpoint_internal.h"

#define EXTENTS 256	   /* in one call */
#define EXTENTS_CALLS 1024 /* then it is too many to tell in passing */

/* Bytes in extents that nobody else holds. */
static uint64_t unique_bytes(int fd)
{
	size_t size = sizeof(struct fiemap) + EXTENTS * sizeof(struct fiemap_extent);
	_cleanup_free_ struct fiemap *map = calloc(1, size);
	uint64_t sum = 0, next = 0;

	for (int call = 0; map && call < EXTENTS_CALLS; call++) {
		memset(map, 0, size);
		map->fm_start = next;
		map->fm_length = FIEMAP_MAX_OFFSET - next;
		map->fm_extent_count = EXTENTS;
		if (ioctl(fd, FS_IOC_FIEMAP, map) < 0)
			return UINT64_MAX;
		for (uint32_t i = 0; i < map->fm_mapped_extents; i++) {
			const struct fiemap_extent *e = &map->fm_extents[i];

			if (!(e->fe_flags & FIEMAP_EXTENT_SHARED))
				sum += e->fe_length;
			next = e->fe_logical + e->fe_length;
			if (e->fe_flags & FIEMAP_EXTENT_LAST)
				return sum;
		}
		if (map->fm_mapped_extents == 0)
			return sum;
	}
	return UINT64_MAX;
}

/* Without unique, which takes a look at each extent. */
static int info_of(int dir, unsigned n, bool with_unique, struct checkpoint_info *out)
{
	struct timespec taken[CHECKPOINTS_KEPT];
	int count = checkpoint_newest(dir, taken);
	_cleanup_fd_ int fd = -1;
	struct stat st;

	if (count < 0)
		return count;
	if (n >= (unsigned)count)
		return -ENOENT;
	*out = (struct checkpoint_info){.taken = taken[n], .unique = UINT64_MAX};
	checkpoint_name(taken[n], out->name);
	fd = openat(dir, out->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	out->size = (uint64_t)st.st_size;
	out->mtime = st.st_mtim;
	if (with_unique)
		out->unique = unique_bytes(fd);
	return 0;
}

int checkpoint_peek(struct checkpoints *c, const struct file_id *id, struct checkpoint_info *out)
{
	_cleanup_fd_ int top = checkpoint_top(c), dir = -1;

	if (top < 0)
		return top;
	dir = checkpoint_dir(top, id, false);
	return dir < 0 ? dir : info_of(dir, 0, false, out);
}

int checkpoint_info(struct checkpoints *c, const struct file_id *id, unsigned n,
		    struct checkpoint_info *out)
{
	_cleanup_fd_ int top = checkpoint_top(c), dir = -1;

	if (top < 0)
		return top;
	dir = checkpoint_dir(top, id, false);
	return dir < 0 ? dir : info_of(dir, n, true, out);
}

/* ---- all files ---- */

struct each {
	void (*fn)(void *arg, const struct file_id *id, const char *path,
		   const struct checkpoint_info *newest);
	void *arg;
};

static int each_one(void *arg, int top, const char *name)
{
	_cleanup_fd_ int dir = -1;
	const struct each *e = arg;
	struct checkpoint_info info;
	char path[PATH_MAX];
	struct file_id id;

	if (!file_id_parse(name, strlen(name), &id))
		return 0;
	dir = checkpoint_dir(top, &id, false);
	if (dir < 0 || info_of(dir, 0, false, &info) < 0)
		return 0; /* it has none, or went away meanwhile */
	if (checkpoint_read(dir, CHECKPOINT_PATH, path, sizeof(path)) < 0)
		path[0] = '\0';
	e->fn(e->arg, &id, path, &info);
	return 0;
}

int checkpoint_each(struct checkpoints *c,
		    void (*fn)(void *arg, const struct file_id *id, const char *path,
			       const struct checkpoint_info *newest),
		    void *arg)
{
	_cleanup_fd_ int top = checkpoint_top(c);
	struct each e = {fn, arg};

	if (top < 0)
		return top == -ENOENT ? 0 : top;
	return checkpoint_names(top, each_one, &e);
}

/*
 * Only what the filesystem itself calls gone. Without the privilege to ask it (-EPERM), nothing is:
 * a file that is not at its old path may have another one.
 */
static bool file_gone(int root_fd, const struct file_id *id)
{
	struct {
		struct file_handle h;
		char space[FILE_ID_MAX];
	} handle = {.h = {.handle_bytes = id->len, .handle_type = id->type}};
	_cleanup_fd_ int mount_fd = -1, fd = -1;
	struct stat st;

	/* not an O_PATH descriptor: the root may be one */
	mount_fd = openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (mount_fd < 0)
		return false;
	memcpy(handle.h.f_handle, id->bytes, id->len);
	fd = open_by_handle_at(mount_fd, &handle.h, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return errno == ESTALE;
	return fstat(fd, &st) == 0 && st.st_nlink == 0;
}

/* The directory that the file was in when it was last taken. */
static int last_parent(int root_fd, int dir)
{
	struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
			       .resolve =
				   RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
	char path[PATH_MAX], *parent = path, *slash;
	int err = checkpoint_read(dir, CHECKPOINT_PATH, path, sizeof(path));

	if (err)
		return err;
	while (*parent == '/')
		parent++;
	slash = strrchr(parent, '/');
	if (slash)
		*slash = '\0';
	return (int)sysret(syscall(SYS_openat2, root_fd, slash ? parent : ".", &how, sizeof(how)));
}

static int collect_one(struct checkpoints *c, int top, const struct file_id *id)
{
	_cleanup_fd_ int dir = checkpoint_dir(top, id, false), parent = -1;

	if (dir < 0)
		return dir == -ENOENT ? 0 : dir;
	unlinkat(dir, CHECKPOINT_UNFINISHED, 0);
	if (faccessat(dir, CHECKPOINT_ROLLBACK, F_OK, 0) == 0) {
		parent = last_parent(c->root_fd, dir);
		return parent < 0 ? 0 : checkpoint_recover(top, id, parent);
	}
	return file_gone(c->root_fd, id) ? checkpoint_remove(top, id) : 0;
}

struct collect {
	struct checkpoints *c;
	int err; /* the first */
};

static int collect_name(void *arg, int top, const char *name)
{
	struct collect *all = arg;
	struct claim claim;
	struct file_id id;
	int err;

	if (!file_id_parse(name, strlen(name), &id) || !checkpoint_claim(all->c, &claim, &id))
		return 0;
	err = collect_one(all->c, top, &id);
	checkpoint_release(all->c, &claim);
	if (!all->err)
		all->err = err;
	return 0;
}

int checkpoint_collect(struct checkpoints *c)
{
	_cleanup_fd_ int top = checkpoint_top(c);
	struct collect all = {c, 0};
	int err;

	if (top < 0)
		return top == -ENOENT ? 0 : top;
	err = checkpoint_names(top, collect_name, &all);
	return err ? err : all.err;
}
