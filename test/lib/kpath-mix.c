/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any order and any mixture of opens and mappings of one file works: FUSE's kernel side by itself
 * would answer many of them with EIO or ENODEV.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kpath.h"

#define STORM_BLOCKS 64u

static const int accesses[] = {O_RDONLY, O_WRONLY, O_RDWR};
static const char *const access_names[] = {"ro", "wo", "rw"};

enum use { USE_NONE, USE_READ, USE_WRITE, USE_SHARED, USE_SHARED_WRITE, USE_PRIVATE, USES };
static const char *const use_names[] = {
    "only open", "read", "write", "map shared", "map shared for writing", "map private"};

/* Byte I of block B is the same for all writers, so that a read knows what it must see. */
static char block_byte(unsigned b)
{
	return (char)('A' + b % 23);
}

/* A use is possible with an access mode as for any file. */
static int possible(enum use use, int access)
{
	if (use == USE_NONE)
		return 1;
	if (use == USE_WRITE)
		return access != O_RDONLY;
	if (use == USE_SHARED_WRITE)
		return access == O_RDWR;
	return access != O_WRONLY;
}

/* Maps block B, touches it, and leaves the mapping in *KEEP where that is not NULL. */
static int use_map(int fd, unsigned b, enum use use, char **keep)
{
	int prot = PROT_READ | (use == USE_SHARED ? 0 : PROT_WRITE);
	char *map = mmap(NULL, BLOCK, prot, use == USE_PRIVATE ? MAP_PRIVATE : MAP_SHARED, fd,
			 (off_t)b * BLOCK);
	int bad;

	if (map == MAP_FAILED)
		return -errno;
	bad = ((volatile char *)map)[7] != block_byte(b);
	if (use != USE_SHARED)
		((volatile char *)map)[7] = block_byte(b);
	if (keep)
		*keep = map;
	else
		munmap(map, BLOCK);
	return bad ? -EILSEQ : 0;
}

/* 0 or a negative errno; -EILSEQ: wrong bytes. */
static int use_file(int fd, unsigned b, enum use use, char *buf, char **keep)
{
	ssize_t n = BLOCK;

	if (use == USE_NONE)
		return 0;
	if (use >= USE_SHARED)
		return use_map(fd, b, use, keep);
	if (use == USE_WRITE) {
		memset(buf, block_byte(b), BLOCK);
		n = pwrite(fd, buf, BLOCK, (off_t)b * BLOCK);
	} else {
		n = pread(fd, buf, BLOCK, (off_t)b * BLOCK);
		for (unsigned i = 0; n == BLOCK && i < BLOCK; i++)
			if (buf[i] != block_byte(b))
				return -EILSEQ;
	}
	return n < 0 ? -errno : n != BLOCK ? -EIO : 0;
}

static void fill(const char *path)
{
	int fd = must_open(path, O_RDWR | O_CREAT | O_TRUNC);
	char *buf = blocks(1);

	for (unsigned b = 0; b < STORM_BLOCKS; b++)
		if (use_file(fd, b, USE_WRITE, buf, NULL))
			die(path);
	free(buf);
	close(fd);
}

struct open_kind {
	const struct client_kind *kind;
	int access; /* index */
	enum use use;
};

