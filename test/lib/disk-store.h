/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The inside of the store, for disk-store.c and disk-cut.c only.
 *
 * Every unflushed write is kept as a record of its own, with a sequence number, so that any version
 * of a sector written since the last flush can be what a power cut leaves. Two sparse arrays have
 * an entry a sector: newest[] is the record that a read sees (NULL: the stable data), stable_seq[]
 * the sequence number of the version that is stable. A record's sector is dead, and must never
 * become stable, if stable_seq[] is greater: so records may be destaged in any order.
 */
#ifndef DISK_STORE_H
#define DISK_STORE_H

#include "disk.h"
#include <pthread.h>

struct record {
	uint64_t seq;
	uint64_t first, count; /* sectors */
	bool zero;	       /* a discard: no data */
	uint8_t data[];
};

struct store {
	uint64_t size, cache_size; /* bytes; fixed */
	int fd;			   /* the stable data, a memfd or the backing file */
	pthread_rwlock_t lock;	   /* all below, and the contents of fd */
	struct record **newest;	   /* mmap, an entry a sector */
	uint64_t *stable_seq;	   /* mmap, an entry a sector */
	struct record **records;   /* owned, in no order */
	size_t record_count, record_room;
	uint64_t seq;
	uint64_t random; /* state of the order of destaging; fixed seed */
	uint64_t cached_bytes, destaged_writes, flushed_bytes;
};

/* splitmix64: the next pseudo-random number of the sequence in *state. */
uint64_t store_random(uint64_t *state);
int store_write_all(int fd, const uint8_t *buf, uint64_t length, uint64_t offset);
/* Writes sectors of a record to fd; all of it or an error. */
int store_put(int fd, const struct record *rec, uint64_t first, uint64_t count);

#endif
