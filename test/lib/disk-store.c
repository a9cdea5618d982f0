/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The volatile write cache and the stable data below it. See disk-store.h for the idea. */
#define _GNU_SOURCE
#include "disk-store.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

uint64_t store_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

int store_write_all(int fd, const uint8_t *buf, uint64_t length, uint64_t offset)
{
	while (length > 0) {
		ssize_t n = pwrite(fd, buf, length, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		buf += n;
		offset += (uint64_t)n;
		length -= (uint64_t)n;
	}
	return 0;
}

static int write_zeroes(int fd, uint64_t length, uint64_t offset)
{
	static const uint8_t zeroes[64 << 10];

	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
		      (off_t)length) == 0)
		return 0;
	if (errno != EOPNOTSUPP)
		return -errno;
	while (length > 0) {
		uint64_t n = length < sizeof(zeroes) ? length : sizeof(zeroes);
		int ret = store_write_all(fd, zeroes, n, offset);

		if (ret < 0)
			return ret;
		offset += n;
		length -= n;
	}
	return 0;
}

int store_put(int fd, const struct record *rec, uint64_t first, uint64_t count)
{
	uint64_t offset = first * DISK_SECTOR, length = count * DISK_SECTOR;

	if (rec->zero)
		return write_zeroes(fd, length, offset);
	return store_write_all(fd, rec->data + (first - rec->first) * DISK_SECTOR, length, offset);
}

static int read_stable(int fd, uint8_t *buf, uint64_t length, uint64_t offset)
{
	while (length > 0) {
		ssize_t n = pread(fd, buf, length, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0) /* somebody truncated the backing file */
			return -EIO;
		buf += n;
		offset += (uint64_t)n;
		length -= (uint64_t)n;
	}
	return 0;
}

/* What a record costs of the cache: a discard has no data, but it must not be free either. */
static uint64_t record_cost(const struct record *rec)
{
	return rec->zero ? DISK_SECTOR : rec->count * DISK_SECTOR;
}

/*
 * Makes the sectors of rec stable that no later version is yet. Under the write lock. On error the
 * sectors done are stable and the record stays valid.
 */
static int make_stable(struct store *store, const struct record *rec)
{
	uint64_t i = rec->first, end = rec->first + rec->count;

	while (i < end) {
		uint64_t run = i;
		int ret;

		while (run < end && store->stable_seq[run] < rec->seq)
			run++;
		if (run == i) {
			i++;
			continue;
		}
		ret = store_put(store->fd, rec, i, run - i);
		if (ret < 0)
			return ret;
		for (; i < run; i++) {
			store->stable_seq[i] = rec->seq;
			/* An older version in the cache is dead now; a newer one stays visible. */
			if (store->newest[i] && store->newest[i]->seq <= rec->seq)
				store->newest[i] = NULL;
		}
	}
	return 0;
}

/* Makes the record at the index stable and forgets it. Under the write lock. */
static int destage(struct store *store, size_t index)
{
	struct record *rec = store->records[index];
	int ret = make_stable(store, rec);

	if (ret < 0)
		return ret;
	store->cached_bytes -= record_cost(rec);
	store->records[index] = store->records[--store->record_count];
	free(rec);
	return 0;
}

static int reserve_record(struct store *store)
{
	struct record **records;
	size_t room = store->record_room ? store->record_room * 2 : 1024;

	if (store->record_count < store->record_room)
		return 0;
	records = reallocarray(store->records, room, sizeof(struct record *));
	if (!records)
		return -ENOMEM;
	store->records = records;
	store->record_room = room;
	return 0;
}

/* Takes rec over. Under the write lock. */
static int insert(struct store *store, struct record *rec)
{
	int ret = reserve_record(store);

	if (ret < 0) {
		free(rec);
		return ret;
	}
	for (uint64_t i = rec->first; i < rec->first + rec->count; i++)
		store->newest[i] = rec;
	store->records[store->record_count++] = rec;
	store->cached_bytes += record_cost(rec);
	while (store->cached_bytes > store->cache_size) {
		ret = destage(store, store_random(&store->random) % store->record_count);
		if (ret < 0)
			return ret;
		store->destaged_writes++;
	}
	return 0;
}

int store_write(struct store *store, const void *data, uint64_t offset, uint64_t length, bool fua)
{
	struct record *rec;
	int ret;

	if (offset % DISK_SECTOR || length % DISK_SECTOR || offset > store->size ||
	    length > store->size - offset)
		return -EINVAL;
	if (length == 0)
		return 0;
	rec = malloc(sizeof(*rec) + (data ? length : 0));
	if (!rec)
		return -ENOMEM;
	rec->first = offset / DISK_SECTOR;
	rec->count = length / DISK_SECTOR;
	rec->zero = !data;
	if (data)
		memcpy(rec->data, data, length);

	pthread_rwlock_wrlock(&store->lock);
	rec->seq = ++store->seq;
	if (fua) {
		ret = make_stable(store, rec);
		free(rec);
	} else {
		ret = insert(store, rec);
	}
	pthread_rwlock_unlock(&store->lock);
	return ret;
}

