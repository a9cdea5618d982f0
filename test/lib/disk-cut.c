/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a power cut leaves: the stable data and a random subset of what was not flushed. */
#define _GNU_SOURCE
#include "disk-store.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* A big discard is torn in so many pieces at most: a system call a sector would take minutes. */
#define DISCARD_PIECES 256

/* Copies one extent of the stable data. */
static int copy_extent(int from, int to, off_t offset, off_t end)
{
	static const size_t room = 1 << 20;
	uint8_t *buf = malloc(room);
	int ret = 0;

	if (!buf)
		return -ENOMEM;
	while (offset < end && ret == 0) {
		size_t want = (uint64_t)(end - offset) < room ? (size_t)(end - offset) : room;
		ssize_t n = pread(from, buf, want, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			ret = -errno;
		else if (n == 0) /* somebody truncated the backing file */
			ret = -EIO;
		else
			ret = store_write_all(to, buf, (uint64_t)n, (uint64_t)offset);
		offset += n;
	}
	free(buf);
	return ret;
}

static int copy_stable(const struct store *store, int to)
{
	off_t size = (off_t)store->size, end = 0;

	if (ftruncate(to, size) < 0)
		return -errno;
	while (end < size) {
		off_t start = lseek(store->fd, end, SEEK_DATA);
		int ret;

		if (start < 0 && errno == ENXIO) /* nothing but a hole up to the end */
			return 0;
		if (start < 0)
			return -errno;
		end = lseek(store->fd, start, SEEK_HOLE);
		if (end < 0)
			return -errno;
		ret = copy_extent(store->fd, to, start, end);
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* Writes what is not dead of so many sectors of the record. */
static int put_live(const struct store *store, int to, const struct record *rec, uint64_t first,
		    uint64_t count)
{
	uint64_t i = first, end = first + count;
	int ret = 0;

	while (i < end && ret == 0) {
		uint64_t run = i;

		while (run < end && store->stable_seq[run] < rec->seq)
			run++;
		if (run > i)
			ret = store_put(to, rec, i, run - i);
		i = run + 1;
	}
	return ret;
}

static bool chance(uint64_t *random, unsigned percent)
{
	return store_random(random) % 100 < percent;
}

/* A torn write: each sector survives or not on its own. */
static int put_torn(const struct store *store, int to, const struct record *rec, unsigned keep,
		    uint64_t *random, struct cut_result *result)
{
	uint64_t piece = rec->zero ? rec->count / DISCARD_PIECES + 1 : 1;
	uint64_t pieces = 0, kept = 0;

	for (uint64_t done = 0; done < rec->count; done += piece, pieces++) {
		uint64_t n = rec->count - done < piece ? rec->count - done : piece;
		int ret;

		if (!chance(random, keep))
			continue;
		kept++;
		ret = put_live(store, to, rec, rec->first + done, n);
		if (ret < 0)
			return ret;
	}
	if (kept == 0)
		result->lost++;
	else if (kept == pieces)
		result->kept++;
	else
		result->torn++;
	return 0;
}

static int by_seq(const void *left, const void *right)
{
	const struct record *const *a = left, *const *b = right;

	return ((*a)->seq > (*b)->seq) - ((*a)->seq < (*b)->seq);
}

/*
 * Writes are played in their order, so a sector gets the last of its versions that survives: any
 * version since the last flush is possible, and what was stable too. One write in four is torn.
 */
static int put_unflushed(const struct store *store, int to, unsigned keep,
			 struct cut_result *result)
{
	uint64_t state = result->seed, random = store_random(&state); /* 1, 2, 3 lie far apart */
	int ret = 0;

	qsort(store->records, store->record_count, sizeof(*store->records), by_seq);
	for (size_t i = 0; i < store->record_count && ret == 0; i++) {
		const struct record *rec = store->records[i];

		if (store_random(&random) % 4 == 0) {
			ret = put_torn(store, to, rec, keep, &random, result);
		} else if (chance(&random, keep)) {
			ret = put_live(store, to, rec, rec->first, rec->count);
			result->kept++;
		} else {
			result->lost++;
		}
	}
	return ret;
}

int store_cut(struct store *store, const char *path, uint64_t seed, unsigned keep,
	      struct cut_result *result)
{
	int to, ret;

	*result = (struct cut_result){.seed = seed};
	to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (to < 0)
		return -errno;
	/* The write lock: sorting moves the records. */
	pthread_rwlock_wrlock(&store->lock);
	ret = copy_stable(store, to);
	if (ret == 0)
		ret = put_unflushed(store, to, keep, result);
	pthread_rwlock_unlock(&store->lock);
	if (close(to) < 0 && ret == 0)
		ret = -errno;
	/* Half an image would look like a disk that lost what it had flushed. */
	if (ret < 0)
		unlink(path);
	return ret;
}
