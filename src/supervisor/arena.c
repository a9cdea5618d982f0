/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "supervisor/arena.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "base/util.h"

#define WORDS (ARENA_CHUNK / 64)

/* A chunk's free slots; private, rebuilt from the records' states by a new process. */
struct chunk {
	uint64_t free[WORDS];
	uint32_t nfree;
	uint32_t next; /* in the stack of chunks with free slots; 0 ends it (chunk number + 1) */
};

struct arena {
	pthread_mutex_t lock; /* chunks, partial, touched, used; never held across I/O */
	char *records, *privates;
	size_t record_size, private_size;
	uint32_t count, nchunks;
	uint32_t partial; /* chunk number + 1 of the first chunk with free slots */
	uint32_t touched; /* chunks ever put to use; the rest is entirely free */
	uint32_t used;
	int fd;
	struct chunk chunks[];
};

static char *map_private(size_t size)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		    -1, 0);
}

static int arena_map(struct arena *a, const char *name)
{
	size_t size = (size_t)a->count * a->record_size;
	size_t private_size = (size_t)a->count * a->private_size;

	a->fd = memfd_create(name, MFD_CLOEXEC);
	if (a->fd < 0 || ftruncate(a->fd, (off_t)size) < 0)
		return -errno;
	a->records = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, a->fd, 0);
	if (a->records == MAP_FAILED) {
		a->records = NULL;
		return -errno;
	}
	a->privates = map_private(private_size);
	if (a->privates == MAP_FAILED) {
		a->privates = NULL;
		return -errno;
	}
	return 0;
}

int arena_create(const char *name, uint32_t count, size_t record_size, size_t private_size,
		 struct arena **out)
{
	uint32_t nchunks = (count + ARENA_CHUNK - 1) / ARENA_CHUNK;
	struct arena *a = calloc(1, sizeof(*a) + nchunks * sizeof(struct chunk));
	int err;

	if (!a)
		return -ENOMEM;
	a->count = nchunks * ARENA_CHUNK;
	a->nchunks = nchunks;
	a->record_size = record_size;
	a->private_size = private_size;
	a->fd = -1;
	pthread_mutex_init(&a->lock, NULL);
	err = arena_map(a, name);
	if (err) {
		arena_destroy(a);
		return err;
	}
	*out = a;
	return 0;
}

void arena_destroy(struct arena *a)
{
	if (!a)
		return;
	if (a->records)
		munmap(a->records, (size_t)a->count * a->record_size);
	if (a->privates)
		munmap(a->privates, (size_t)a->count * a->private_size);
	cleanup_fd(&a->fd);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

void *arena_record(struct arena *a, uint32_t index)
{
	return index < a->count ? a->records + (size_t)index * a->record_size : NULL;
}

void *arena_private(struct arena *a, uint32_t index)
{
	return index < a->count ? a->privates + (size_t)index * a->private_size : NULL;
}

static void chunk_push(struct arena *a, uint32_t c)
{
	a->chunks[c].next = a->partial;
	a->partial = c + 1;
}

/* Makes a fresh chunk available; false when there is none left. */
static bool chunk_touch(struct arena *a)
{
	uint32_t c = a->touched;

	if (c == a->nchunks)
		return false;
	memset(a->chunks[c].free, 0xff, sizeof(a->chunks[c].free));
	a->chunks[c].nfree = ARENA_CHUNK;
	if (c == 0) { /* index 0 means "none" */
		a->chunks[c].free[0] &= ~1ULL;
		a->chunks[c].nfree--;
	}
	a->touched++;
	chunk_push(a, c);
	return true;
}

static uint32_t slot_take(struct arena *a)
{
	uint32_t c = a->partial - 1;
	struct chunk *ch = &a->chunks[c];

	for (uint32_t w = 0; w < WORDS; w++) {
		if (!ch->free[w])
			continue;
		uint32_t bit = (uint32_t)__builtin_ctzll(ch->free[w]);

		ch->free[w] &= ch->free[w] - 1;
		if (--ch->nfree == 0)
			a->partial = ch->next;
		a->used++;
		return c * ARENA_CHUNK + w * 64 + bit;
	}
	return 0;
}

uint32_t arena_alloc(struct arena *a)
{
	uint32_t index = 0;

	pthread_mutex_lock(&a->lock);
	if (a->partial || chunk_touch(a))
		index = slot_take(a);
	pthread_mutex_unlock(&a->lock);
	if (index) {
		memset(arena_record(a, index), 0, a->record_size);
		memset(arena_private(a, index), 0, a->private_size);
	}
	return index;
}

/*
 * Only whole pages inside the chunk are given back, so a neighbour's record is never touched.
 * Under the lock: nobody can be handed a slot of this chunk meanwhile; both calls only unmap.
 */
static void chunk_release(struct arena *a, uint32_t c)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct {
		char *base;
		size_t size;
		int advice;
	} parts[] = {{a->records, a->record_size, MADV_REMOVE},
		     {a->privates, a->private_size, MADV_DONTNEED}};

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		size_t start = align_up((size_t)c * ARENA_CHUNK * parts[i].size, page);
		size_t end = align_down((size_t)(c + 1) * ARENA_CHUNK * parts[i].size, page);

		if (end > start)
			madvise(parts[i].base + start, end - start, parts[i].advice);
	}
}

void arena_free(struct arena *a, uint32_t index)
{
	uint32_t c = index / ARENA_CHUNK, slot = index % ARENA_CHUNK;
	struct chunk *ch = &a->chunks[c];

	pthread_mutex_lock(&a->lock);
	ch->free[slot / 64] |= 1ULL << (slot % 64);
	a->used--;
	if (ch->nfree++ == 0)
		chunk_push(a, c);
	if (ch->nfree == ARENA_CHUNK)
		chunk_release(a, c);
	pthread_mutex_unlock(&a->lock);
}

uint32_t arena_used(struct arena *a)
{
	pthread_mutex_lock(&a->lock);
	uint32_t used = a->used;

	pthread_mutex_unlock(&a->lock);
	return used;
}
