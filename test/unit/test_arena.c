/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/util.h"
#include "supervisor/arena.h"

#define RECORD 72
#define PRIVATE 40

static struct arena_memory *memory;

static struct arena *make(uint32_t count)
{
	struct arena *a;

	cr_assert_eq(arena_memory_create("cachefs-test", count, RECORD, &memory), 0);
	cr_assert_eq(arena_create(memory, PRIVATE, NULL, &a), 0);
	return a;
}

static void unmake(struct arena *a)
{
	arena_destroy(a);
	arena_memory_destroy(memory);
}

static bool zeroed(const void *p, size_t size)
{
	const char *c = p;

	for (size_t i = 0; i < size; i++) {
		if (c[i])
			return false;
	}
	return true;
}

Test(arena, every_index_once_until_none_is_left)
{
	uint32_t count = 3 * ARENA_CHUNK, index;
	struct arena *a = make(count);
	bool *seen = calloc(count, sizeof(*seen));

	for (uint32_t i = 1; i < count; i++) { /* 0 means none */
		index = arena_alloc(a);
		cr_assert(index >= 1 && index < count, "%u", index);
		cr_assert_not(seen[index], "%u was given twice", index);
		seen[index] = true;
	}
	cr_assert_eq(arena_used(a), count - 1);
	cr_assert_eq(arena_alloc(a), 0);
	cr_assert_eq(arena_used(a), count - 1);
	arena_free(a, 1234);
	cr_assert_eq(arena_alloc(a), 1234, "the only free one");
	cr_assert_eq(arena_alloc(a), 0);
	for (uint32_t i = 1; i < count; i++)
		arena_free(a, i);
	cr_assert_eq(arena_used(a), 0);
	cr_assert_neq(arena_alloc(a), 0);
	free(seen);
	unmake(a);
}

Test(arena, records_have_their_own_memory)
{
	struct arena *a = make(2 * ARENA_CHUNK);
	uint32_t n = 2 * ARENA_CHUNK;

	for (uint32_t i = 1; i < n; i++) {
		uint32_t index = arena_alloc(a);

		memset(arena_record(a, index), (int)(index % 251), RECORD);
		memset(arena_private(a, index), (int)(index % 241), PRIVATE);
	}
	for (uint32_t i = 1; i < n; i++) {
		const uint8_t *r = arena_record(a, i), *p = arena_private(a, i);

		cr_assert(r[0] == i % 251 && r[RECORD - 1] == i % 251, "record %u", i);
		cr_assert(p[0] == i % 241 && p[PRIVATE - 1] == i % 241, "private part %u", i);
	}
	unmake(a);
}

Test(arena, out_of_range)
{
	struct arena *a = make(10); /* whole chunks */

	cr_assert_not_null(arena_record(a, ARENA_CHUNK - 1));
	cr_assert_null(arena_record(a, ARENA_CHUNK));
	cr_assert_null(arena_private(a, ARENA_CHUNK));
	cr_assert_null(arena_record(a, UINT32_MAX));
	cr_assert_null(arena_private(a, UINT32_MAX));
	unmake(a);
	arena_destroy(NULL);
	arena_memory_destroy(NULL);
}

/* What a record was before shows in no later one, be its chunk in use or fresh. */
Test(arena, zeroed)
{
	struct arena *a = make(4 * ARENA_CHUNK);
	uint32_t n = 3 * ARENA_CHUNK;

	for (int round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < n; i++) {
			uint32_t index = arena_alloc(a);

			cr_assert(zeroed(arena_record(a, index), RECORD), "%u", index);
			cr_assert(zeroed(arena_private(a, index), PRIVATE), "%u", index);
			memset(arena_record(a, index), 0xa5, RECORD);
			memset(arena_private(a, index), 0x5a, PRIVATE);
			if (round == 1 && i % 2) /* half of each chunk */
				arena_free(a, index);
		}
		for (uint32_t i = 1; round != 1 && i <= n; i++)
			arena_free(a, i);
		if (round == 1) {
			unmake(a);
			a = make(4 * ARENA_CHUNK);
		}
	}
	unmake(a);
}

static size_t resident(void *start, size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = size / page, n = 0;
	unsigned char *map = malloc(pages);

	cr_assert_eq(mincore(start, pages * page, map), 0);
	for (size_t i = 0; i < pages; i++)
		n += map[i] & 1;
	free(map);
	return n;
}

