/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "supervisor/journal.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <uthash.h>

#include "base/util.h"

#define MAGIC 0x31796c6e72756f6aULL /* "journly1" */
#define STRIPES 16
#define SLOTS (JOURNAL_ENTRIES / STRIPES)
#define PATIENCE 10000000000ULL
#define WAIT_NSEC 100000000L /* between two looks whether what was left can go */

/* In place of an entry, in front of them. */
struct head {
	uint64_t magic;
	uint32_t entries, entry_size;
	/* of each stripe, those in front of it have been in use: the rest needs no look, nor memory
	 */
	atomic_uint touched[STRIPES];
};

struct memory {
	union {
		struct head head;
		struct journal_entry space;
	};
	struct journal_entry entries[JOURNAL_ENTRIES];
};

/* A thread takes from one of its own, so threads do not wait for one another. */
struct stripe {
	_Alignas(64) pthread_mutex_t lock; /* what follows, and head.touched of the stripe */
	uint32_t nfree;
	uint16_t free[SLOTS]; /* those that have been in use */
};

struct left {
	UT_hash_handle hh;
	uint64_t unique;
	struct journal_entry *entry;
};

struct journal {
	struct stripe stripes[STRIPES];
	struct memory *memory;
	int fd;
	pthread_mutex_t left_lock; /* left, patience, fresh_since; before a stripe's */
	struct left *left;
	atomic_uint nleft;
	uint64_t patience, fresh_since; /* nanoseconds; 0: only resent requests came yet */
	pthread_mutex_t wait_lock;
	pthread_cond_t freed;
	atomic_uint waiting;
};

static int journal_map(struct journal *j)
{
	void *p = mmap(NULL, sizeof(struct memory), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_NORESERVE, j->fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	j->memory = p;
	return 0;
}

/* Takes FD over when it succeeds. */
static int journal_new(int fd, struct journal **out)
{
	struct journal *j = aligned_alloc(64, sizeof(*j));
	int err;

	if (!j)
		return -ENOMEM;
	memset(j, 0, sizeof(*j));
	j->fd = fd;
	j->patience = PATIENCE;
	err = journal_map(j);
	if (err) {
		free(j);
		return err;
	}
	for (int i = 0; i < STRIPES; i++)
		pthread_mutex_init(&j->stripes[i].lock, NULL);
	pthread_mutex_init(&j->left_lock, NULL);
	pthread_mutex_init(&j->wait_lock, NULL);
	pthread_cond_init(&j->freed, NULL);
	*out = j;
	return 0;
}

int journal_create(struct journal **out)
{
	_cleanup_fd_ int fd = memfd_create("cachefs-journal", MFD_CLOEXEC);
	int err;

	if (fd < 0 || ftruncate(fd, sizeof(struct memory)) < 0)
		return -errno;
	err = journal_new(fd, out);
	if (err)
		return err;
	steal_fd(&fd);
	(*out)->memory->head.magic = MAGIC;
	(*out)->memory->head.entries = JOURNAL_ENTRIES;
	(*out)->memory->head.entry_size = sizeof(struct journal_entry);
	return 0;
}

static bool is_journal(const struct head *h)
{
	if (h->magic != MAGIC || h->entries != JOURNAL_ENTRIES ||
	    h->entry_size != sizeof(struct journal_entry))
		return false;
	for (int i = 0; i < STRIPES; i++)
		if (atomic_load(&h->touched[i]) > SLOTS)
			return false;
	return true;
}

int journal_adopt(int fd, struct journal **out)
{
	struct journal *j;
	struct stat st;
	int err;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size != sizeof(struct memory))
		return -EINVAL;
	err = journal_new(fd, &j);
	if (err)
		return err;
	if (!is_journal(&j->memory->head)) {
		j->fd = -1;
		journal_destroy(j);
		return -EINVAL;
	}
	*out = j;
	return 0;
}

static void left_free(struct journal *j)
{
	struct left *l, *tmp;

	HASH_ITER (hh, j->left, l, tmp) {
		HASH_DEL(j->left, l);
		free(l);
	}
	atomic_store(&j->nleft, 0);
}

void journal_destroy(struct journal *j)
{
	if (!j)
		return;
	left_free(j);
	munmap(j->memory, sizeof(struct memory));
	cleanup_fd(&j->fd);
	for (int i = 0; i < STRIPES; i++)
		pthread_mutex_destroy(&j->stripes[i].lock);
	pthread_mutex_destroy(&j->left_lock);
	pthread_mutex_destroy(&j->wait_lock);
	pthread_cond_destroy(&j->freed);
	free(j);
}

int journal_memfd(const struct journal *j)
{
	return j->fd;
}

static struct journal_entry *entry_at(struct journal *j, unsigned stripe, uint32_t slot)
{
	return &j->memory->entries[stripe * SLOTS + slot];
}

/* ---- what a dead worker left ---- */

static int left_add(struct journal *j, struct journal_entry *e, uint64_t unique)
{
	struct left *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->unique = unique;
	l->entry = e;
	HASH_ADD(hh, j->left, unique, sizeof(l->unique), l);
	atomic_fetch_add(&j->nleft, 1);
	return 0;
}

