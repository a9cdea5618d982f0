/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What pairs does in its slices: random 4 KiB, and names. */
#include "pairs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

/* N as from a system call. A short transfer is an error, too. */
static void check(const struct target *t, const char *what, int64_t n, int64_t want)
{
	if (n == want)
		return;
	if (n >= 0)
		errno = EIO;
	pairs_fail("%s/" PAIRS_FILE ": %s", t->dir, what);
}

static off_t next_offset(struct worker *w, const struct target *t)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return (off_t)(w->random % t->blocks * BLOCK);
}

static unsigned step_write(struct worker *w, struct target *t)
{
	int fd = t->fds[w->index];

	check(t, "write", pwrite(fd, w->buf, BLOCK, next_offset(w, t)), BLOCK);
	if (w->load->sync)
		check(t, "fdatasync", fdatasync(fd), 0);
	return 1;
}

static unsigned step_read(struct worker *w, struct target *t)
{
	check(t, "read", pread(t->fds[w->index], w->buf, BLOCK, next_offset(w, t)), BLOCK);
	return 1;
}

/* A name is never used twice, on any of the mounts. */
static unsigned step_names(struct worker *w, struct target *t)
{
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "pairs.%" PRIu64, w->name++);
	fd = openat(t->dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		pairs_fail("%s/%s: create", t->dir, name);
	if (close(fd) < 0)
		pairs_fail("%s/%s: close", t->dir, name);
	if (unlinkat(t->dir_fd, name, 0) < 0)
		pairs_fail("%s/%s: unlink", t->dir, name);
	return 1;
}

/* ---- many at once, by the kernel's own asynchronous I/O, which takes no threads of the client
 * ---- */

static void submit(struct worker *w, struct target *t, struct iocb **list, long n)
{
	for (long i = 0; i < n; i++)
		list[i]->aio_offset = next_offset(w, t);
	for (long sent = 0; sent < n;) {
		long r = syscall(SYS_io_submit, w->aio, n - sent, list + sent);

		if (r < 0)
			pairs_fail("%s/" PAIRS_FILE ": io_submit", t->dir);
		sent += r;
	}
}

/* Waits for at least MIN; those that are over stand in LIST. */
static long reap(struct worker *w, const struct target *t, long min, struct iocb **list)
{
	struct io_event events[DEPTH];
	long n;

	do {
		n = syscall(SYS_io_getevents, w->aio, min, DEPTH, events, NULL);
	} while (n < 0 && errno == EINTR);
	check(t, "io_getevents", n < min ? n : min, min);
	for (long i = 0; i < n; i++) {
		if (events[i].res < 0)
			errno = (int)-events[i].res;
		check(t, "asynchronous I/O", events[i].res, BLOCK);
		list[i] = &w->cbs[events[i].data];
	}
	return n;
}

static void begin_queue(struct worker *w, struct target *t, uint16_t opcode)
{
	struct iocb *list[DEPTH];

	for (unsigned i = 0; i < w->load->depth; i++) {
		w->cbs[i] = (struct iocb){
		    .aio_data = i,
		    .aio_lio_opcode = opcode,
		    .aio_fildes = (uint32_t)t->fds[w->index],
		    .aio_buf = (uintptr_t)(w->buf + (size_t)i * BLOCK),
		    .aio_nbytes = BLOCK,
		};
		list[i] = &w->cbs[i];
	}
	submit(w, t, list, w->load->depth);
}

static void begin_writes(struct worker *w, struct target *t)
{
	begin_queue(w, t, IOCB_CMD_PWRITE);
}

static void begin_reads(struct worker *w, struct target *t)
{
	begin_queue(w, t, IOCB_CMD_PREAD);
}

static unsigned step_queue(struct worker *w, struct target *t)
{
	struct iocb *list[DEPTH];
	long n = reap(w, t, 1, list);

	submit(w, t, list, n);
	return (unsigned)n;
}

static void end_queue(struct worker *w, struct target *t)
{
	struct iocb *list[DEPTH];

	w->all += (uint64_t)reap(w, t, w->load->depth, list);
}

#define WRITES(n) false, n, step_queue, begin_writes, end_queue
#define READS(n) false, n, step_queue, begin_reads, end_queue

const struct load pairs_loads[] = {
    {"write-1", 1, O_RDWR, .step = step_write},
    {"write-4", 4, O_RDWR, .step = step_write},
    {"write-fdatasync", 1, O_RDWR, .sync = true, .step = step_write},
    {"read-1", 1, O_RDONLY, .step = step_read},
    {"read-4", 4, O_RDONLY, .step = step_read},
    {"direct-write-1", 1, O_RDWR | O_DIRECT, .step = step_write},
    {"direct-write-32", 1, O_RDWR | O_DIRECT, WRITES(32)},
    {"direct-write-128", 1, O_RDWR | O_DIRECT, WRITES(128)},
    {"direct-read-1", 1, O_RDONLY | O_DIRECT, .step = step_read},
    {"direct-read-32", 1, O_RDONLY | O_DIRECT, READS(32)},
    {"direct-read-128", 1, O_RDONLY | O_DIRECT, READS(128)},
    {"names", 1, O_RDONLY, .step = step_names},
    {.name = NULL},
};
