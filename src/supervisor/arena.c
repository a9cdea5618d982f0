/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "supervisor/arena.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "base/util.h"
#include "supervisor/arena_internal.h"

#define WORDS (ARENA_CHUNK / 64)

/* A chunk's free slots; private, rebuilt from the records' states by a new process. */
struct chunk {
	uint64_t free[WORDS];
	uint32_t nfree;
	uint32_t next; /* in the stack; 0 ends it (chunk number + 1) */
	bool stacked;  /* in the stack of chunks with free slots; may have none after a claim */
};

struct arena {
	struct arena_memory *memory; /* borrowed */
	pthread_mutex_t lock;	     /* chunks, partial, touched, used; never held across I/O */
	char *privates;
	size_t private_size;
	uint32_t nchunks;
	uint32_t partial; /* chunk number + 1 of the first chunk in the stack */
	uint32_t touched; /* chunks ever put to use; the rest is entirely free */
	uint32_t used;
	struct chunk chunks[];
};

static int map_privates(struct arena *a)
{
	size_t size = (size_t)a->memory->count * a->private_size;

	a->privates = mmap(NULL, size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (a->privates != MAP_FAILED)
		return 0;
	a->privates = NULL;
	return -errno;
}

void arena_destroy(struct arena *a)
{
	if (!a)
		return;
	if (a->privates)
		munmap(a->privates, (size_t)a->memory->count * a->private_size);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

void *arena_record(struct arena *a, uint32_t index)
{
	return arena_memory_record(a->memory, index);
}

void *arena_private(struct arena *a, uint32_t index)
{
	if (!a->privates || index >= a->memory->count)
		return NULL;
	return a->privates + (size_t)index * a->private_size;
}

static void chunk_push(struct arena *a, uint32_t c)
{
	if (a->chunks[c].stacked)
		return;
	a->chunks[c].stacked = true;
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

/* The first chunk of the stack that has a free slot, or NULL. */
static struct chunk *chunk_find(struct arena *a)
{
	while (a->partial) {
		struct chunk *ch = &a->chunks[a->partial - 1];

		if (ch->nfree)
			return ch;
		ch->stacked = false;
		a->partial = ch->next;
	}
	return NULL;
}

/* False: it is taken already. */
static bool slot_take(struct arena *a, uint32_t index)
{
	struct chunk *ch = &a->chunks[index / ARENA_CHUNK];
	uint64_t *word = &ch->free[index % ARENA_CHUNK / 64], bit = 1ULL << (index % 64);

	if (!(*word & bit))
		return false;
	*word &= ~bit;
	ch->nfree--;
	a->used++;
	return true;
}

static uint32_t slot_find(struct arena *a)
{
	const struct chunk *ch = chunk_find(a);
	uint32_t w = 0;

	if (!ch && chunk_touch(a))
		ch = chunk_find(a);
	if (!ch)
		return 0;
	while (!ch->free[w])
		w++;
	return (uint32_t)(ch - a->chunks) * ARENA_CHUNK + w * 64 +
	       (uint32_t)__builtin_ctzll(ch->free[w]);
}

uint32_t arena_alloc(struct arena *a)
{
	uint32_t index;

	pthread_mutex_lock(&a->lock);
	index = slot_find(a);
	if (index)
		slot_take(a, index);
	pthread_mutex_unlock(&a->lock);
	if (index) {
		memset(arena_record(a, index), 0, a->memory->record_size);
		if (a->privates)
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
	} parts[] = {{a->memory->records, a->memory->record_size, MADV_REMOVE},
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
	ch->nfree++;
	chunk_push(a, c);
	if (ch->nfree == ARENA_CHUNK)
		chunk_release(a, c);
	pthread_mutex_unlock(&a->lock);
}

bool arena_claim(struct arena *a, uint32_t index)
{
	bool free = index && index < a->memory->count;

	pthread_mutex_lock(&a->lock);
	while (free && a->touched <= index / ARENA_CHUNK)
		chunk_touch(a);
	free = free && slot_take(a, index);
	pthread_mutex_unlock(&a->lock);
	return free;
}

uint32_t arena_used(struct arena *a)
{
	pthread_mutex_lock(&a->lock);
	uint32_t used = a->used;

	pthread_mutex_unlock(&a->lock);
	return used;
}

/* The first index from START on that is not free in its chunk. */
static uint32_t used_from(const struct arena *a, uint32_t start)
{
	const struct chunk *ch = &a->chunks[start / ARENA_CHUNK];
	uint32_t w = start % ARENA_CHUNK / 64;
	uint64_t used = ~ch->free[w] & ~0ULL << (start % 64);

	while (!used && ++w < WORDS)
		used = ~ch->free[w];
	return (uint32_t)(start & ~(ARENA_CHUNK - 1u)) + w * 64 +
	       (used ? (uint32_t)__builtin_ctzll(used) : 0);
}

uint32_t arena_next(struct arena *a, uint32_t index)
{
	uint32_t end, found = 0;

	pthread_mutex_lock(&a->lock);
	end = a->touched * ARENA_CHUNK;
	for (uint32_t i = index + 1; i < end && !found;) {
		uint32_t next = used_from(a, i);

		if (next / ARENA_CHUNK == i / ARENA_CHUNK)
			found = next;
		i = next;
	}
	pthread_mutex_unlock(&a->lock);
	return found;
}

/* ---- life ---- */

struct finding {
	struct arena *arena;
	bool (*in_use)(void *record);
};

static void find_used(void *arg, uint32_t index, void *record)
{
	const struct finding *f = arg;

	if (f->in_use(record))
		arena_claim(f->arena, index);
}

int arena_create(struct arena_memory *memory, size_t private_size, bool (*in_use)(void *record),
		 struct arena **out)
{
	uint32_t nchunks = memory->count / ARENA_CHUNK;
	struct arena *a = calloc(1, sizeof(*a) + nchunks * sizeof(struct chunk));
	int err;

	if (!a)
		return -ENOMEM;
	a->memory = memory;
	a->nchunks = nchunks;
	a->private_size = private_size;
	pthread_mutex_init(&a->lock, NULL);
	err = private_size ? map_privates(a) : 0;
	if (err) {
		arena_destroy(a);
		return err;
	}
	if (in_use)
		arena_memory_each(memory, find_used, &(struct finding){a, in_use});
	*out = a;
	return 0;
}
