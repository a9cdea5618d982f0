/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * races CHECK ARGUMENT...: clients that meet in one file of a mount.
 *
 *	rmw FILE SECONDS	writes of a byte, of a sector beside it, and opens: none is lost
 *	otrunc FILE SECONDS	O_TRUNC against writes of a byte
 *	remount DIR FILE	CACHEFS_IOC_REMOUNT as nobody gives nothing away
 *	term DIR PID		SIGTERM for the daemon PID while files of DIR are mapped and written
 *
 * Exit status: 0, 1 when a check failed, 2 for wrong usage.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cachefs.h"

#define NOBODY 65534
#define SECTOR 512
#define FILES 8

static atomic_int stop, errors;

static void die(const char *what)
{
	fprintf(stderr, "races: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int must_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0644);

	if (fd < 0)
		die(path);
	return fd;
}

static pthread_t start(void *(*run)(void *arg), void *arg)
{
	pthread_t t;

	errno = pthread_create(&t, NULL, run, arg);
	if (errno)
		die("no thread");
	return t;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void wrong(const char *what)
{
	if (atomic_fetch_add(&errors, 1) < 3)
		fprintf(stderr, "races: %s: %s\n", what, strerror(errno));
}

static void *byte_writer(void *arg)
{
	int fd = must_open(arg, O_RDWR);

	while (!atomic_load(&stop))
		if (pwrite(fd, "x", 1, 3) != 1)
			wrong("write of a byte");
	if (fsync(fd))
		wrong("fsync");
	close(fd);
	return NULL;
}

static void *opener(void *arg)
{
	while (!atomic_load(&stop)) {
		int fd = open(arg, O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			wrong("open");
		else
			close(fd);
	}
	return NULL;
}

/* Each sector written is read back three times, while its neighbours in the block are written. */
static int run_rmw(char **argv)
{
	int fd = must_open(argv[0], O_RDWR | O_CREAT | O_TRUNC);
	uint64_t sector[SECTOR / 8], back[SECTOR / 8], n = 0, lost = 0;
	double end = now() + atoi(argv[1]);
	char *zeros = calloc(1, 1 << 20);
	pthread_t t[2];

	if (!zeros || pwrite(fd, zeros, 1 << 20, 0) != 1 << 20)
		die(argv[0]);
	t[0] = start(byte_writer, argv[0]);
	t[1] = start(opener, argv[0]);
	while (now() < end) {
		n++;
		for (size_t i = 0; i < SECTOR / 8; i++)
			sector[i] = n;
		if (pwrite(fd, sector, SECTOR, 2 * SECTOR) != SECTOR)
			die("write of a sector");
		for (int k = 0; k < 3; k++) {
			if (pread(fd, back, SECTOR, 2 * SECTOR) != SECTOR)
				die("read of a sector");
			if (memcmp(sector, back, SECTOR)) {
				lost++;
				break;
			}
		}
	}
	atomic_store(&stop, 1);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	printf("sectors=%lu lost=%lu errors=%d\n", (unsigned long)n, (unsigned long)lost,
	       atomic_load(&errors));
	free(zeros);
	return lost || atomic_load(&errors) || !n;
}

/* After O_TRUNC the file has what was written since: a byte at offset 3 at most. */
static int run_otrunc(char **argv)
{
	int fd = must_open(argv[0], O_RDWR | O_CREAT | O_TRUNC);
	double end = now() + atoi(argv[1]);
	unsigned long n = 0, bad = 0;
	pthread_t t = start(byte_writer, argv[0]);
	char block[4096];

	memset(block, 'A', sizeof(block));
	for (; now() < end; n++) {
		struct stat st;
		int other;

		if (pwrite(fd, block, sizeof(block), 0) != sizeof(block))
			wrong("write of a block");
		usleep(200);
		other = must_open(argv[0], O_RDWR | O_TRUNC);
		usleep(100);
		if (fstat(other, &st))
			wrong("fstat");
		else if (st.st_size > 4)
			bad++;
		close(other);
	}
	atomic_store(&stop, 1);
	pthread_join(t, NULL);
	printf("truncations=%lu undone=%lu errors=%d\n", n, bad, atomic_load(&errors));
	return bad || atomic_load(&errors) || !n;
}

/* The daemon's buffers hold others' data, and none of it may come back. */
static int run_remount(char **argv)
{
	static struct cachefs_remount r, zeros;
	static char secret[1 << 20];
	int file = must_open(argv[1], O_RDWR | O_CREAT), dir, leaks = 0;

	memset(secret, 's', sizeof(secret));
	dir = must_open(argv[0], O_RDONLY | O_DIRECTORY);
	if (setgid(NOBODY) || setuid(NOBODY))
		die("setuid");
	for (int i = 0; i < 300; i++) {
		if (pwrite(file, secret, sizeof(secret), 0) != sizeof(secret))
			die("write");
		memset(&r, 0, sizeof(r));
		if (!ioctl(dir, CACHEFS_IOC_REMOUNT, &r) || errno != EPERM)
			die("CACHEFS_IOC_REMOUNT as nobody");
		leaks += memcmp(&r, &zeros, sizeof(r)) != 0;
	}
	printf("calls=300 leaks=%d\n", leaks);
	return leaks != 0;
}

/* ---- SIGTERM: errors are expected, wrong bytes in the files are not (the caller looks) ---- */

struct term_file {
	int fd, dir;
	char name[16];
	volatile char *map;
};

static void *term_write(void *arg)
{
	struct term_file *f = arg;
	char block[4096];

	memset(block, 0xee, sizeof(block));
	while (!atomic_load(&stop) && pwrite(f->fd, block, sizeof(block), 4096) > 0)
		;
	return NULL;
}

static void *term_open(void *arg)
{
	struct term_file *f = arg;
	int fd;

	while (!atomic_load(&stop) && (fd = openat(f->dir, f->name, O_RDWR | O_CLOEXEC)) >= 0)
		close(fd);
	return NULL;
}

static int run_term(char **argv)
{
	static struct term_file files[FILES];
	static char bytes[65536];
	pthread_t t[2 * FILES];
	int dir = must_open(argv[0], O_RDONLY | O_DIRECTORY);

	memset(bytes, 0xee, sizeof(bytes));
	for (int i = 0; i < FILES; i++) {
		struct term_file *f = &files[i];

		f->dir = dir;
		snprintf(f->name, sizeof(f->name), "w%d", i);
		f->fd = openat(dir, f->name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
		if (f->fd < 0 || pwrite(f->fd, bytes, sizeof(bytes), 0) != sizeof(bytes))
			die(f->name);
		f->map = mmap(NULL, sizeof(bytes), PROT_READ, MAP_PRIVATE, f->fd, 0);
		if (f->map == MAP_FAILED || f->map[0] != (char)0xee)
			die("mmap");
	}
	for (int i = 0; i < FILES; i++) {
		t[2 * i] = start(term_write, &files[i]);
		t[2 * i + 1] = start(term_open, &files[i]);
	}
	usleep(500000);
	if (kill((pid_t)atoi(argv[1]), SIGTERM))
		die("kill");
	usleep(1500000);
	atomic_store(&stop, 1);
	for (int i = 0; i < 2 * FILES; i++)
		pthread_join(t[i], NULL);
	return 0;
}

static const struct {
	const char *name;
	int (*run)(char **argv);
} checks[] = {
    {"rmw", run_rmw},
    {"otrunc", run_otrunc},
    {"remount", run_remount},
    {"term", run_term},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 4 && i < sizeof(checks) / sizeof(checks[0]); i++)
		if (!strcmp(checks[i].name, argv[1]))
			return checks[i].run(argv + 2);
	fprintf(stderr, "usage: races rmw|otrunc FILE SECONDS\n"
			"       races remount DIR FILE\n"
			"       races term DIR PID\n");
	return 2;
}
