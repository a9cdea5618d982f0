/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's FUSE protocol: <linux/fuse.h>, and what the headers of Linux 6.1 lack, each with the
 * kernel that brought it. Everything here is the wire format; only fuse/ and transport/ include it.
 */
#ifndef CACHEFS_FUSE_ABI_H
#define CACHEFS_FUSE_ABI_H

#include <linux/fuse.h>

/* The newest minor whose structures we know (7.45, Linux 6.18). */
#define CACHEFS_FUSE_MINOR 45
/* FUSE_SETXATTR_EXT and the 64-byte init_out: the oldest protocol that a 6.1 kernel speaks is 7.37
 */
#define CACHEFS_FUSE_MINOR_MIN 36

#ifndef FUSE_CREATE_SUPP_GROUP /* Linux 6.3 */
#define FUSE_CREATE_SUPP_GROUP (1ULL << 34)
#define FUSE_EXT_GROUPS 32
struct fuse_supp_groups {
	uint32_t nr_groups;
	uint32_t groups[];
};
#endif

#ifndef FUSE_DIRECT_IO_ALLOW_MMAP /* Linux 6.6 */
#define FUSE_DIRECT_IO_ALLOW_MMAP (1ULL << 36)
#endif

#ifndef FUSE_PASSTHROUGH /* Linux 6.9 */
#define FUSE_PASSTHROUGH (1ULL << 37)
#define FOPEN_PASSTHROUGH (1 << 7)
struct fuse_backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};
#define FUSE_DEV_IOC_BACKING_OPEN _IOW(FUSE_DEV_IOC_MAGIC, 1, struct fuse_backing_map)
#define FUSE_DEV_IOC_BACKING_CLOSE _IOW(FUSE_DEV_IOC_MAGIC, 2, uint32_t)
#endif
#ifndef FUSE_DEV_IOC_MAGIC
#define FUSE_DEV_IOC_MAGIC 229
#endif

#ifndef FUSE_HAS_RESEND /* Linux 6.9 */
#define FUSE_HAS_RESEND (1ULL << 39)
#define FUSE_UNIQUE_RESEND (1ULL << 63) /* in `unique`: it was read before, and may be done */
#define FUSE_NOTIFY_RESEND 7
#endif

/*
 * init_out as of 7.40, whose max_stack_depth stood among the unused words before: the same size.
 */
struct init_out_740 {
	uint32_t major;
	uint32_t minor;
	uint32_t max_readahead;
	uint32_t flags;
	uint16_t max_background;
	uint16_t congestion_threshold;
	uint32_t max_write;
	uint32_t time_gran;
	uint16_t max_pages;
	uint16_t map_alignment;
	uint32_t flags2;
	uint32_t max_stack_depth;
	uint32_t unused[6];
};

_Static_assert(sizeof(struct init_out_740) == 64, "init_out is 64 bytes on the wire");

/* open_out as of 7.40: backing_id stood as padding before. */
struct open_out_740 {
	uint64_t fh;
	uint32_t open_flags;
	int32_t backing_id;
};

#if FUSE_KERNEL_MINOR_VERSION < 39 /* Linux 6.6 */
#define FUSE_STATX 52
struct fuse_sx_time {
	int64_t tv_sec;
	uint32_t tv_nsec;
	int32_t __reserved;
};

struct fuse_statx {
	uint32_t mask;
	uint32_t blksize;
	uint64_t attributes;
	uint32_t nlink;
	uint32_t uid;
	uint32_t gid;
	uint16_t mode;
	uint16_t __spare0[1];
	uint64_t ino;
	uint64_t size;
	uint64_t blocks;
	uint64_t attributes_mask;
	struct fuse_sx_time atime;
	struct fuse_sx_time btime;
	struct fuse_sx_time ctime;
	struct fuse_sx_time mtime;
	uint32_t rdev_major;
	uint32_t rdev_minor;
	uint32_t dev_major;
	uint32_t dev_minor;
	uint64_t __spare2[14];
};

struct fuse_statx_in {
	uint32_t getattr_flags;
	uint32_t reserved;
	uint64_t fh;
	uint32_t sx_flags;
	uint32_t sx_mask;
};

struct fuse_statx_out {
	uint64_t attr_valid;
	uint32_t attr_valid_nsec;
	uint32_t flags;
	uint64_t spare[2];
	struct fuse_statx stat;
};
#endif

#ifndef FUSE_COPY_FILE_RANGE_64 /* Linux 6.18: the result does not fit the old reply's 32 bits */
#define FUSE_COPY_FILE_RANGE_64 53
struct fuse_copy_file_range_out {
	uint64_t bytes_copied;
};
#endif

_Static_assert(sizeof(struct fuse_statx) == 256, "struct fuse_statx is 256 bytes on the wire");

#endif
