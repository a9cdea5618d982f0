/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuse/session.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include "base/log.h"
#include "base/util.h"
#include "fs/fs.h"
#include "fuse/abi.h"

#define PAGES_DEFAULT 256 /* fs.fuse.max_pages_limit's default: requests of 1 MiB */
#define PAGES_MOST 1024	  /* what our buffers are made for */
#define BACKGROUND 128	  /* asynchronous requests in flight; QEMU and fio go to 64 and more */

/*
 * Asked for where the kernel has it. Not asked for, on purpose: WRITEBACK_CACHE (sync(2) would not
 * wait for it, and it hides writes from us), POSIX_LOCKS and FLOCK_LOCKS (without them the kernel
 * keeps locks of the mount itself, correctly), AUTO_INVAL_DATA's opposite EXPLICIT_INVAL_DATA,
 * FUSE_NO_OPEN_SUPPORT.
 */
#define WANTED_FLAGS                                                                               \
	(FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES | FUSE_DONT_MASK |                \
	 FUSE_HAS_IOCTL_DIR | FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | \
	 FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS | FUSE_POSIX_ACL | FUSE_MAX_PAGES |                 \
	 FUSE_HANDLE_KILLPRIV_V2 | FUSE_SETXATTR_EXT | FUSE_INIT_EXT | FUSE_CREATE_SUPP_GROUP |    \
	 FUSE_DIRECT_IO_ALLOW_MMAP | FUSE_HAS_RESEND)

/* Without these a promise would be broken, and every kernel since 6.1 has them. */
#define NEEDED_FLAGS                                                                               \
	(FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES | FUSE_DONT_MASK | FUSE_MAX_PAGES |                 \
	 FUSE_HANDLE_KILLPRIV_V2 | FUSE_INIT_EXT)

static uint32_t pages_limit(void)
{
	unsigned limit = PAGES_DEFAULT; /* the constant before Linux 6.13 */
	FILE *f = fopen("/proc/sys/fs/fuse/max_pages_limit", "re");

	if (f) {
		if (fscanf(f, "%u", &limit) != 1 || !limit)
			limit = PAGES_DEFAULT;
		fclose(f);
	}
	return MIN(limit, PAGES_MOST);
}

size_t session_buffer_size(const struct session *s)
{
	return MAX(SESSION_WRITE_HEADER + s->max_write, (uint32_t)FUSE_MIN_READ_BUFFER);
}

static int init_check(const struct fuse_init_in *in, size_t len)
{
	/* before 7.36 init_in had no second word of flags */
	if (len < sizeof(struct fuse_in_header) + sizeof(*in) || in->major != FUSE_KERNEL_VERSION ||
	    in->minor < CACHEFS_FUSE_MINOR_MIN) {
		log_error("this kernel speaks FUSE %u.%u, and cachefs needs %u.%u: use Linux 6.1 "
			  "or newer",
			  in->major, in->minor, FUSE_KERNEL_VERSION, CACHEFS_FUSE_MINOR_MIN);
		return -EPROTO;
	}
	return 0;
}

static int init_answer(struct session *s, uint64_t unique, const struct fuse_init_in *in)
{
	uint64_t offered = in->flags | (uint64_t)in->flags2 << 32;
	uint32_t pages = pages_limit();
	struct {
		struct fuse_out_header head;
		struct init_out_740 init;
	} out = {.head = {.len = sizeof(out), .unique = unique}};

	s->minor = MIN(in->minor, (uint32_t)CACHEFS_FUSE_MINOR);
	s->flags = offered & (WANTED_FLAGS | (s->backing_depth >= 0 ? FUSE_PASSTHROUGH : 0));
	if ((offered & NEEDED_FLAGS) != NEEDED_FLAGS) {
		log_error("this kernel's FUSE lacks features that the cache modes need (flags "
			  "%#llx): use Linux 6.1 or newer",
			  (unsigned long long)(NEEDED_FLAGS & ~offered));
		return -EPROTO;
	}
	s->max_write = pages * (uint32_t)sysconf(_SC_PAGESIZE);
	out.init = (struct init_out_740){.major = FUSE_KERNEL_VERSION,
					 .minor = s->minor,
					 .max_readahead = in->max_readahead,
					 .flags = (uint32_t)s->flags,
					 .flags2 = (uint32_t)(s->flags >> 32),
					 .max_background = BACKGROUND,
					 .congestion_threshold = BACKGROUND * 3 / 4,
					 .max_write = s->max_write,
					 .time_gran = 1,
					 .max_pages = (uint16_t)pages};
	/* the backing's own depth must be less; a mount of depth 2 cannot be stacked upon */
	if (s->flags & FUSE_PASSTHROUGH)
		out.init.max_stack_depth = (uint32_t)s->backing_depth + 1;
	if (write(s->fd, &out, sizeof(out)) != (ssize_t)sizeof(out))
		return -errno;
	log_debug("FUSE %u.%u, flags %#llx, requests of up to %u KiB", FUSE_KERNEL_VERSION,
		  s->minor, (unsigned long long)s->flags, s->max_write / 1024);
	if (!(s->flags & FUSE_DIRECT_IO_ALLOW_MMAP))
		log_info("shared mappings of files are refused (ENODEV): they need Linux 6.6");
	return 0;
}

int session_init(struct session *s)
{
	struct {
		struct fuse_in_header head;
		struct fuse_init_in init;
		char space[FUSE_MIN_READ_BUFFER];
	} in;
	ssize_t n;
	int err;

	do {
		n = read(s->fd, &in, sizeof(in));
	} while (n < 0 && (errno == EINTR || errno == EAGAIN));
	if (n < 0) {
		err = -errno;
		log_error("the kernel's FUSE_INIT could not be read: %s", strerror(-err));
		return err;
	}
	if ((size_t)n < sizeof(in.head) || in.head.opcode != FUSE_INIT) {
		log_error(
		    "the kernel's first request is not FUSE_INIT: is /dev/fuse what it says?");
		return -EPROTO;
	}
	err = init_check(&in.init, (size_t)n);
	return err ? err : init_answer(s, in.head.unique, &in.init);
}

int session_backing_open(struct session *s, int fd)
{
	struct fuse_backing_map map = {.fd = fd};

	return s->flags & FUSE_PASSTHROUGH ? sysret(ioctl(s->fd, FUSE_DEV_IOC_BACKING_OPEN, &map))
					   : -EOPNOTSUPP;
}

void session_backing_close(struct session *s, int id)
{
	uint32_t number = (uint32_t)id;

	if (ioctl(s->fd, FUSE_DEV_IOC_BACKING_CLOSE, &number) < 0 && errno != ENODEV)
		log_warn("backing id %d could not be closed: %s", id, strerror(errno));
}
