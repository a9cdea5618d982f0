/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What was written on one way is seen on every other. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kpath.h"

/* ---- append: no record is lost, torn or written over ---- */

#define APPENDERS 4
#define RECORDS 3000
#define RECORD 48

static void append_child(const char *path, int child)
{
	/* every other one as a client that the daemon serves */
	int fd = must_open(path, O_WRONLY | O_APPEND | (child % 2 ? O_DIRECT : 0));
	char record[RECORD + 32]; /* numbers of any length fit, which gcc wants to see */

	for (int i = 0; i < RECORDS; i++) {
		snprintf(record, sizeof(record), "%03d %06d %*s\n", child, i, RECORD - 12, "x");
		if (write(fd, record, RECORD) != RECORD)
			die("append");
	}
	_exit(0);
}

static int append_check(const char *path)
{
	int next[APPENDERS] = {0}, fd = must_open(path, O_RDONLY), child, i;
	char record[RECORD + 1] = "";
	long n = 0;

	for (; read(fd, record, RECORD) == RECORD; n++)
		if (sscanf(record, "%d %d x\n", &child, &i) != 2 || child < 0 ||
		    child >= APPENDERS || i != next[child]++ || record[RECORD - 1] != '\n')
			return complain("record %ld is \"%s\"", n, record);
	if (n != APPENDERS * RECORDS)
		return complain("%ld records instead of %d", n, APPENDERS * RECORDS);
	return 0;
}

int run_append(int argc, char **argv)
{
	int status, bad = 0;

	(void)argc;
	close(must_open(argv[1], O_RDWR | O_CREAT | O_TRUNC));
	for (int child = 0; child < APPENDERS; child++) {
		pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (!pid)
			append_child(argv[1], child);
	}
	while (wait(&status) > 0)
		bad |= status;
	return bad ? 1 : append_check(argv[1]);
}

/* ---- truncate against writes ---- */

#define SPAN 64u /* blocks */

static atomic_int stop_writing, write_errors;

static void *truncate_writer(void *arg)
{
	const char *path = arg;
	int fd = must_open(path, O_RDWR);
	char *buf = blocks(1);

	memset(buf, 'w', BLOCK);
	for (unsigned b = 0; !atomic_load(&stop_writing); b = (b + 7) % SPAN)
		if (pwrite(fd, buf, BLOCK, b * BLOCK) != BLOCK)
			atomic_fetch_add(&write_errors, 1);
	close(fd);
	free(buf);
	return NULL;
}

/* A block is zeros or 'w's as far as the file reaches; a size that was set is not outgrown by less.
 */
static int truncate_content(const char *path)
{
	int fd = must_open(path, O_RDONLY);
	char *buf = blocks(SPAN + 1);
	ssize_t n = pread(fd, buf, (SPAN + 1) * BLOCK, 0);
	struct stat st;

	if (fstat(fd, &st) || n != st.st_size)
		return complain("%zd bytes can be read, the size is %lld", n,
				(long long)st.st_size);
	for (ssize_t i = 0; i < n; i++)
		if (buf[i] != 'w' && buf[i])
			return complain("byte %zd is %d", i, buf[i]);
	close(fd);
	free(buf);
	return 0;
}

int run_truncate(int argc, char **argv)
{
	pthread_t t[2];
	int bad = 0, fd = must_open(argv[1], O_RDWR | O_CREAT | O_TRUNC);
	struct stat st;

	(void)argc;
	for (int i = 0; i < 2; i++)
		if (pthread_create(&t[i], NULL, truncate_writer, argv[1]))
			die("no thread");
	for (int i = 0; i < 1500 && !bad; i++) {
		if (ftruncate(fd, i % 3 ? (off_t)((unsigned)i % SPAN * BLOCK + 100) : 0))
			die("ftruncate");
		if (i % 10 == 0 && fstat(fd, &st))
			die("fstat");
	}
	atomic_store(&stop_writing, 1);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	if (atomic_load(&write_errors))
		return complain("%d writes failed", atomic_load(&write_errors));
	bad = truncate_content(argv[1]);
	if (ftruncate(fd, 5000) || fstat(fd, &st) || st.st_size != 5000)
		bad = complain("size %lld after the last truncate", (long long)st.st_size);
	return bad;
}

/* ---- mappings ---- */

struct view {
	int fd;
	char *map;
};

