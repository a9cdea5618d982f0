/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/util.h"
#include "loop/pool.h"
#include "wait.h"

/* What pool.c promises for each lane: its threads, and three quarters of them for a key. */
static struct lane_size {
	enum lane lane;
	unsigned threads, cap;
} lanes[] = {
    {LANE_DATA, 32, 24}, {LANE_FLUSH, 16, 12},	 {LANE_META, 8, 6},
    {LANE_NOTIFY, 4, 3}, {LANE_WRITEBACK, 8, 6},
};

static struct pool *pool;

static void pool_begin(void)
{
	cr_assert_eq(pool_create(&pool, NULL), 0);
}

static void pool_end(void)
{
	pool_destroy(pool);
}

/* A job that tells when it starts, and ends when its gate opens. */
struct gated {
	struct pool_job job;
	sem_t *started, *gate;
	atomic_uint *ended;
};

static void run_gated(struct pool_job *job)
{
	struct gated *g = container_of(job, struct gated, job);

	sem_post(g->started);
	if (g->gate)
		wait_for(g->gate);
	atomic_fetch_add(g->ended, 1);
}

static struct gated gated(enum lane lane, uint64_t key, sem_t *started, sem_t *gate,
			  atomic_uint *ended)
{
	return (struct gated){.job = {.run = run_gated, .key = key, .lane = lane},
			      .started = started,
			      .gate = gate,
			      .ended = ended};
}

Test(pool, runs_every_job_once, .timeout = 300)
{
	enum { JOBS = 4000 };
	struct gated *jobs = calloc(JOBS, sizeof(*jobs));
	atomic_uint ended = 0;
	sem_t started;
	int n;

	sem_init(&started, 0, 0);
	pool_begin();
	for (unsigned i = 0; i < JOBS; i++) {
		jobs[i] = gated((enum lane)(i % LANES), i % 7, &started, NULL, &ended);
		pool_submit(pool, &jobs[i].job);
	}
	pool_end();
	sem_getvalue(&started, &n);
	cr_assert_eq(atomic_load(&ended), JOBS);
	cr_assert_eq(n, JOBS);
	free(jobs);
}

ParameterizedTestParameters(pool, a_key_gets_three_quarters)
{
	return cr_make_param_array(struct lane_size, lanes, ARRAY_SIZE(lanes));
}

/* Another file's job runs although one file's jobs, more than the lane has threads, all block. */
ParameterizedTest(struct lane_size *l, pool, a_key_gets_three_quarters, .timeout = 300)
{
	struct gated jobs[2 * 32], other;
	sem_t started, gate, other_started;
	atomic_uint ended = 0;
	int more;

	sem_init(&started, 0, 0);
	sem_init(&gate, 0, 0);
	sem_init(&other_started, 0, 0);
	pool_begin();
	for (unsigned i = 0; i < 2 * l->threads; i++) {
		jobs[i] = gated(l->lane, 1, &started, &gate, &ended);
		pool_submit(pool, &jobs[i].job);
	}
	for (unsigned i = 0; i < l->cap; i++)
		cr_assert(wait_for(&started), "job %u of lane %d did not start", i, l->lane);
	other = gated(l->lane, 2, &other_started, NULL, &ended);
	pool_submit(pool, &other.job);
	cr_assert(wait_for(&other_started), "another key of lane %d has no thread", l->lane);
	usleep(20000);
	sem_getvalue(&started, &more);
	cr_assert_eq(more, 0, "lane %d: %u jobs of a key run, not %u", l->lane,
		     l->cap + (unsigned)more, l->cap);
	for (unsigned i = 0; i < 2 * l->threads; i++)
		sem_post(&gate);
	pool_end();
	cr_assert_eq(atomic_load(&ended), 2 * l->threads + 1);
}

ParameterizedTestParameters(pool, lanes_are_independent)
{
	return cr_make_param_array(struct lane_size, lanes, ARRAY_SIZE(lanes));
}

