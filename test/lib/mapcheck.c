/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What mappings, splice(2) and sendfile(2) see of a file that others write:
 *
 *  mapcheck shared FILE  stores are seen by reads, writes by loads, of other descriptors
 *  mapcheck private FILE  stores stay private, writes are seen where nothing was stored
 *  mapcheck truncate FILE  beyond a smaller size is SIGBUS; within a larger one are zeros
 *  mapcheck stale FILE N  N rounds: another process writes, we sendfile, splice and load
 *  mapcheck time FILE  milliseconds of sequential reads, by read(2) and through a mapping
 *
 * Exit status 0, or 1 with one line about what is wrong.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SIZE 65536
#define CHECK(ok, ...)                                                                             \
	do {                                                                                       \
		if (!(ok))                                                                         \
			errx(1, __VA_ARGS__);                                                      \
	} while (0)

static char buf[SIZE];

static int open_file(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT, 0644);

	if (fd < 0)
		err(1, "%s", path);
	return fd;
}

static void fill(int fd, char c)
{
	memset(buf, c, SIZE);
	if (pwrite(fd, buf, SIZE, 0) != SIZE)
		err(1, "pwrite");
}

static char read_at(int fd, off_t off)
{
	char c;

	if (pread(fd, &c, 1, off) != 1)
		err(1, "pread");
	return c;
}

static void write_at(int fd, off_t off, char c)
{
	if (pwrite(fd, &c, 1, off) != 1)
		err(1, "pwrite");
}

static volatile char *map(int fd, int flags)
{
	void *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (p == MAP_FAILED)
		err(1, "mmap");
	return p;
}

static int shared(const char *path)
{
	int a = open_file(path), b = open_file(path);
	volatile char *p, *q;

	fill(a, 'a');
	p = map(a, MAP_SHARED);
	q = map(b, MAP_SHARED);
	CHECK(p[5000] == 'a', "a load sees %d, not what was written before", p[5000]);
	for (int i = 0; i < 200; i++) {
		off_t off = i * 327;
		char c = (char)('A' + i % 26);

		p[off] = c;
		CHECK(q[off] == c, "round %d: the other mapping lacks a store", i);
		CHECK(read_at(b, off) == c, "round %d: pread lacks a store", i);
		c++;
		write_at(b, off + 1, c);
		CHECK(p[off + 1] == c, "round %d: the mapping lacks a write", i);
		CHECK(p[off] == c - 1, "round %d: a write next to it undid a store", i);
		CHECK(read_at(a, off + 1) == c, "round %d: pread lacks a write", i);
	}
	p[10] = 's';
	if (msync((void *)p, SIZE, MS_SYNC) < 0)
		err(1, "msync");
	munmap((void *)p, SIZE);
	munmap((void *)q, SIZE);
	close(b);
	CHECK(read_at(a, 10) == 's', "a store is lost after munmap");
	return 0;
}

static int private(const char *path)
{
	int fd = open_file(path);
	volatile char *p;

	fill(fd, 'a');
	p = map(fd, MAP_PRIVATE);
	p[0] = 'p';
	CHECK(read_at(fd, 0) == 'a', "a private store reached the file");
	write_at(fd, 0, 'w');
	CHECK(p[0] == 'p', "a private store was lost");
	CHECK(p[40000] == 'a', "wrong contents");
	write_at(fd, 40000, 'w');
	CHECK(p[40000] == 'w', "a page without private stores lacks a write");
	return 0;
}

static sigjmp_buf jump;

static void on_bus(int sig)
{
	(void)sig;
	siglongjmp(jump, 1);
}

static int load_fails(volatile char *p)
{
	if (sigsetjmp(jump, 1))
		return 1;
	(void)*p;
	return 0;
}

static int truncated(const char *path)
{
	int fd = open_file(path);
	volatile char *p;

	signal(SIGBUS, on_bus);
	fill(fd, 'a');
	p = map(fd, MAP_SHARED);
	CHECK(p[SIZE - 1] == 'a', "wrong contents");
	if (ftruncate(fd, 5000) < 0)
		err(1, "ftruncate");
	CHECK(load_fails(p + 8192), "a page beyond the end is there");
	CHECK(load_fails(p + SIZE - 1), "the last page is there, beyond the end");
	CHECK(p[4999] == 'a' && p[5000] == 0, "wrong contents around the end");
	if (ftruncate(fd, SIZE) < 0)
		err(1, "ftruncate");
	CHECK(p[6000] == 0 && p[8192] == 0 && p[SIZE - 1] == 0, "what was cut off came back");
	return 0;
}