static struct view view_open(const char *path, int flags)
{
	struct view v = {.fd = must_open(path, O_RDWR | flags)};

	v.map = mmap(NULL, 4 * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, v.fd, 0);
	if (v.map == MAP_FAILED)
		die("mmap");
	return v;
}

/* What I stored or wrote, everybody reads and sees in mappings; ROUND makes it differ. */
static int maps_agree(struct view *v, int n, int round)
{
	static char *buf;
	char want[32];

	buf = buf ? buf : blocks(1);
	for (int i = 0; i < 2 * n; i++) {
		struct view *w = &v[i / 2];

		snprintf(want, sizeof(want), "%08d by %d", round, i);
		if (i % 2) {
			memcpy(w->map + BLOCK, want, sizeof(want));
		} else {
			memset(buf, 0, BLOCK);
			memcpy(buf, want, sizeof(want));
			if (pwrite(w->fd, buf, BLOCK, BLOCK) != BLOCK)
				die("write");
		}
		for (int k = 0; k < n; k++) {
			if (memcmp(v[k].map + BLOCK, want, sizeof(want)))
				return complain("mapping %d has \"%.32s\", not \"%s\"", k,
						v[k].map + BLOCK, want);
			if (pread(v[k].fd, buf, BLOCK, BLOCK) != BLOCK)
				die("read");
			if (memcmp(buf, want, sizeof(want)))
				return complain("open %d reads \"%.32s\", not \"%s\"", k, buf,
						want);
		}
	}
	return 0;
}

int run_maps(int argc, char **argv)
{
	static const int flags[] = {0, O_DIRECT, O_DSYNC};
	struct view v[3];
	int bad = 0, fd = must_open(argv[1], O_RDWR | O_CREAT | O_TRUNC);

	(void)argc;
	if (ftruncate(fd, 4 * BLOCK))
		die("ftruncate");
	/* each of them first once */
	for (int first = 0; first < 3 && !bad; first++) {
		for (int i = 0; i < 3; i++)
			v[i] = view_open(argv[1], flags[(first + i) % 3]);
		for (int round = 0; round < 100 && !bad; round++)
			bad = maps_agree(v, 3, round);
		for (int i = 0; i < 3; i++) {
			munmap(v[i].map, 4 * BLOCK);
			close(v[i].fd);
		}
	}
	return bad;
}

/* ---- splice and sendfile go through FUSE's page cache on what the daemon serves ---- */

static void take(int sends, int fd, int sink, int *pipes, char *buf)
{
	loff_t pos = 0;

	if (sends) {
		off_t from = 0;

		if (lseek(sink, 0, SEEK_SET) || sendfile(sink, fd, &from, BLOCK) != BLOCK)
			die("sendfile");
		if (pread(sink, buf, BLOCK, 0) != BLOCK)
			die("read");
		return;
	}
	if (splice(fd, &pos, pipes[1], NULL, BLOCK, 0) != BLOCK)
		die("splice");
	if (read(pipes[0], buf, BLOCK) != BLOCK)
		die("read from the pipe");
}

int run_stale(int argc, char **argv)
{
	int writer = must_open(argv[1], O_RDWR | O_CREAT | O_TRUNC), rounds = atoi(argv[2]);
	int reader = must_open(argv[1], O_RDONLY | O_DIRECT), pipes[2], stale = 0;
	int sink = memfd_create("sink", MFD_CLOEXEC);
	char *buf = blocks(1), *want = blocks(1);
	char *map = NULL;

	(void)argc;
	if (pipe2(pipes, O_CLOEXEC) || sink < 0 || ftruncate(writer, BLOCK))
		die("pipe");
	map = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, writer, 0);
	if (map == MAP_FAILED)
		die("mmap");
	for (int i = 0; i < rounds; i++) {
		memset(want, 'a' + i % 26, BLOCK);
		if (i % 3 == 2)
			memcpy(map, want, BLOCK);
		else if (pwrite(writer, want, BLOCK, 0) != BLOCK)
			die("write");
		take(i % 2, reader, sink, pipes, buf);
		if (memcmp(buf, want, BLOCK) && stale++ < 3)
			complain("round %d: %s gives '%c', not '%c'", i,
				 i % 2 ? "sendfile" : "splice", buf[0], want[0]);
	}
	if (stale)
		complain("%d of %d stale", stale, rounds);
	return stale != 0;
}