/* Opens, uses, and keeps open and mapped; the descriptor or a negative errno. */
static int pair_half(const char *path, const struct open_kind *o, char *buf, char **map)
{
	/* appends do not go to the block that is looked at */
	int fd = open(path, accesses[o->access] | (o->kind->flags & ~O_APPEND) | O_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	err = use_file(fd, 3, o->use, buf, map);
	if (!err)
		return fd;
	close(fd);
	return err;
}

static int pair(const char *path, const struct open_kind *first, const struct open_kind *second)
{
	static char *buf;
	char *maps[2] = {NULL, NULL};
	int fds[2], bad = 0;

	buf = buf ? buf : blocks(1);
	fds[0] = pair_half(path, first, buf, &maps[0]);
	fds[1] = pair_half(path, second, buf, &maps[1]);
	/* and the first one still works */
	if (fds[0] >= 0 && fds[1] >= 0 && use_file(fds[0], 3, first->use, buf, NULL))
		bad = complain("%s %s no longer works after %s %s", first->kind->name,
			       use_names[first->use], second->kind->name, use_names[second->use]);
	for (int i = 0; i < 2; i++) {
		if (fds[i] < 0)
			bad = complain("%s %s (%s), then %s %s (%s): the %s one: %s",
				       first->kind->name, access_names[first->access],
				       use_names[first->use], second->kind->name,
				       access_names[second->access], use_names[second->use],
				       i ? "second" : "first", strerror(-fds[i]));
		if (maps[i])
			munmap(maps[i], BLOCK);
		if (fds[i] >= 0)
			close(fds[i]);
	}
	return bad;
}

int run_mix(int argc, char **argv)
{
	struct open_kind all[128];
	unsigned n = 0, bad = 0, pairs = 0;

	(void)argc;
	fill(argv[1]);
	for (const struct client_kind *k = client_kinds; k->name; k++)
		for (int a = 0; a < 3; a++)
			for (enum use u = 0; u < USES; u++)
				if (possible(u, accesses[a]) && k->flags != O_APPEND &&
				    k->flags != O_NOATIME)
					all[n++] = (struct open_kind){k, a, u};
	for (unsigned i = 0; i < n; i++)
		for (unsigned j = 0; j < n && bad < 10; j++, pairs++)
			bad += (unsigned)pair(argv[1], &all[i], &all[j]);
	printf("pairs=%u failed=%u\n", pairs, bad);
	return bad != 0;
}

/* ---- many threads ---- */

static struct {
	char **paths;
	unsigned files;
	double end;
	atomic_ulong opens;
	atomic_int failures;
} storm;

static void storm_round(unsigned *seed, char *buf)
{
	unsigned b = (unsigned)rand_r(seed) % STORM_BLOCKS, kinds = 0;
	const char *path = storm.paths[(unsigned)rand_r(seed) % storm.files];
	const struct client_kind *k;
	int a = rand_r(seed) % 3, fd;

	while (client_kinds[kinds].name)
		kinds++;
	k = &client_kinds[(unsigned)rand_r(seed) % kinds];
	fd = open(path, accesses[a] | (k->flags & ~O_APPEND) | O_CLOEXEC);
	if (fd < 0 && atomic_fetch_add(&storm.failures, 1) < 5)
		complain("%s %s: open: %s", k->name, access_names[a], strerror(errno));
	if (fd < 0)
		return;
	atomic_fetch_add(&storm.opens, 1);
	for (int i = rand_r(seed) % 4; i > 0; i--) {
		enum use use = (enum use)(rand_r(seed) % USES);
		int err = possible(use, accesses[a]) ? use_file(fd, b, use, buf, NULL) : 0;

		if (err && atomic_fetch_add(&storm.failures, 1) < 5)
			complain("%s %s: %s: %s", k->name, access_names[a], use_names[use],
				 strerror(-err));
	}
	close(fd);
}

static void *storm_main(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;
	char *buf = blocks(1);

	while (now() < storm.end && !atomic_load(&storm.failures))
		storm_round(&seed, buf);
	free(buf);
	return NULL;
}

int run_storm(int argc, char **argv)
{
	unsigned threads = (unsigned)atoi(argv[3]);
	pthread_t t[256];

	(void)argc;
	storm.files = (unsigned)atoi(argv[2]);
	if (!storm.files || !threads || threads > 256)
		return complain("storm: 1 or more files, 1 to 256 threads") + 1;
	storm.paths = calloc(storm.files, sizeof(*storm.paths));
	for (unsigned i = 0; storm.paths && i < storm.files; i++) {
		if (asprintf(&storm.paths[i], "%s/storm%u", argv[1], i) < 0)
			die("no memory");
		fill(storm.paths[i]);
	}
	storm.end = now() + atoi(argv[4]);
	for (unsigned i = 0; i < threads; i++)
		if (pthread_create(&t[i], NULL, storm_main, (void *)(uintptr_t)(i + 1)))
			die("no thread");
	for (unsigned i = 0; i < threads; i++)
		pthread_join(t[i], NULL);
	printf("opens=%lu failures=%d\n", atomic_load(&storm.opens), atomic_load(&storm.failures));
	return atomic_load(&storm.failures) != 0;
}