/* The other process: for each byte that comes, that byte all over the file; then an answer. */
static void __attribute__((noreturn)) writer(const char *path, int in, int out)
{
	int fd = open_file(path);
	char c;

	for (unsigned i = 0; read(in, &c, 1) == 1; i++) {
		size_t at = i * 7919 % (SIZE - 5000);

		memset(buf, c, SIZE);
		/* in whole pages, and in a piece that lies across them */
		if (pwrite(fd, buf, SIZE, 0) != SIZE || pwrite(fd, buf, 5000, (off_t)at) != 5000 ||
		    write(out, &c, 1) != 1)
			_exit(1);
	}
	_exit(0);
}

/* LEN bytes came through the pipe, all of them C. */
static void drain(int pipe, ssize_t len, char c, const char *what, int round)
{
	ssize_t n = 0, r;

	if (len < 0)
		err(1, "%s", what);
	for (; n < len; n += r) {
		r = read(pipe, buf, SIZE);
		if (r <= 0)
			err(1, "read");
		for (ssize_t i = 0; i < r; i++)
			CHECK(buf[i] == c, "round %d: %s: byte %zd is %d instead of %d", round,
			      what, n + i, buf[i], c);
	}
}

static void look(int fd, const int *data, volatile char *p, char c, int round)
{
	off_t off = 0;

	drain(data[0], sendfile(data[1], fd, &off, SIZE / 2), c, "sendfile", round);
	off = round % 2 ? 1000 : 40960;
	drain(data[0], splice(fd, &off, data[1], NULL, 20000, 0), c, "splice", round);
	off = SIZE - 4096;
	drain(data[0], sendfile(data[1], fd, &off, 4096), c, "sendfile of the end", round);
	for (off = 17; p && off < SIZE; off += 4096)
		CHECK(p[off] == c, "round %d: a load at %ld is %d instead of %d", round, (long)off,
		      p[off], c);
}

static int stale(const char *path, int rounds)
{
	int fd = open_file(path), go[2], done[2], data[2];
	volatile char *p = NULL;
	char c = 0;

	fill(fd, 'a');
	if (pipe(go) < 0 || pipe(done) < 0 || pipe(data) < 0)
		err(1, "pipe");
	if (fork() == 0) {
		close(go[1]);
		writer(path, go[0], done[1]);
	}
	close(done[1]);
	for (int i = 0; i < rounds; i++) {
		char want = (char)('A' + i % 50);

		if (i == rounds / 2)
			p = map(fd, MAP_SHARED);
		if (write(go[1], &want, 1) != 1 || read(done[0], &c, 1) != 1)
			errx(1, "the writing process failed");
		look(fd, data, p, want, i);
	}
	return 0;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int measure(const char *path)
{
	static char block[131072];
	int fd = open(path, O_RDONLY);
	struct stat st;
	double start, reading, loading;
	unsigned long sum = 0;
	volatile char *p;

	if (fd < 0 || fstat(fd, &st) < 0)
		err(1, "%s", path);
	start = now();
	while (read(fd, block, sizeof(block)) > 0)
		sum += (unsigned char)block[0];
	reading = now() - start;
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		err(1, "mmap");
	start = now();
	for (off_t off = 0; off < st.st_size; off += 64)
		sum += (unsigned char)p[off];
	loading = now() - start;
	start = now();
	for (int i = 0; i < 100 && now() - start < 3000; i++) {
		for (off_t off = 0; off < 1 << 20; off += 64)
			sum += (unsigned char)p[off];
	}
	printf("read %.1f ms, through a mapping %.1f ms, the first MiB of it 100 times %.1f ms "
	       "(%lu)\n",
	       reading, loading, now() - start, sum);
	return 0;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 2 ? argv[1] : "";

	if (!strcmp(verb, "shared"))
		return shared(argv[2]);
	if (!strcmp(verb, "private"))
		return private(argv[2]);
	if (!strcmp(verb, "truncate"))
		return truncated(argv[2]);
	if (!strcmp(verb, "stale") && argc == 4)
		return stale(argv[2], atoi(argv[3]));
	if (!strcmp(verb, "time"))
		return measure(argv[2]);
	errx(2, "usage: mapcheck shared|private|truncate|time FILE, mapcheck stale FILE ROUNDS");
}
