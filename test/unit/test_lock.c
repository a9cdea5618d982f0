/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/util.h"
#include "fs/lock.h"

/* The header's words, not the table of lock.c. */
static bool conflict(enum claim_kind a, enum claim_kind b)
{
	if (a == CLAIM_GATE || b == CLAIM_GATE)
		return true;
	if (a == CLAIM_READ || b == CLAIM_READ)
		return false;
	return a == CLAIM_RMW || b == CLAIM_RMW; /* two plain writes do not */
}

static struct iolock lock;

/* A claim that counts its resumes, and remembers when it came to own its range. */
struct counted {
	struct claim claim;
	int resumed, order;
};
static int order;

static void count_resume(struct claim *c)
{
	struct counted *n = container_of(c, struct counted, claim);

	n->resumed++;
	n->order = ++order;
}

static struct counted counted(enum claim_kind kind, uint64_t start, uint64_t end)
{
	return (struct counted){
	    .claim = {.kind = kind, .start = start, .end = end, .resume = count_resume}};
}

static void begin(void)
{
	iolock_init(&lock);
	order = 0;
}

static void end(void)
{
	cr_assert_null(lock.owned);
	cr_assert_null(lock.queued);
	for (int k = 0; k < CLAIM_KINDS; k++)
		cr_assert_eq(lock.busy[k], 0);
	iolock_destroy(&lock);
}

TestSuite(lock, .init = begin, .fini = end);

/* Ranges that touch, meet in one byte, contain or equal each other. */
static const struct {
	uint64_t start, end;
	bool overlap; /* with [100, 200) */
} ranges[] = {
    {0, 100, false},  {200, 300, false}, {300, UINT64_MAX, false}, {0, 101, true},
    {199, 300, true}, {100, 200, true},	 {150, 151, true},	   {0, UINT64_MAX, true},
};

Test(lock, matrix)
{
	for (int a = 0; a < CLAIM_KINDS; a++) {
		for (int b = 0; b < CLAIM_KINDS; b++) {
			for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
				struct counted x = counted((enum claim_kind)a, 100, 200);
				struct counted y =
				    counted((enum claim_kind)b, ranges[i].start, ranges[i].end);
				bool waits = ranges[i].overlap &&
					     conflict((enum claim_kind)a, (enum claim_kind)b);

				cr_assert(iolock_acquire(&lock, &x.claim));
				cr_assert_eq(iolock_acquire(&lock, &y.claim), !waits,
					     "kind %d owned, kind %d asked, range %zu", a, b, i);
				iolock_release(&lock, &x.claim);
				cr_assert_eq(y.resumed, waits);
				cr_assert_eq(x.resumed, 0, "a claim owned at once is not resumed");
				iolock_release(&lock, &y.claim);
			}
		}
	}
}

/* A reader that comes after a gate that waits does not overtake it: the gate would starve. */
Test(lock, order_of_arrival)
{
	struct counted first = counted(CLAIM_READ, 0, 10), gate = counted(CLAIM_GATE, 0, 1000);
	struct counted late = counted(CLAIM_READ, 5, 6), write = counted(CLAIM_WRITE, 500, 501);

	cr_assert(iolock_acquire(&lock, &first.claim));
	cr_assert_not(iolock_acquire(&lock, &gate.claim));
	cr_assert_not(iolock_acquire(&lock, &late.claim));
	cr_assert_not(iolock_acquire(&lock, &write.claim));
	iolock_release(&lock, &first.claim);
	cr_assert_eq(gate.resumed, 1);
	cr_assert_eq(late.resumed + write.resumed, 0);
	iolock_release(&lock, &gate.claim);
	cr_assert_eq(late.resumed, 1);
	cr_assert_eq(write.resumed, 1);
	cr_assert_lt(late.order, write.order);
	iolock_release(&lock, &late.claim);
	iolock_release(&lock, &write.claim);
	cr_assert_eq(gate.resumed + late.resumed + write.resumed, 3, "each is resumed once");
}

/* Claims that become free together but conflict with each other: one after the other. */
Test(lock, released_together)
{
	struct counted gate = counted(CLAIM_GATE, 0, 100);
	struct counted rmw[3] = {counted(CLAIM_RMW, 0, 10), counted(CLAIM_RMW, 5, 20),
				 counted(CLAIM_RMW, 15, 30)};

	cr_assert(iolock_acquire(&lock, &gate.claim));
	for (int i = 0; i < 3; i++)
		cr_assert_not(iolock_acquire(&lock, &rmw[i].claim));
	iolock_release(&lock, &gate.claim);
	cr_assert_eq(rmw[0].resumed, 1);
	cr_assert_eq(rmw[1].resumed, 0);
	cr_assert_eq(rmw[2].resumed, 0, "it waits for the second, which came before it");
	iolock_release(&lock, &rmw[0].claim);
	cr_assert_eq(rmw[1].resumed, 1);
	cr_assert_eq(rmw[2].resumed, 0);
	iolock_release(&lock, &rmw[1].claim);
	cr_assert_eq(rmw[2].resumed, 1);
	iolock_release(&lock, &rmw[2].claim);
}

