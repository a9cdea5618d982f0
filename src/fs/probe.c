/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs/probe.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>

#include "base/util.h"

#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546
#endif
#ifndef SYS_cachestat
#define SYS_cachestat 451 /* Linux 6.5 */
#endif

struct cachestat_range {
	uint64_t off, len;
};

struct cachestat_pages {
	uint64_t cached, dirty, writeback, evicted, recently_evicted;
};

static int open_tree_clone(const char *path)
{
	return sysret(
	    (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
}

int probe_source(const char *source, bool *cloned)
{
	_cleanup_fd_ int fd = open_tree_clone(source), readable = -1;
	struct stat st;

	*cloned = fd >= 0;
	if (fd < 0)
		fd = open(source, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	readable = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return readable < 0 ? -errno : steal_fd(&fd);
}

/* A file of our own in the directory that nobody sees. A descriptor or a negative errno. */
static int scratch_file(int dir_fd)
{
	char name[32];
	int fd = openat(dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
		return fd < 0 ? -errno : fd;
	snprintf(name, sizeof(name), ".cachefs-probe-%d", getpid());
	fd = openat(dir_fd, name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	unlinkat(dir_fd, name, 0);
	return fd;
}

static bool memory_filesystem(int dir_fd)
{
	struct statfs st;

	return fstatfs(dir_fd, &st) == 0 && (st.f_type == TMPFS_MAGIC || st.f_type == RAMFS_MAGIC ||
					     st.f_type == HUGETLBFS_MAGIC);
}

static int pages_cached(int fd)
{
	struct cachestat_range range = {0, 0};
	struct cachestat_pages pages;

	if (syscall(SYS_cachestat, fd, &range, &pages, 0) < 0)
		return -errno;
	return pages.cached > 0;
}

/*
 * tmpfs opens files O_DIRECT (Linux 6.6) and caches them all the same; what counts is what is in
 * the page cache after a direct write. btrfs writes data that has checksums by way of the page
 * cache and drops it there, unless a page is in use just then: so once is enough. Where nothing
 * can be written (or looked at), the open of each file will tell.
 */
#define DIRECT_TRIES 5

static bool direct_io_works(int dir_fd)
{
	_cleanup_fd_ int fd = -1;
	_cleanup_free_ void *block = NULL;
	bool works = !memory_filesystem(dir_fd);

	if (!works || (fd = scratch_file(dir_fd)) < 0)
		return works;
	if (fcntl(fd, F_SETFL, O_DIRECT) < 0 || posix_memalign(&block, 65536, 65536))
		return false;
	memset(block, 0, 65536);
	for (int i = 0; i < DIRECT_TRIES; i++) {
		if (pwrite(fd, block, 65536, 0) < 0)
			return errno != EINVAL && errno != EOPNOTSUPP;
		if (pages_cached(fd) <= 0)
			return true;
		usleep(10000);
	}
	return false;
}

static bool rwf_nowait_works(int dir_fd)
{
	_cleanup_fd_ int fd = scratch_file(dir_fd);
	char c = 0;
	struct iovec iov = {&c, 1};

	if (fd < 0 || pwrite(fd, &c, 1, 0) != 1)
		return true; /* a refusal is noticed at each read */
	return preadv2(fd, &iov, 1, 0, RWF_NOWAIT) >= 0 || errno == EAGAIN;
}

static bool file_handles_work(int dir_fd)
{
	union {
		struct file_handle h;
		char space[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} u;
	_cleanup_fd_ int mount_fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_fd_ int fd = -1;
	int mount_id;

	u.h.handle_bytes = MAX_HANDLE_SZ;
	if (mount_fd < 0 || name_to_handle_at(dir_fd, "", &u.h, &mount_id, AT_EMPTY_PATH) < 0)
		return false;
	fd = open_by_handle_at(mount_fd, &u.h, O_PATH | O_CLOEXEC);
	return fd >= 0;
}

int probe_stack_depth(int source_fd)
{
	struct statfs st;

	if (fstatfs(source_fd, &st) < 0)
		return 0;
	return st.f_type == OVERLAYFS_SUPER_MAGIC || st.f_type == ECRYPTFS_SUPER_MAGIC ||
	       st.f_type == FUSE_SUPER_MAGIC;
}

int probe_kernel_path(int source_fd, int (*open_id)(void *arg, int fd),
		      void (*close_id)(void *arg, int id), void *arg)
{
	_cleanup_fd_ int fd = scratch_file(source_fd);
	int id = fd < 0 ? 0 : open_id(arg, fd);

	if (id > 0)
		close_id(arg, id);
	return MIN(id, 0);
}

void probe_backing(int source_fd, bool privileged, struct capabilities *caps)
{
	caps->backing_direct_io = direct_io_works(source_fd);
	caps->rwf_nowait = rwf_nowait_works(source_fd);
	caps->file_handles = privileged && file_handles_work(source_fd);
	caps->statx_dioalign = true; /* seen per file in statx's mask */
	caps->cachestat = pages_cached(source_fd) != -ENOSYS;
}
