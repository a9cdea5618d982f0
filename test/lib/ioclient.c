/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ioclient: a client that writes (or reads and verifies) a file by one chosen method.
 *
 * The bytes are a function of the seed and of their position in the file alone, so that any
 * method, block size and number of threads can verify what any other wrote. Prints
 * "writes=N bytes=N flushes=N" (or "reads=N ..."): what was really issued, for tests that
 * compare it with what a device saw.
 *
 * Threads share nothing but the counters: each opens the file itself, as independent clients
 * do. Exit status: 0, 1 for a failed call or wrong bytes, 2 for wrong usage.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ioclient.h"

struct options opt = {.size = 1 << 20, .block = 64 << 10, .threads = 1, .depth = 32};

static atomic_uint_fast64_t n_ops, n_bytes, n_flushes;
static atomic_int failed;

int fail(const char *what, uint64_t off)
{
	fprintf(stderr, "ioclient: %s: %s: %s at offset %" PRIu64 ": %s (errno %d)\n", opt.path,
		opt.method->name, what, off, strerror(errno), errno);
	atomic_store(&failed, 1);
	return -1;
}

static int verify(const char *buf, size_t len, uint64_t off)
{
	char want[4096];

	for (size_t i = 0; i < len;) {
		size_t n = len - i < sizeof(want) ? len - i : sizeof(want);

		pattern(want, n, off + i);
		for (size_t j = 0; j < n; j++) {
			if (buf[i + j] == want[j])
				continue;
			fprintf(stderr,
				"ioclient: %s: %s: wrong byte at offset %" PRIu64
				": 0x%02x, not 0x%02x\n",
				opt.path, opt.method->name, off + i + j, (unsigned char)buf[i + j],
				(unsigned char)want[j]);
			atomic_store(&failed, 1);
			return -1;
		}
		i += n;
	}
	return 0;
}

static int uring_flush(struct client *c, uint64_t off, uint64_t len)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&c->ring);
	struct io_uring_cqe *cqe;
	int ret;

	(void)off;
	(void)len;
	io_uring_prep_fsync(sqe, c->fd, opt.flush == FLUSH_FDATASYNC ? IORING_FSYNC_DATASYNC : 0);
	ret = io_uring_submit_and_wait(&c->ring, 1);
	if (ret >= 0)
		ret = io_uring_wait_cqe(&c->ring, &cqe);
	if (!ret) {
		ret = cqe->res;
		io_uring_cqe_seen(&c->ring, cqe);
	}
	errno = -ret;
	return ret < 0 ? -1 : 0;
}

static int aio_flush(struct client *c, uint64_t off, uint64_t len)
{
	struct iocb cb = {
	    .aio_fildes = (uint32_t)c->fd,
	    .aio_lio_opcode = opt.flush == FLUSH_FDATASYNC ? IOCB_CMD_FDSYNC : IOCB_CMD_FSYNC,
	};
	struct iocb *list[1] = {&cb};
	struct io_event ev;

	(void)off;
	(void)len;
	if (syscall(SYS_io_submit, c->aio, 1, list) != 1)
		return -1;
	if (syscall(SYS_io_getevents, c->aio, 1, 1, &ev, NULL) != 1)
		return -1;
	errno = (int)-ev.res;
	return ev.res < 0 ? -1 : 0;
}

static int flush(struct client *c, uint64_t off, uint64_t len)
{
	if (opt.flush == FLUSH_NONE || opt.verify)
		return 0;
	if (c->flush_one(c, off, len))
		return fail("flush", off);
	atomic_fetch_add(&n_flushes, 1);
	return 0;
}

/* Blocks go round the region when count exceeds what fits in it. */
static uint64_t block_offset(uint64_t i)
{
	uint64_t fit = opt.size / opt.block;

	return opt.offset + i % fit * opt.block;
}

static void account(size_t len)
{
	atomic_fetch_add(&n_ops, 1);
	atomic_fetch_add(&n_bytes, len);
}