/* What does not overlap a claim that waits is not held up by it. */
Test(lock, elsewhere_is_free)
{
	struct counted a = counted(CLAIM_RMW, 0, 10), b = counted(CLAIM_RMW, 0, 10);
	struct counted c = counted(CLAIM_RMW, 10, 20);

	cr_assert(iolock_acquire(&lock, &a.claim));
	cr_assert_not(iolock_acquire(&lock, &b.claim));
	cr_assert(iolock_acquire(&lock, &c.claim));
	iolock_release(&lock, &a.claim);
	iolock_release(&lock, &b.claim);
	iolock_release(&lock, &c.claim);
}

static atomic_int waiter_state; /* 1: about to wait, 2: owns */

static void *waiter(void *arg)
{
	struct claim c = {.kind = CLAIM_GATE, .start = 0, .end = UINT64_MAX};

	(void)arg;
	atomic_store(&waiter_state, 1);
	iolock_acquire_wait(&lock, &c);
	atomic_store(&waiter_state, 2);
	iolock_release(&lock, &c);
	return NULL;
}

Test(lock, acquire_wait, .timeout = 300)
{
	struct counted a = counted(CLAIM_WRITE, 0, 10);
	pthread_t thread;

	cr_assert(iolock_acquire(&lock, &a.claim));
	cr_assert_eq(pthread_create(&thread, NULL, waiter, NULL), 0);
	while (atomic_load(&waiter_state) != 1)
		usleep(1000);
	usleep(20000);
	cr_assert_eq(atomic_load(&waiter_state), 1, "it owns what another still has");
	iolock_release(&lock, &a.claim);
	pthread_join(thread, NULL);
	cr_assert_eq(atomic_load(&waiter_state), 2);
}

/* ---- many threads: who owns what is written down block by block ---- */

#define BLOCKS 16
#define THREADS 8
#define ROUNDS 5000

static pthread_mutex_t book = PTHREAD_MUTEX_INITIALIZER;
static unsigned owners[BLOCKS][CLAIM_KINDS];
static atomic_uint violations, resumes, queued;

struct slept {
	struct claim claim;
	sem_t owned;
};

static void wake(struct claim *c)
{
	atomic_fetch_add(&resumes, 1);
	sem_post(&container_of(c, struct slept, claim)->owned);
}

static void enter(const struct claim *c)
{
	pthread_mutex_lock(&book);
	for (uint64_t b = c->start; b < c->end; b++) {
		for (int k = 0; k < CLAIM_KINDS; k++) {
			if (owners[b][k] && conflict(c->kind, (enum claim_kind)k))
				atomic_fetch_add(&violations, 1);
		}
		owners[b][c->kind]++;
	}
	pthread_mutex_unlock(&book);
}

static void leave(const struct claim *c)
{
	pthread_mutex_lock(&book);
	for (uint64_t b = c->start; b < c->end; b++)
		owners[b][c->kind]--;
	pthread_mutex_unlock(&book);
}

static void *storm(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;

	for (int i = 0; i < ROUNDS; i++) {
		struct slept s = {.claim = {.resume = wake}};
		unsigned r = (unsigned)rand_r(&seed);

		/* gates are rare, as they are in life: with many of them all is serial */
		s.claim.kind = r % 16 == 0 ? CLAIM_GATE : (enum claim_kind)(r % 3);
		s.claim.start = (r >> 8) % BLOCKS;
		s.claim.end = s.claim.start + 1 + (r >> 16) % (BLOCKS - s.claim.start);
		sem_init(&s.owned, 0, 0);
		if (r >> 28 & 1) {
			iolock_acquire_wait(&lock, &s.claim);
		} else if (!iolock_acquire(&lock, &s.claim)) {
			atomic_fetch_add(&queued, 1);
			while (sem_wait(&s.owned) < 0)
				;
		}
		enter(&s.claim);
		if (r >> 27 & 1)
			sched_yield();
		leave(&s.claim);
		iolock_release(&lock, &s.claim);
		sem_destroy(&s.owned);
	}
	return NULL;
}

Test(lock, never_two_conflicting_owners, .timeout = 300)
{
	struct counted all = counted(CLAIM_GATE, 0, BLOCKS);
	pthread_t threads[THREADS];

	/* however they are scheduled, some of them wait: for this one, at the start */
	cr_assert(iolock_acquire(&lock, &all.claim));
	for (uintptr_t i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, storm, (void *)(i + 1)), 0);
	while (!atomic_load(&queued))
		usleep(1000);
	iolock_release(&lock, &all.claim);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	cr_assert_eq(atomic_load(&violations), 0);
	cr_assert_eq(atomic_load(&resumes), atomic_load(&queued), "each that was queued, once");
	cr_assert_gt(atomic_load(&queued), 0, "the test has to make claims wait");
}