/* A lane whose threads all block, and with work waiting, keeps no other lane from running. */
ParameterizedTest(struct lane_size *l, pool, lanes_are_independent, .timeout = 300)
{
	struct gated jobs[2 * 32], others[LANES];
	sem_t started, gate, other_started;
	atomic_uint ended = 0;
	int more;

	sem_init(&started, 0, 0);
	sem_init(&gate, 0, 0);
	sem_init(&other_started, 0, 0);
	pool_begin();
	for (unsigned i = 0; i < 2 * l->threads; i++) {
		jobs[i] = gated(l->lane, i, &started, &gate, &ended);
		pool_submit(pool, &jobs[i].job);
	}
	for (unsigned i = 0; i < l->threads; i++)
		cr_assert(wait_for(&started), "lane %d has %u threads only", l->lane, i);
	for (int i = 0; i < LANES; i++) {
		if ((enum lane)i == l->lane)
			continue;
		others[i] = gated((enum lane)i, 1, &other_started, NULL, &ended);
		pool_submit(pool, &others[i].job);
		cr_assert(wait_for(&other_started), "lane %d waits for lane %d", i, l->lane);
	}
	sem_getvalue(&started, &more);
	cr_assert_eq(more, 0, "lane %d has more than %u threads", l->lane, l->threads);
	for (unsigned i = 0; i < 2 * l->threads; i++)
		sem_post(&gate);
	pool_end();
}

/*
 * Two jobs in a row for a lane with one idle thread: the second must not count on the thread that
 * was woken for the first, or it waits until the first ends, which may wait for the second.
 */
Test(pool, two_jobs_for_one_idle_thread_run_at_once, .timeout = 300)
{
	for (int round = 0; round < 100; round++) {
		struct gated first, pair[2];
		sem_t started, gate;
		atomic_uint ended = 0;

		sem_init(&started, 0, 0);
		sem_init(&gate, 0, 0);
		pool_begin();
		first = gated(LANE_FLUSH, 0, &started, NULL, &ended);
		pool_submit(pool, &first.job);
		cr_assert(wait_for(&started));
		usleep(500); /* it is idle now, or will be: right either way */
		for (int i = 0; i < 2; i++) {
			pair[i] = gated(LANE_FLUSH, (uint64_t)i, &started, &gate, &ended);
			pool_submit(pool, &pair[i].job);
		}
		for (int i = 0; i < 2; i++)
			cr_assert(wait_for(&started), "round %d: job %d waits", round, i);
		sem_post(&gate);
		sem_post(&gate);
		pool_end();
		cr_assert_eq(atomic_load(&ended), 3);
	}
}

/* A job that submits itself to the next lane, so often. */
struct hop {
	struct pool_job job;
	unsigned left;
	atomic_uint *hops;
};

static void run_hop(struct pool_job *job)
{
	struct hop *h = container_of(job, struct hop, job);

	usleep(100); /* so that pool_destroy() finds the other lanes idle */
	atomic_fetch_add(h->hops, 1);
	if (!h->left--)
		return;
	h->job.lane = (enum lane)((h->job.lane + 1) % LANES);
	pool_submit(pool, &h->job);
}

Test(pool, destroy_runs_what_jobs_submit_to_other_lanes, .timeout = 300)
{
	enum { CHAINS = 8, HOPS = 200 };
	struct hop hops[CHAINS];
	atomic_uint count = 0;

	pool_begin();
	for (unsigned i = 0; i < CHAINS; i++) {
		hops[i] =
		    (struct hop){.job = {.run = run_hop, .key = i, .lane = (enum lane)(i % LANES)},
				 .left = HOPS - 1,
				 .hops = &count};
		pool_submit(pool, &hops[i].job);
	}
	pool_end();
	cr_assert_eq(atomic_load(&count), CHAINS * HOPS);
}

static _Thread_local int lane_of_thread = -1;
static atomic_uint wrong_lane;

static void note_lane(enum lane lane)
{
	lane_of_thread = (int)lane;
}

static void check_lane(struct pool_job *job)
{
	if (lane_of_thread != (int)job->lane)
		atomic_fetch_add(&wrong_lane, 1);
	free(job);
}

/* Threads of a lane are set up for it before their first job, and run no other lane's. */
Test(pool, threads_are_set_up_for_their_lane, .timeout = 300)
{
	cr_assert_eq(pool_create(&pool, note_lane), 0);
	for (unsigned i = 0; i < 2000; i++) {
		struct pool_job *job = malloc(sizeof(*job)); /* freed by its own run() */

		*job =
		    (struct pool_job){.run = check_lane, .key = i, .lane = (enum lane)(i % LANES)};
		pool_submit(pool, job);
	}
	pool_end();
	cr_assert_eq(atomic_load(&wrong_lane), 0);
}

Test(pool, destroy_of_none)
{
	pool_destroy(NULL);
}
