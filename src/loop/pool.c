/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "loop/pool.h"

#include <pthread.h>
#include <signal.h>

#include "base/util.h"

/* 32 blocked writers saturate what a queue of a disk takes; metadata rarely waits for long. */
static const unsigned lane_threads[LANES] = {
    [LANE_DATA] = 32, [LANE_FLUSH] = 16, [LANE_META] = 8, [LANE_NOTIFY] = 4, [LANE_WRITEBACK] = 8};

#define KEYS 256    /* files share a counter when their hashes do: a little unfair, never wrong */
#define IDLE_KEEP 4 /* threads of a lane that wait without a time limit */

struct queue {
	struct pool_job *first, **last;
};

struct key {
	unsigned running;
	struct queue waiting;
};

struct lane_state {
	pthread_mutex_t lock; /* everything below; never held while a job runs */
	pthread_cond_t work, gone;
	struct pool *pool;
	enum lane lane;
	unsigned max, cap, threads, idle;
	unsigned nready; /* jobs in `ready` */
	bool stopping;
	struct queue ready; /* every job in it is counted in its key's `running` */
	struct key keys[KEYS];
};

struct pool {
	void (*thread_init)(enum lane lane);
	pthread_mutex_t lock; /* unfinished; taken alone */
	pthread_cond_t finished;
	unsigned long unfinished; /* jobs submitted whose run() has not returned */
	struct lane_state lanes[LANES];
};

static void queue_init(struct queue *q)
{
	q->first = NULL;
	q->last = &q->first;
}

static void queue_push(struct queue *q, struct pool_job *job)
{
	job->next = NULL;
	*q->last = job;
	q->last = &job->next;
}

static struct pool_job *queue_pop(struct queue *q)
{
	struct pool_job *job = q->first;

	if (job) {
		q->first = job->next;
		if (!q->first)
			q->last = &q->first;
	}
	return job;
}

static struct key *key_of(struct lane_state *l, uint64_t key)
{
	return &l->keys[(key * 0x9e3779b97f4a7c15ULL) >> 56];
}

/* Called when a job of K has ended: the next waiting one takes its place. */
static void key_release(struct lane_state *l, struct key *k)
{
	struct pool_job *job = queue_pop(&k->waiting);

	if (job) {
		queue_push(&l->ready, job);
		l->nready++;
	} else {
		k->running--;
	}
}

static void job_submitted(struct pool *p)
{
	pthread_mutex_lock(&p->lock);
	p->unfinished++;
	pthread_mutex_unlock(&p->lock);
}

static void job_finished(struct pool *p)
{
	pthread_mutex_lock(&p->lock);
	if (--p->unfinished == 0)
		pthread_cond_broadcast(&p->finished);
	pthread_mutex_unlock(&p->lock);
}

static void lane_serve(struct lane_state *l)
{
	struct pool_job *job;

	while ((job = queue_pop(&l->ready))) {
		struct key *k = key_of(l, job->key);

		l->nready--;
		pthread_mutex_unlock(&l->lock);
		job->run(job); /* JOB may be gone now */
		job_finished(l->pool);
		pthread_mutex_lock(&l->lock);
		key_release(l, k);
	}
}

/* False when this thread has been idle for so long that it should end. */
static bool lane_wait(struct lane_state *l)
{
	struct timespec until;
	int err = 0;

	l->idle++;
	if (l->threads <= IDLE_KEEP) {
		pthread_cond_wait(&l->work, &l->lock);
	} else {
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += 10;
		err = pthread_cond_timedwait(&l->work, &l->lock, &until);
	}
	l->idle--;
	return err != ETIMEDOUT || l->ready.first;
}

static void *lane_thread(void *arg)
{
	struct lane_state *l = arg;

	if (l->pool->thread_init)
		l->pool->thread_init(l->lane);
	pthread_mutex_lock(&l->lock);
	do {
		lane_serve(l);
	} while (!l->stopping && lane_wait(l));
	lane_serve(l);
	l->threads--;
	pthread_cond_broadcast(&l->gone);
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

/* With L->lock held. The first thread of each lane is made at creation, so one always exists. */
static int lane_grow(struct lane_state *l)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, old;
	int err;

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 1024 * 1024);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	err = pthread_create(&thread, &attr, lane_thread, l);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (!err)
		l->threads++;
	return -err;
}

static int lane_init(struct lane_state *l, struct pool *p, enum lane lane)
{
	int err;

	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->work, NULL);
	pthread_cond_init(&l->gone, NULL);
	l->pool = p;
	l->lane = lane;
	l->max = lane_threads[lane];
	l->cap = l->max * 3 / 4;
	queue_init(&l->ready);
	for (unsigned i = 0; i < KEYS; i++)
		queue_init(&l->keys[i].waiting);
	pthread_mutex_lock(&l->lock);
	err = lane_grow(l);
	pthread_mutex_unlock(&l->lock);
	return err;
}

int pool_create(struct pool **out, void (*thread_init)(enum lane lane))
{
	struct pool *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->thread_init = thread_init;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->finished, NULL);
	for (int i = 0; i < LANES; i++) {
		int err = lane_init(&p->lanes[i], p, (enum lane)i);

		if (err) {
			pool_destroy(p);
			return err;
		}
	}
	*out = p;
	return 0;
}

void pool_destroy(struct pool *p)
{
	if (!p)
		return;
	/* a job of one lane may submit to another: no lane ends before all are without work */
	pthread_mutex_lock(&p->lock);
	while (p->unfinished)
		pthread_cond_wait(&p->finished, &p->lock);
	pthread_mutex_unlock(&p->lock);
	for (int i = 0; i < LANES; i++) {
		struct lane_state *l = &p->lanes[i];

		if (!l->pool)
			continue;
		pthread_mutex_lock(&l->lock);
		l->stopping = true;
		pthread_cond_broadcast(&l->work);
		while (l->threads)
			pthread_cond_wait(&l->gone, &l->lock);
		pthread_mutex_unlock(&l->lock);
	}
	free(p);
}

bool pool_idle(struct pool *p)
{
	bool idle;

	pthread_mutex_lock(&p->lock);
	idle = !p->unfinished;
	pthread_mutex_unlock(&p->lock);
	return idle;
}

void pool_submit(struct pool *p, struct pool_job *job)
{
	struct lane_state *l = &p->lanes[job->lane];
	struct key *k = key_of(l, job->key);

	job_submitted(p);
	pthread_mutex_lock(&l->lock);
	if (k->running >= l->cap) {
		queue_push(&k->waiting, job);
	} else {
		k->running++;
		queue_push(&l->ready, job);
		/* an idle thread stays counted until it runs: one that was signalled for an earlier
		 * job is not there for this one */
		if (++l->nready > l->idle && l->threads < l->max)
			lane_grow(l);
		if (l->idle)
			pthread_cond_signal(&l->work);
	}
	pthread_mutex_unlock(&l->lock);
}
