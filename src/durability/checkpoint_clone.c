/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A clone of a file that differs from it in nothing but its name, and write-back before it. */
#include "durability/checkpoint_internal.h"

#include <linux/fiemap.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <linux/xattr.h>

#include "base/cachestat.h"
#include "base/util.h"

/* FICLONE writes back under the file's lock: so much takes a slow disk some 50 ms. */
#define LITTLE ((uint64_t)4 << 20)
#define ROUNDS 6
#define WRITE_BACK_NSEC ((uint64_t)10 * 1000000000)

/* The inode flags that belong to a file's data; what a clone has must be what its source has. */
#define DATA_FLAGS (FS_NOCOW_FL | FS_COMPR_FL | FS_NOATIME_FL | FS_NODUMP_FL)

/*
 * On btrfs a page is clean when its data is on disk, but FICLONE waits, under the file's lock, for
 * the extents to be recorded as well (ordered extents). A look at the extents with SYNC waits for
 * them without the lock (btrfs_fiemap() of Linux 6.18). Elsewhere it is one more round.
 */
static int wait_for_extents(int fd)
{
	struct fiemap map = {.fm_length = 1, .fm_flags = FIEMAP_FLAG_SYNC};

	if (ioctl(fd, FS_IOC_FIEMAP, &map) == 0 || (errno != EIO && errno != ENOSPC))
		return 0;
	return -errno;
}

/*
 * Rounds end when little is left, when one did not help (a writer as fast as the disk), or when
 * the time is over. A round waits for what is under way, and so for what it has started.
 */
int checkpoint_write_back(int fd)
{
	uint64_t before = UINT64_MAX, unwritten, start = clock_nsec();
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct page_counts n;
	bool known;

	for (int round = 0; round < ROUNDS; round++) {
		known = page_counts_of(fd, &n);
		unwritten = known ? (n.dirty + n.writeback) * page : UINT64_MAX - 1;
		if (unwritten <= LITTLE || (known && unwritten > before / 4 * 3) ||
		    (!known && round == 2) || clock_nsec() - start > WRITE_BACK_NSEC)
			break;
		before = unwritten;
		if (sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER) <
		    0)
			return -errno;
	}
	return wait_for_extents(fd);
}

/* Behind the largest offset nothing is waited for, but the descriptor's error is reported. */
int checkpoint_write_error(int fd)
{
	return sysret(sync_file_range(fd, INT64_MAX - 4095, 1, SYNC_FILE_RANGE_WAIT_BEFORE));
}

/*
 * btrfs clones only between files that are alike in NOCOW, which can be set on empty files only
 * (libvirt sets it on images).
 */
static int copy_flags(int to, int like)
{
	int want, have;

	if (ioctl(like, FS_IOC_GETFLAGS, &want) < 0 || ioctl(to, FS_IOC_GETFLAGS, &have) < 0)
		return errno == ENOTTY || errno == EOPNOTSUPP ? 0 : -errno;
	if ((want & DATA_FLAGS) == (have & DATA_FLAGS))
		return 0;
	have = (have & ~DATA_FLAGS) | (want & DATA_FLAGS);
	return sysret(ioctl(to, FS_IOC_SETFLAGS, &have));
}

static ssize_t xattr_names(int fd, char **names)
{
	ssize_t n = flistxattr(fd, NULL, 0);

	*names = NULL;
	if (n <= 0)
		return n < 0 && errno != EOPNOTSUPP ? -errno : 0;
	/* one more may come in between: then -ERANGE, and the checkpoint fails, this time */
	*names = malloc((size_t)n);
	return *names ? sysret(flistxattr(fd, *names, (size_t)n)) : -ENOMEM;
}

static int copy_xattr(int to, int like, const char *name)
{
	ssize_t n = fgetxattr(like, name, NULL, 0);
	_cleanup_free_ char *value = NULL;

	if (n < 0)
		return errno == ENODATA ? 0 : -errno;
	value = malloc((size_t)n + 1);
	if (!value)
		return -ENOMEM;
	n = fgetxattr(like, name, value, (size_t)n);
	if (n < 0)
		return -errno;
	if (fsetxattr(to, name, value, (size_t)n, 0) == 0)
		return 0;
	/* a security module's own label is its decision */
	return strncmp(name, XATTR_SECURITY_PREFIX, XATTR_SECURITY_PREFIX_LEN) == 0 &&
		       (errno == EPERM || errno == EOPNOTSUPP)
		   ? 0
		   : -errno;
}

static bool has_name(const char *names, ssize_t len, const char *name)
{
	for (const char *p = names; p < names + len; p += strlen(p) + 1) {
		if (strcmp(p, name) == 0)
			return true;
	}
	return false;
}

/* What TO has from its directory (a default ACL) and LIKE has not goes. */
static int copy_xattrs(int to, int like)
{
	_cleanup_free_ char *want = NULL, *have = NULL;
	ssize_t nwant = xattr_names(like, &want), nhave = xattr_names(to, &have);
	int err;

	if (nwant < 0 || nhave < 0)
		return nwant < 0 ? (int)nwant : (int)nhave;
	for (const char *p = have; nhave && p < have + nhave; p += strlen(p) + 1) {
		if (!has_name(want, nwant, p) &&
		    strncmp(p, XATTR_SECURITY_PREFIX, XATTR_SECURITY_PREFIX_LEN) != 0 &&
		    fremovexattr(to, p) < 0 && errno != ENODATA)
			return -errno;
	}
	for (const char *p = want; nwant && p < want + nwant; p += strlen(p) + 1) {
		err = copy_xattr(to, like, p);
		if (err)
			return err;
	}
	return 0;
}

/* After the data: a change of data takes away suid bits and file capabilities, so does chown. */
static int copy_attributes(int to, int from, int like)
{
	struct stat st, times;
	int err;

	if (fstat(like, &st) < 0 || fstat(from, &times) < 0)
		return -errno;
	if (fchown(to, st.st_uid, st.st_gid) < 0)
		return -errno;
	err = copy_xattrs(to, like);
	if (err)
		return err;
	if (fchmod(to, st.st_mode & 07777) < 0 ||
	    futimens(to, (struct timespec[]){times.st_atim, times.st_mtim}) < 0)
		return -errno;
	return 0;
}

static int clone_data(int to, int from, struct checkpoint_gate *gate, uint64_t *nsec)
{
	uint64_t start = clock_nsec();
	int err;

	if (gate)
		return checkpoint_gate_clone(gate, to, from, nsec);
	err = sysret(ioctl(to, FICLONE, from));
	*nsec = clock_nsec() - start;
	return err;
}

int checkpoint_clone(int to, int from, int like, struct checkpoint_gate *gate, uint64_t *clone_nsec)
{
	uint64_t nsec;
	int err = copy_flags(to, from);

	if (!err)
		err = clone_data(to, from, gate, clone_nsec ? clone_nsec : &nsec);
	return err ? err : copy_attributes(to, from, like);
}