/* Chunks without records give their memory back; index 0 keeps the first one, and no more. */
Test(arena, memory_of_empty_chunks_is_given_back)
{
	const uint32_t chunks = 32, count = chunks * ARENA_CHUNK;
	struct arena *a = make(count);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *records = arena_record(a, 0), *privates = arena_private(a, 0);
	size_t chunk = (size_t)ARENA_CHUNK * RECORD / page;
	size_t private_chunk = (size_t)ARENA_CHUNK * PRIVATE / page;
	uint32_t keep = 5 * ARENA_CHUNK + 17;

	cr_assert_eq(resident(records, (size_t)count * RECORD), 0, "nothing is used yet");
	for (uint32_t i = 1; i < count; i++) {
		uint32_t index = arena_alloc(a);

		memset(arena_record(a, index), 1, RECORD);
		memset(arena_private(a, index), 1, PRIVATE);
	}
	cr_assert_eq(resident(records, (size_t)count * RECORD), chunks * chunk);
	cr_assert_eq(resident(privates, (size_t)count * PRIVATE), chunks * private_chunk);
	for (uint32_t i = 1; i < count; i++) {
		if (i != keep)
			arena_free(a, i);
	}
	/* two chunks are left, and a page at each end of a run at most */
	cr_assert_leq(resident(records, (size_t)count * RECORD), 2 * chunk + 4);
	cr_assert_leq(resident(privates, (size_t)count * PRIVATE), 2 * private_chunk + 4);
	cr_assert_eq(*(char *)arena_record(a, keep), 1, "the record that is left");
	cr_assert_eq(*(char *)arena_private(a, keep), 1);
	unmake(a);
}

/* ---- one process after another ---- */

/* The first byte of a record says so. */
static bool in_use(void *record)
{
	return *(const char *)record;
}

static void use(struct arena *a, uint32_t index)
{
	char *r = arena_record(a, index);

	r[0] = 1;
	memcpy(r + 8, &index, sizeof(index));
}

/* What is in use is found, with its contents and only once; all else can be had. */
Test(arena, found_again)
{
	const uint32_t count = 4 * ARENA_CHUNK, third = 3 * ARENA_CHUNK;
	struct arena *a = make(count);
	uint32_t used = 0, seen = 0;

	for (uint32_t i = 1; i < third; i++) /* the fourth chunk is never touched */
		arena_alloc(a);
	for (uint32_t i = 1; i < third; i++) {
		if (i % 7 == 0 || i == third - 1)
			use(a, i);
		/* else as after a kill between arena_alloc() and the record's publication */
	}
	memset(arena_private(a, 7), 1, PRIVATE);
	arena_destroy(a);
	cr_assert_eq(arena_create(memory, PRIVATE, in_use, &a), 0);
	for (uint32_t i = arena_next(a, 0); i; i = arena_next(a, i)) {
		uint32_t stored;

		memcpy(&stored, (char *)arena_record(a, i) + 8, sizeof(stored));
		cr_assert_eq(stored, i);
		cr_assert(i % 7 == 0 || i == third - 1, "%u", i);
		used++;
	}
	cr_assert_eq(used, (third - 1) / 7 + 1);
	cr_assert_eq(arena_used(a), used);
	cr_assert(zeroed(arena_private(a, 7), PRIVATE));
	for (uint32_t index; (index = arena_alloc(a)); seen++) {
		cr_assert(index % 7 != 0 || index > third, "%u was in use", index);
		cr_assert_neq(index, third - 1);
		cr_assert(zeroed(arena_record(a, index), RECORD));
	}
	cr_assert_eq(seen, count - 1 - used);
	unmake(a);
}

/* Only what has memory is looked at, however far apart. */
static void count_one(void *arg, uint32_t index, void *record)
{
	uint32_t *n = arg;

	cr_assert_eq(record, arena_memory_record(memory, index));
	(*n)++;
}

Test(arena, holes_are_not_looked_at)
{
	struct arena *a = make(1 << 24);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint32_t looked = 0, n = 64 * ARENA_CHUNK;

	arena_memory_each(memory, count_one, &looked);
	cr_assert_eq(looked, 0);
	for (uint32_t i = 1; i < n; i++)
		arena_alloc(a);
	for (uint32_t i = 1; i < n - 1; i++)
		arena_free(a, i);
	arena_memory_each(memory, count_one, &looked);
	/* the first and the last chunk, and a page at each end of what was given back */
	cr_assert_leq(looked, 2 * ARENA_CHUNK + 4 * (page / RECORD + 2), "%u", looked);
	cr_assert_geq(looked, 2 * ARENA_CHUNK - 1);
	unmake(a);
}