int journal_resume(struct journal *j)
{
	int err = 0;

	left_free(j);
	j->fresh_since = 0;
	for (unsigned i = 0; !err && i < STRIPES; i++) {
		struct stripe *s = &j->stripes[i];
		unsigned touched = atomic_load(&j->memory->head.touched[i]);

		s->nfree = 0;
		/* from the end: the first ones are taken first */
		for (unsigned slot = touched; !err && slot-- > 0;) {
			struct journal_entry *e = entry_at(j, i, slot);
			uint64_t unique = atomic_load(&e->unique);

			if (unique)
				err = left_add(j, e, unique);
			else
				s->free[s->nfree++] = (uint16_t)slot;
		}
	}
	return err;
}

struct journal_entry *journal_find(struct journal *j, uint64_t unique)
{
	struct journal_entry *e = NULL;
	struct left *l;

	pthread_mutex_lock(&j->left_lock);
	HASH_FIND(hh, j->left, &unique, sizeof(unique), l);
	if (l) {
		e = l->entry;
		HASH_DEL(j->left, l);
		atomic_fetch_sub(&j->nleft, 1);
		free(l);
	}
	pthread_mutex_unlock(&j->left_lock);
	return e;
}

/* A request that is not resent has come. */
static void left_expire(struct journal *j)
{
	uint64_t now = clock_nsec();
	struct left *l, *tmp;

	pthread_mutex_lock(&j->left_lock);
	if (!j->fresh_since)
		j->fresh_since = now;
	if (now - j->fresh_since >= j->patience) {
		HASH_ITER (hh, j->left, l, tmp)
			journal_release(j, l->entry);
		left_free(j);
	}
	pthread_mutex_unlock(&j->left_lock);
}

unsigned journal_left(struct journal *j)
{
	return atomic_load(&j->nleft);
}

void journal_set_patience(struct journal *j, uint64_t nsec)
{
	j->patience = nsec;
}

/* ---- taking and giving back ---- */

/* Those of threads are spread evenly. */
static unsigned own_stripe(void)
{
	static atomic_uint threads;
	static _Thread_local unsigned own;

	if (!own)
		own = 1 + atomic_fetch_add(&threads, 1) % STRIPES;
	return own - 1;
}

static struct journal_entry *stripe_take(struct journal *j, unsigned i)
{
	atomic_uint *touched = &j->memory->head.touched[i];
	struct stripe *s = &j->stripes[i];
	struct journal_entry *e = NULL;
	unsigned fresh;

	pthread_mutex_lock(&s->lock);
	fresh = atomic_load_explicit(touched, memory_order_relaxed);
	if (s->nfree) {
		e = entry_at(j, i, s->free[--s->nfree]);
	} else if (fresh < SLOTS) {
		e = entry_at(j, i, fresh);
		/* before the entry is published: where nobody looks, nobody finds it */
		atomic_store_explicit(touched, fresh + 1, memory_order_release);
	}
	pthread_mutex_unlock(&s->lock);
	return e;
}

static struct journal_entry *any_stripe_take(struct journal *j)
{
	unsigned own = own_stripe();
	struct journal_entry *e = NULL;

	for (unsigned i = 0; !e && i < STRIPES; i++)
		e = stripe_take(j, (own + i) % STRIPES);
	return e;
}

/* Until an entry is released, or what was left has been waited for long enough. */
static struct journal_entry *wait_take(struct journal *j, bool resent)
{
	struct journal_entry *e;
	struct timespec until;

	pthread_mutex_lock(&j->wait_lock);
	atomic_fetch_add(&j->waiting, 1);
	while (!(e = any_stripe_take(j))) {
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += WAIT_NSEC;
		until.tv_sec += until.tv_nsec / 1000000000L;
		until.tv_nsec %= 1000000000L;
		pthread_cond_timedwait(&j->freed, &j->wait_lock, &until);
		pthread_mutex_unlock(&j->wait_lock);
		if (!resent && atomic_load(&j->nleft))
			left_expire(j); /* takes the lock when it wakes us */
		pthread_mutex_lock(&j->wait_lock);
	}
	atomic_fetch_sub(&j->waiting, 1);
	pthread_mutex_unlock(&j->wait_lock);
	return e;
}

struct journal_entry *journal_take(struct journal *j, uint64_t unique, uint32_t opcode, bool resent)
{
	struct journal_entry *e;

	if (!resent && atomic_load_explicit(&j->nleft, memory_order_relaxed))
		left_expire(j);
	e = any_stripe_take(j);
	if (!e)
		e = wait_take(j, resent);
	e->opcode = opcode;
	atomic_store_explicit(&e->state, JOURNAL_TAKEN, memory_order_relaxed);
	atomic_store_explicit(&e->counted, 0, memory_order_relaxed);
	atomic_store_explicit(&e->unique, unique, memory_order_release);
	return e;
}

void journal_release(struct journal *j, struct journal_entry *e)
{
	unsigned n = (unsigned)(e - j->memory->entries);
	struct stripe *s = &j->stripes[n / SLOTS];

	atomic_store_explicit(&e->unique, 0, memory_order_release);
	pthread_mutex_lock(&s->lock);
	s->free[s->nfree++] = (uint16_t)(n % SLOTS);
	pthread_mutex_unlock(&s->lock);
	atomic_thread_fence(memory_order_seq_cst); /* free first, then: does anybody wait? */
	if (atomic_load_explicit(&j->waiting, memory_order_relaxed)) {
		pthread_mutex_lock(&j->wait_lock);
		pthread_cond_broadcast(&j->freed);
		pthread_mutex_unlock(&j->wait_lock);
	}
}