static int run_sync(struct client *c)
{
	uint64_t done = 0;

	for (uint64_t i = c->id; i < opt.count && !atomic_load(&failed); i += opt.threads) {
		uint64_t off = block_offset(i);

		if (opt.verify) {
			if (opt.method->read(c, c->bufs, opt.block, (off_t)off))
				return fail("read", off);
			if (verify(c->bufs, opt.block, off))
				return -1;
		} else {
			pattern(c->bufs, opt.block, off);
			if (opt.method->write(c, c->bufs, opt.block, (off_t)off))
				return fail("write", off);
		}
		account(opt.block);
		if (opt.every && ++done % opt.every == 0 && flush(c, off, opt.block))
			return -1;
	}
	return opt.every ? 0 : flush(c, opt.offset, opt.size);
}

/* Submit n blocks at offs[] from c->bufs, wait for all; results in res[]. 0 or -1 and errno. */
static int batch_aio(struct client *c, unsigned int n, const uint64_t *offs, int64_t *res)
{
	struct iocb cbs[MAX_DEPTH], *list[MAX_DEPTH];
	struct io_event ev[MAX_DEPTH];

	memset(cbs, 0, sizeof(cbs[0]) * n);
	for (unsigned int k = 0; k < n; k++) {
		cbs[k].aio_fildes = (uint32_t)c->fd;
		cbs[k].aio_lio_opcode = opt.verify ? IOCB_CMD_PREAD : IOCB_CMD_PWRITE;
		cbs[k].aio_buf = (uintptr_t)(c->bufs + k * opt.block);
		cbs[k].aio_nbytes = opt.block;
		cbs[k].aio_offset = (int64_t)offs[k];
		cbs[k].aio_data = k;
		list[k] = &cbs[k];
	}
	for (unsigned int sent = 0; sent < n;) {
		long r = syscall(SYS_io_submit, c->aio, n - sent, list + sent);

		if (r <= 0)
			return -1;
		sent += (unsigned int)r;
	}
	for (unsigned int got = 0; got < n;) {
		long r = syscall(SYS_io_getevents, c->aio, 1, n - got, ev, NULL);

		if (r < 0)
			return -1;
		for (long k = 0; k < r; k++)
			res[ev[k].data] = ev[k].res;
		got += (unsigned int)r;
	}
	return 0;
}

static int batch_uring(struct client *c, unsigned int n, const uint64_t *offs, int64_t *res)
{
	struct io_uring_cqe *cqe;
	int ret;

	for (unsigned int k = 0; k < n; k++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&c->ring);
		char *buf = c->bufs + k * opt.block;

		if (opt.verify)
			io_uring_prep_read(sqe, c->fd, buf, (unsigned int)opt.block, offs[k]);
		else
			io_uring_prep_write(sqe, c->fd, buf, (unsigned int)opt.block, offs[k]);
		io_uring_sqe_set_data64(sqe, k);
	}
	ret = io_uring_submit(&c->ring);
	for (unsigned int got = 0; ret >= 0 && got < n; got++) {
		ret = io_uring_wait_cqe(&c->ring, &cqe);
		if (ret < 0)
			break;
		res[cqe->user_data] = cqe->res;
		io_uring_cqe_seen(&c->ring, cqe);
	}
	errno = ret < 0 ? -ret : 0;
	return ret < 0 ? -1 : 0;
}

static int finish_batch(struct client *c, unsigned int n, const uint64_t *offs, const int64_t *res)
{
	for (unsigned int k = 0; k < n; k++) {
		if (res[k] < 0)
			errno = (int)-res[k];
		if (res[k] < 0 || whole((ssize_t)res[k], opt.block))
			return fail(opt.verify ? "read" : "write", offs[k]);
		if (opt.verify && verify(c->bufs + k * opt.block, opt.block, offs[k]))
			return -1;
		account(opt.block);
	}
	return 0;
}