Test(arena, next)
{
	static const uint32_t in[] = {1, 2, 63, 64, 65, 1023, 1024, 3071};
	struct arena *a = make(4 * ARENA_CHUNK);
	uint32_t i = 0;

	cr_assert_eq(arena_next(a, 0), 0);
	for (size_t k = 0; k < ARRAY_SIZE(in); k++)
		cr_assert(arena_claim(a, in[k]), "%u", in[k]);
	for (size_t k = 0; k < ARRAY_SIZE(in); k++) {
		i = arena_next(a, i);
		cr_assert_eq(i, in[k], "%u", i);
	}
	cr_assert_eq(arena_next(a, i), 0);
	cr_assert_eq(arena_next(a, UINT32_MAX - 1), 0);
	unmake(a);
}

Test(arena, claims)
{
	struct arena *a = make(2 * ARENA_CHUNK);
	uint32_t n = 2 * ARENA_CHUNK, got = 0;

	cr_assert_not(arena_claim(a, 0));
	cr_assert_not(arena_claim(a, n));
	for (uint32_t i = 1; i < ARENA_CHUNK; i++) /* a chunk that is full by claims alone */
		cr_assert(arena_claim(a, i));
	cr_assert_not(arena_claim(a, 5));
	arena_free(a, 5);
	arena_free(a, 6);
	cr_assert(arena_claim(a, 5));
	while (arena_alloc(a))
		got++;
	cr_assert_eq(got, ARENA_CHUNK + 1);
	cr_assert_eq(arena_used(a), n - 1);
	unmake(a);
}

Test(arena, adopted)
{
	struct arena *a = make(ARENA_CHUNK), *b;
	struct arena_memory *other;
	uint32_t index = arena_alloc(a);
	int fd = dup(arena_memory_fd(memory));

	use(a, index);
	cr_assert_eq(arena_memory_adopt(fd, RECORD + 8, &other), -EPROTO);
	cr_assert_eq(arena_memory_adopt(fd, RECORD, &other), 0);
	cr_assert_neq(arena_memory_record(other, index), arena_record(a, index));
	cr_assert_eq(arena_create(other, PRIVATE, in_use, &b), 0);
	cr_assert_eq(arena_used(b), 1);
	cr_assert_eq(arena_next(b, 0), index);
	arena_destroy(b);
	arena_memory_destroy(other);
	cr_assert_lt(fcntl(fd, F_GETFD), 0, "it was taken over");
	/* not one at all, or cut short */
	fd = memfd_create("cachefs-test", 0);
	cr_assert_eq(arena_memory_adopt(fd, RECORD, &other), -EPROTO);
	close(fd);
	fd = dup(arena_memory_fd(memory));
	cr_assert_eq(ftruncate(fd, 8192), 0);
	cr_assert_eq(arena_memory_adopt(fd, RECORD, &other), -EPROTO);
	close(fd);
	unmake(a);
}

/* ---- many threads ---- */

#define THREADS 8
#define HELD 200
#define ROUNDS 20000

static struct arena *shared;
static atomic_uint wrong;

struct mark {
	uint64_t thread, round;
};

static void *churn(void *arg)
{
	uint64_t self = (uintptr_t)arg;
	unsigned seed = (unsigned)self;
	uint32_t held[HELD] = {0};
	uint64_t marks[HELD] = {0};

	for (uint64_t i = 1; i <= ROUNDS; i++) {
		unsigned slot = (unsigned)rand_r(&seed) % HELD;
		struct mark *m;

		if (held[slot]) {
			m = arena_record(shared, held[slot]);
			if (m->thread != self || m->round != marks[slot])
				atomic_fetch_add(&wrong, 1);
			arena_free(shared, held[slot]);
			held[slot] = 0;
			continue;
		}
		held[slot] = arena_alloc(shared);
		m = arena_record(shared, held[slot]);
		if (!held[slot] || !zeroed(m, RECORD) ||
		    !zeroed(arena_private(shared, held[slot]), PRIVATE))
			atomic_fetch_add(&wrong, 1);
		*m = (struct mark){self, i};
		memcpy(arena_private(shared, held[slot]), m, sizeof(*m));
		marks[slot] = i;
	}
	for (unsigned i = 0; i < HELD; i++) {
		if (held[i])
			arena_free(shared, held[i]);
	}
	return NULL;
}

Test(arena, many_threads, .timeout = 300)
{
	pthread_t threads[THREADS];

	shared = make(4 * ARENA_CHUNK);
	for (uintptr_t i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	cr_assert_eq(atomic_load(&wrong), 0);
	cr_assert_eq(arena_used(shared), 0);
	unmake(shared);
}