/* Whole sectors that all come from rec (NULL: stable). Under the lock. */
static int read_run(struct store *store, const struct record *rec, uint8_t *buf, uint64_t offset,
		    uint64_t length)
{
	if (!rec)
		return read_stable(store->fd, buf, length, offset);
	if (rec->zero)
		memset(buf, 0, length);
	else
		memcpy(buf, rec->data + (offset - rec->first * DISK_SECTOR), length);
	return 0;
}

int store_read(struct store *store, void *buf, uint64_t offset, uint64_t length)
{
	uint64_t end = offset + length;
	uint8_t *to = buf;
	int ret = 0;

	if (offset > store->size || length > store->size - offset)
		return -EINVAL;
	pthread_rwlock_rdlock(&store->lock);
	while (offset < end && ret == 0) {
		const struct record *rec = store->newest[offset / DISK_SECTOR];
		uint64_t stop = offset - offset % DISK_SECTOR + DISK_SECTOR;

		while (stop < end && store->newest[stop / DISK_SECTOR] == rec)
			stop += DISK_SECTOR;
		if (stop > end)
			stop = end;
		ret = read_run(store, rec, to, offset, stop - offset);
		to += stop - offset;
		offset = stop;
	}
	pthread_rwlock_unlock(&store->lock);
	return ret;
}

int store_flush(struct store *store)
{
	int ret = 0;

	pthread_rwlock_wrlock(&store->lock);
	/* From the end: mostly the newest first, which spares writing versions that are dead. */
	while (store->record_count > 0) {
		uint64_t before = store->cached_bytes;

		ret = destage(store, store->record_count - 1);
		if (ret < 0)
			break;
		store->flushed_bytes += before - store->cached_bytes;
	}
	pthread_rwlock_unlock(&store->lock);
	return ret;
}

void store_get_stats(struct store *store, struct store_stats *stats)
{
	pthread_rwlock_rdlock(&store->lock);
	*stats = (struct store_stats){
	    .size = store->size,
	    .cache_size = store->cache_size,
	    .cached_bytes = store->cached_bytes,
	    .cached_writes = store->record_count,
	    .destaged_writes = store->destaged_writes,
	    .flushed_bytes = store->flushed_bytes,
	};
	pthread_rwlock_unlock(&store->lock);
}

uint64_t store_size(const struct store *store)
{
	return store->size;
}

/* Zero-filled, and of memory only what is touched; NULL on error. */
static void *sparse_array(uint64_t bytes)
{
	void *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return mem == MAP_FAILED ? NULL : mem;
}

static int open_stable(struct store *store, const char *backing)
{
	struct stat st;

	if (backing)
		store->fd = open(backing, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	else
		store->fd = memfd_create("disk", MFD_CLOEXEC);
	if (store->fd < 0 || ftruncate(store->fd, (off_t)store->size) < 0 ||
	    fstat(store->fd, &st) < 0)
		return -errno;
	/* A device or a file of /proc takes the truncation and ignores it. */
	return S_ISREG(st.st_mode) && (uint64_t)st.st_size == store->size ? 0 : -EINVAL;
}

int store_new(struct store **result, uint64_t size, uint64_t cache_size, const char *backing)
{
	pthread_rwlockattr_t attr;
	struct store *store;
	int ret;

	if (size == 0 || size % DISK_SECTOR)
		return -EINVAL;
	store = calloc(1, sizeof(*store));
	if (!store)
		return -ENOMEM;
	store->size = size;
	store->cache_size = cache_size;
	pthread_rwlockattr_init(&attr);
	/* A stream of reads must not starve the writes. */
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&store->lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	ret = open_stable(store, backing);
	if (ret == 0) {
		store->newest = sparse_array(size / DISK_SECTOR * sizeof(*store->newest));
		store->stable_seq = sparse_array(size / DISK_SECTOR * sizeof(*store->stable_seq));
		if (!store->newest || !store->stable_seq)
			ret = -ENOMEM;
	}
	if (ret < 0) {
		store_free(store);
		return ret;
	}
	*result = store;
	return 0;
}

void store_free(struct store *store)
{
	if (!store)
		return;
	for (size_t i = 0; i < store->record_count; i++)
		free(store->records[i]);
	free(store->records);
	if (store->newest)
		munmap(store->newest, store->size / DISK_SECTOR * sizeof(*store->newest));
	if (store->stable_seq)
		munmap(store->stable_seq, store->size / DISK_SECTOR * sizeof(*store->stable_seq));
	if (store->fd >= 0)
		close(store->fd);
	pthread_rwlock_destroy(&store->lock);
	free(store);
}