/* A batch never holds the same block twice, nor reaches over the next flush. */
static int run_async(struct client *c)
{
	int uring = !strcmp(opt.method->name, "io_uring");
	uint64_t offs[MAX_DEPTH], fit = opt.size / opt.block, done = 0;
	int64_t res[MAX_DEPTH];

	for (uint64_t i = c->id; i < opt.count && !atomic_load(&failed);) {
		unsigned int n = 0, max = opt.depth < fit ? opt.depth : (unsigned int)fit;

		if (opt.every && max > opt.every)
			max = opt.every;
		for (; n < max && i < opt.count; n++, i += opt.threads) {
			offs[n] = block_offset(i);
			if (!opt.verify)
				pattern(c->bufs + n * opt.block, opt.block, offs[n]);
		}
		if (uring ? batch_uring(c, n, offs, res) : batch_aio(c, n, offs, res))
			return fail("submit", offs[0]);
		if (finish_batch(c, n, offs, res))
			return -1;
		done += n;
		if (opt.every && done >= opt.every) {
			done = 0;
			if (flush(c, opt.offset, opt.size))
				return -1;
		}
	}
	return opt.every ? 0 : flush(c, opt.offset, opt.size);
}

/* A mapping needs the file to be long enough; it is only ever made longer. */
static int setup_map(struct client *c)
{
	struct stat st;
	uint64_t end = opt.offset + opt.size;

	if (fstat(c->fd, &st))
		return fail("fstat", 0);
	if ((uint64_t)st.st_size < end && !opt.verify && ftruncate(c->fd, (off_t)end))
		return fail("ftruncate", end);
	c->map_len = end;
	c->map =
	    mmap(NULL, end, opt.verify ? PROT_READ : PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
	return c->map == MAP_FAILED ? fail("mmap", 0) : 0;
}

static int setup(struct client *c)
{
	int flags = opt.verify ? O_RDONLY : O_RDWR | O_CREAT;
	unsigned int blocks = opt.method->async ? opt.depth : 1;
	int ret;

	c->fd = open(opt.path, flags | O_CLOEXEC | opt.method->flags | opt.extra_flags, 0644);
	if (c->fd < 0)
		return fail("open", 0);
	c->bufs =
	    aligned_alloc(BUF_ALIGN, ((size_t)blocks * opt.block + BUF_ALIGN) & -(size_t)BUF_ALIGN);
	if (!c->bufs)
		return fail("allocate buffers", 0);
	c->flush_one = flush_sync;
	if (!strcmp(opt.method->name, "mmap"))
		return setup_map(c);
	if (pipe2(c->pipe, O_CLOEXEC))
		return fail("pipe", 0);
	c->mem = memfd_create("ioclient", MFD_CLOEXEC);
	if (c->mem < 0)
		return fail("memfd_create", 0);
	if (!strcmp(opt.method->name, "libaio")) {
		c->flush_one = aio_flush;
		return syscall(SYS_io_setup, MAX_DEPTH, &c->aio) ? fail("io_setup", 0) : 0;
	}
	if (!strcmp(opt.method->name, "io_uring")) {
		c->flush_one = uring_flush;
		ret = io_uring_queue_init(MAX_DEPTH, &c->ring, 0);
		errno = -ret;
		return ret ? fail("io_uring_queue_init", 0) : 0;
	}
	return 0;
}

/* Descriptors and memory go with the process: a run is one shot. */
static void *client_main(void *arg)
{
	struct client *c = arg;

	if (!setup(c)) {
		if (opt.method->async)
			run_async(c);
		else
			run_sync(c);
	}
	if (c->map && c->map != MAP_FAILED)
		munmap(c->map, c->map_len);
	if (c->fd >= 0 && close(c->fd))
		fail("close", 0);
	return NULL;
}

static int parse_size(const char *text, uint64_t min, uint64_t max, uint64_t *value)
{
	char *end;
	uint64_t v;

	errno = 0;
	v = strtoull(text, &end, 0);
	if (errno || end == text || *text == '-')
		return -1;
	switch (*end) {
	case 'G':
		v <<= 10; /* fall through */
	case 'M':
		v <<= 10; /* fall through */
	case 'k':
	case 'K':
		v <<= 10;
		end++;
	}
	if (*end || v < min || v > max)
		return -1;
	*value = v;
	return 0;
}

static int parse_flush(const char *text)
{
	static const char *const names[] = {"none", "fsync", "fdatasync", "msync"};

	for (int i = 0; i < 4; i++) {
		if (strcmp(text, names[i]))
			continue;
		opt.flush = (enum flush_kind)i;
		return 0;
	}
	return -1;
}

static int parse_method(const char *text)
{
	for (const struct method *m = methods; m->name; m++)
		if (!strcmp(m->name, text))
			opt.method = m;
	return opt.method ? 0 : -1;
}

/* 0, or -1 when the value of option c is wrong. */
static int parse_option(int c, const char *arg)
{
	uint64_t v = 0;
	int ret = 0;

	if (c == 'm')
		return parse_method(arg);
	if (c == 'F')
		return parse_flush(arg);
	if (c == 's')
		return parse_size(arg, 1, UINT64_MAX >> 2, &opt.size);
	if (c == 'b')
		return parse_size(arg, 1, MAX_BLOCK, &opt.block);
	if (c == 'n')
		return parse_size(arg, 1, UINT64_MAX, &opt.count);
	if (c == 'o')
		return parse_size(arg, 0, UINT64_MAX >> 2, &opt.offset);
	if (c == 'p')
		return parse_size(arg, 0, UINT64_MAX, &opt.seed);
	if (c == 'e' || c == 'j' || c == 'q')
		ret = parse_size(arg, 1, c == 'e' ? 1u << 30 : c == 'j' ? 64 : MAX_DEPTH, &v);
	if (c == 'e')
		opt.every = (unsigned int)v;
	else if (c == 'j')
		opt.threads = (unsigned int)v;
	else if (c == 'q')
		opt.depth = (unsigned int)v;
	else if (c == 'r')
		opt.verify = 1;
	else if (c == 'D')
		opt.extra_flags |= O_DIRECT;
	else
		return -1;
	return ret;
}

static int usage(void)
{
	fprintf(stderr,
		"usage: ioclient -m METHOD [-s size] [-b block] [-n count] [-o offset]\n"
		"                [-p seed] [-F fsync|fdatasync|msync|none] [-e flush every N]\n"
		"                [-j threads] [-q depth] [-D (add O_DIRECT)]\n"
		"                [-r (read and verify)] FILE\nMETHOD:");
	for (const struct method *m = methods; m->name; m++)
		fprintf(stderr, " %s", m->name);
	fprintf(stderr, "\n");
	return 2;
}

int main(int argc, char **argv)
{
	static struct client clients[64];
	pthread_t threads[64];
	int c;

	while ((c = getopt(argc, argv, "m:s:b:n:o:p:F:e:j:q:rD")) != -1)
		if (c == '?' || parse_option(c, optarg))
			return usage();
	if (optind != argc - 1 || !opt.method)
		return usage();
	if (opt.flush == FLUSH_MSYNC && strcmp(opt.method->name, "mmap")) {
		fprintf(stderr,
			"ioclient: -F msync: only for -m mmap, choose fsync or fdatasync\n");
		return 2;
	}
	opt.path = argv[optind];
	if (opt.block > opt.size)
		opt.block = opt.size;
	if (!opt.count)
		opt.count = opt.size / opt.block;
	for (unsigned int i = 0; i < opt.threads; i++) {
		clients[i].id = i;
		clients[i].fd = -1;
		if (pthread_create(&threads[i], NULL, client_main, &clients[i]))
			return fail("pthread_create", 0), 1;
	}
	for (unsigned int i = 0; i < opt.threads; i++)
		pthread_join(threads[i], NULL);
	printf("%s=%" PRIuFAST64 " bytes=%" PRIuFAST64 " flushes=%" PRIuFAST64 "\n",
	       opt.verify ? "reads" : "writes", atomic_load(&n_ops), atomic_load(&n_bytes),
	       atomic_load(&n_flushes));
	return atomic_load(&failed);
}
