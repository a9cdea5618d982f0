/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ctlstorm SECONDS SEED FILE... DIRECTORY: modes set at random, well-formed or not, by attribute
 * and by ioctl, from several threads, on files of a mount, beside reads, writes and flushes of the
 * same files. Every result must be one that cachefs.h allows. Prints "calls=N refused=N"; exit
 * status 1 and one line for what is not allowed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "cachefs.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define THREADS 6

static char **paths;
static unsigned n_paths;
static time_t end;
static atomic_ulong calls, refused;
static atomic_int bad;

struct chance {
	uint64_t state;
};

static uint32_t chance(struct chance *c, uint32_t below)
{
	c->state = c->state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(c->state >> 33) % below;
}

/* RET as of a system call; the error must be in ALLOWED, which a 0 ends. */
static void check(const char *what, const char *path, long ret, const int *allowed)
{
	int err = errno;

	atomic_fetch_add(&calls, 1);
	if (ret >= 0)
		return;
	atomic_fetch_add(&refused, 1);
	for (; *allowed; allowed++)
		if (err == *allowed)
			return;
	if (!atomic_exchange(&bad, 1)) /* the first one says it all */
		fprintf(stderr, "ctlstorm: %s: %s: %s (errno %d) is no error of it\n", path, what,
			strerror(err), err);
}

static const char *const texts[] = {
    "writeback",
    "writethrough",
    "none",
    "directsync",
    "unsafe",
    "cache.direct=on",
    "none,cache.no-flush=on",
    "cache.writeback=off,cache.no-flush=on",
    "unsafe cache.direct=on",
};

/* A mode, or one with a byte changed, cut short, or repeated. Its length. */
static size_t value(struct chance *c, char *buf, size_t room)
{
	const char *text = texts[chance(c, ARRAY_SIZE(texts))];
	size_t len = strlen(text), n;

	memcpy(buf, text, len);
	switch (chance(c, 6)) {
	case 0:
		buf[chance(c, (uint32_t)len)] = (char)chance(c, 256);
		break;
	case 1:
		len = chance(c, (uint32_t)len + 1);
		break;
	case 2:
		for (n = len; n + len < room && chance(c, 20); n += len)
			memcpy(buf + n, buf, len);
		len = n;
		break;
	}
	return len;
}

static void attributes(struct chance *c, const char *path)
{
	static const int on_get[] = {ENODATA, ERANGE, EOPNOTSUPP, 0};
	static const int on_set[] = {EINVAL, EBUSY, EEXIST, ENODATA, EOPNOTSUPP, 0};
	const char *name = chance(c, 2) ? CACHEFS_XATTR_NOW : CACHEFS_XATTR_STORED;
	char buf[8192];
	size_t len;

	switch (chance(c, 4)) {
	case 0:
		check("getxattr", path, getxattr(path, name, buf, chance(c, 100)), on_get);
		break;
	case 1:
		check("removexattr", path, removexattr(path, name), on_set);
		break;
	default:
		len = value(c, buf, sizeof(buf));
		check("setxattr", path, setxattr(path, name, buf, len, (int)chance(c, 4)), on_set);
	}
}

static void check_shown(const char *path, const struct cachefs_mode *m)
{
	if (m->switches < 8 && m->origin <= CACHEFS_ORIGIN_RUNTIME && m->pending <= 1 &&
	    (!(m->switches & CACHEFS_NO_FLUSH) || m->switches & CACHEFS_WRITEBACK))
		return;
	fprintf(stderr, "ctlstorm: %s: CACHEFS_IOC_MODE shows switches %u, origin %u\n", path,
		m->switches, m->origin);
	atomic_store(&bad, 1);
}

static void mode(struct chance *c, int fd, const char *path)
{
	static const int errors[] = {EINVAL, EBUSY, EOPNOTSUPP, 0};
	struct cachefs_mode m = {.flags = chance(c, 16), .switches = chance(c, 9)};
	int ret;

	if (!chance(c, 20))
		m.reserved[chance(c, 4)] = 1;
	if (!chance(c, 20))
		m.flags = chance(c, UINT32_MAX);
	ret = ioctl(fd, CACHEFS_IOC_MODE, &m);
	check("CACHEFS_IOC_MODE", path, ret, errors);
	if (!ret)
		check_shown(path, &m);
}

/* Numbers of ours with any direction and size, over arguments of chance. */
static void rubbish(struct chance *c, int fd, const char *path)
{
	static const int errors[] = {EINVAL, EBUSY, EOPNOTSUPP, ENOTTY, EBADF, EFAULT, 0};
	static const unsigned long known[] = {CACHEFS_IOC_INFO,	   CACHEFS_IOC_FLUSH,
					      CACHEFS_IOC_MODE,	   CACHEFS_IOC_STATUS,
					      CACHEFS_IOC_HANDOFF, CACHEFS_IOC_REMOUNT};
	static _Thread_local char buf[1 << 15];
	unsigned long cmd = known[chance(c, ARRAY_SIZE(known))];
	void *arg = chance(c, 20) ? buf : NULL;

	for (size_t i = 0; i < sizeof(buf); i += 1 + chance(c, 64))
		buf[i] = (char)chance(c, 256);
	if (!chance(c, 3))
		cmd = _IOC(chance(c, 4), CACHEFS_IOC_MAGIC, chance(c, 256), chance(c, 16384));
	if (cmd == CACHEFS_IOC_REMOUNT)
		buf[0] = '!'; /* no option begins so */
	check("an ioctl of chance", path, ioctl(fd, cmd, arg), errors);
}

static void io(struct chance *c, int fd, const char *path)
{
	static const int errors[] = {EISDIR, EBADF, 0};
	char buf[5000] = {0};
	off_t off = (off_t)chance(c, 60000);

	switch (chance(c, 3)) {
	case 0:
		check("pwrite", path, pwrite(fd, buf, chance(c, sizeof(buf)), off), errors);
		break;
	case 1:
		check("pread", path, pread(fd, buf, chance(c, sizeof(buf)), off), errors);
		break;
	case 2:
		check("fdatasync", path, fdatasync(fd), errors);
	}
}

static void *storm(void *arg)
{
	static const int flags[] = {0, 0, O_DIRECT, O_APPEND, O_DSYNC};
	struct chance c = {(uint64_t)(uintptr_t)arg};

	while (time(NULL) < end && !atomic_load(&bad)) {
		const char *path = paths[chance(&c, n_paths)];
		int fd = open(path, O_RDWR | O_CLOEXEC | flags[chance(&c, ARRAY_SIZE(flags))]);

		if (fd < 0)
			fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0) {
			check("open", path, -1, (const int[]){0});
			break;
		}
		for (int i = 0; i < 20; i++) {
			attributes(&c, path);
			mode(&c, fd, path);
			rubbish(&c, fd, path);
			io(&c, fd, path);
		}
		close(fd);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS];
	uint64_t seed;

	if (argc < 4) {
		fprintf(stderr, "usage: ctlstorm SECONDS SEED FILE... DIRECTORY\n");
		return 2;
	}
	end = time(NULL) + atoi(argv[1]);
	seed = strtoull(argv[2], NULL, 0);
	paths = argv + 3;
	n_paths = (unsigned)argc - 3;
	for (uintptr_t i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, storm, (void *)(uintptr_t)(seed * 97 + i)))
			return 1;
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	printf("calls=%lu refused=%lu\n", atomic_load(&calls), atomic_load(&refused));
	return atomic_load(&bad);
}
