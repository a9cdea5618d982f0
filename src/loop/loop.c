/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "loop/loop.h"

#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/log.h"
#include "base/util.h"

#define RING_ENTRIES 256
#define WAKE_SIGNAL SIGUSR2 /* interrupts a blocking receive() when the group is told to stop */
#define KICK_SIGNAL SIGURG  /* makes one begin anew, and disturbs no other system call */

struct loop {
	struct loop_group *group;
	struct loop_source source;
	struct io_uring ring;
	struct ring_op poll;
	pthread_t thread;
	unsigned index;
	atomic_uint
	    inflight; /* file I/O in the ring, the poll not counted; only its thread writes */
	bool have_ring, poll_armed, ended;
};

struct loop_group {
	pthread_mutex_t lock; /* running */
	pthread_cond_t changed;
	unsigned n, running, started;
	atomic_uint blocked; /* loops that run blocking work themselves; at most n - 1 */
	atomic_bool stop;
	bool ring;
	struct loop loops[];
};

unsigned loop_index(const struct loop *l)
{
	return l->index;
}

/*
 * DEFER_TASKRUN (Linux 6.1): completions wait for our own call into the ring, so that none of them
 * interrupts the blocking read of the source.
 */
static int ring_init(struct io_uring *ring)
{
	struct io_uring_params p = {.flags = IORING_SETUP_SINGLE_ISSUER |
					     IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
				    .cq_entries = 4 * RING_ENTRIES};

	return io_uring_queue_init_params(RING_ENTRIES, ring, &p);
}

int loop_ring_probe(void)
{
	struct io_uring ring;
	int err = ring_init(&ring);

	if (!err)
		io_uring_queue_exit(&ring);
	return err;
}

static struct io_uring_sqe *sqe_get(struct loop *l)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&l->ring);

	if (!sqe) {
		io_uring_submit(&l->ring);
		sqe = io_uring_get_sqe(&l->ring);
	}
	return sqe;
}

/* No read-modify-write is needed of who alone writes it. */
static void inflight_add(struct loop *l, int n)
{
	unsigned now = atomic_load_explicit(&l->inflight, memory_order_relaxed);

	atomic_store_explicit(&l->inflight, now + (unsigned)n, memory_order_relaxed);
}

struct io_uring_sqe *loop_sqe(struct loop *l, struct ring_op *op)
{
	struct io_uring_sqe *sqe = l->have_ring ? sqe_get(l) : NULL;

	if (sqe) {
		io_uring_sqe_set_data(sqe, op);
		inflight_add(l, 1);
	}
	return sqe;
}

static void poll_done(struct ring_op *op, int result)
{
	(void)result; /* an error shows itself in receive() */
	container_of(op, struct loop, poll)->poll_armed = false;
}

/*
 * EPOLLEXCLUSIVE: one request wakes one loop. One-shot and armed anew before each sleep, so an
 * awake loop never swallows a wake-up that a sleeping one could answer for long.
 */
static void poll_arm(struct loop *l)
{
	struct io_uring_sqe *sqe;

	if (l->poll_armed)
		return;
	sqe = sqe_get(l);
	if (!sqe)
		return;
	io_uring_prep_poll_add(sqe, l->source.poll_fd, POLLIN | EPOLLEXCLUSIVE);
	io_uring_sqe_set_data(sqe, &l->poll);
	l->poll_armed = true;
}

static void ring_reap(struct loop *l)
{
	struct io_uring_cqe *cqe;

	while (io_uring_peek_cqe(&l->ring, &cqe) == 0) {
		struct ring_op *op = io_uring_cqe_get_data(cqe);
		int result = cqe->res;

		io_uring_cqe_seen(&l->ring, cqe);
		if (op != &l->poll)
			inflight_add(l, -1);
		op->done(op, result);
	}
}

/* Anything but the end passes (ENOMEM, say): then again a little later. */
static bool source_ended(int err)
{
	if (!err || err == -EAGAIN || err == -EINTR)
		return false;
	if (err == -ENODEV || err == -ECONNABORTED || err == -EBADF || err == -ENOTCONN)
		return true;
	log_warn("a request could not be received: %s", strerror(-err));
	usleep(10000);
	return false;
}

/* Takes all requests that wait; true when the source has ended. */
static bool drain(struct loop *l)
{
	int err;

	do {
		err = l->source.receive(l, l->source.arg, false);
	} while (!err);
	return source_ended(err);
}

/* One round in the ring: sleep for a completion or a request, then serve both. */
static bool ring_round(struct loop *l)
{
	poll_arm(l);
	io_uring_submit_and_wait(&l->ring, 1);
	ring_reap(l);
	return !l->poll_armed && drain(l);
}

static void finish_inflight(struct loop *l)
{
	while (l->inflight) {
		io_uring_submit_and_wait(&l->ring, 1);
		ring_reap(l);
	}
}

static void loop_serve(struct loop *l)
{
	bool ended = false;

	while (!ended && !atomic_load_explicit(&l->group->stop, memory_order_relaxed)) {
		if (l->inflight || l->poll_armed)
			ended = ring_round(l);
		else
			ended = source_ended(l->source.receive(l, l->source.arg, true));
	}
	if (l->have_ring)
		finish_inflight(l);
}

static void *loop_thread(void *arg)
{
	struct loop *l = arg;
	struct loop_group *g = l->group;

	if (g->ring) { /* SINGLE_ISSUER: made by the thread that uses it */
		int err = ring_init(&l->ring);

		l->have_ring = !err;
		if (err)
			log_warn("loop %u: io_uring: %s; its file I/O runs on pool threads",
				 l->index, strerror(-err));
	}
	loop_serve(l);
	if (l->have_ring)
		io_uring_queue_exit(&l->ring);
	pthread_mutex_lock(&g->lock);
	l->ended = true;
	g->running--;
	pthread_cond_broadcast(&g->changed);
	pthread_mutex_unlock(&g->lock);
	return NULL;
}

static void wake_handler(int sig)
{
	(void)sig;
}

static int loop_start(struct loop_group *g, unsigned i, struct loop_source source)
{
	struct loop *l = &g->loops[i];
	sigset_t block, old;
	int err;

	*l = (struct loop){.group = g, .index = i, .source = source};
	l->poll.done = poll_done;
	sigfillset(&block);
	sigdelset(&block, WAKE_SIGNAL);
	sigdelset(&block, KICK_SIGNAL);
	/* not SIG_BLOCK: the caller may have blocked all of them, and the thread inherits it */
	pthread_sigmask(SIG_SETMASK, &block, &old);
	pthread_mutex_lock(&g->lock);
	err = pthread_create(&l->thread, NULL, loop_thread, l);
	if (!err) {
		g->started++;
		g->running++;
	}
	pthread_mutex_unlock(&g->lock);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -err;
}

int loop_group_start(struct loop_group **out, unsigned n, bool ring,
		     struct loop_source (*source)(void *arg, unsigned i), void *arg)
{
	struct loop_group *g = calloc(1, sizeof(*g) + n * sizeof(struct loop));
	struct sigaction sa = {.sa_handler = wake_handler}; /* no SA_RESTART: it interrupts */
	struct sigaction kick = {.sa_handler = wake_handler, .sa_flags = SA_RESTART};

	if (!g)
		return -ENOMEM;
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->changed, NULL);
	g->n = n;
	g->ring = ring;
	sigaction(WAKE_SIGNAL, &sa, NULL);
	sigaction(KICK_SIGNAL, &kick, NULL);
	for (unsigned i = 0; i < n; i++) {
		int err = loop_start(g, i, source(arg, i));

		if (err) {
			loop_group_stop(g);
			loop_group_free(g);
			return err;
		}
	}
	*out = g;
	return 0;
}

void loop_group_wait(struct loop_group *g)
{
	pthread_mutex_lock(&g->lock);
	while (g->running)
		pthread_cond_wait(&g->changed, &g->lock);
	pthread_mutex_unlock(&g->lock);
}

/*
 * A signal that arrives between a loop's look at `stop` and its sleep is lost, so it is sent again
 * until the loop has ended. (A loop in its ring is interrupted the same way.)
 */
bool loop_group_stop_within(struct loop_group *g, uint64_t nsec)
{
	uint64_t start = clock_nsec();
	bool ended;

	atomic_store(&g->stop, true);
	pthread_mutex_lock(&g->lock);
	while (g->running && clock_nsec() - start < nsec) {
		struct timespec until;

		for (unsigned i = 0; i < g->started; i++) {
			if (!g->loops[i].ended)
				pthread_kill(g->loops[i].thread, WAKE_SIGNAL);
		}
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += 10 * 1000 * 1000;
		if (until.tv_nsec >= 1000000000L) {
			until.tv_sec++;
			until.tv_nsec -= 1000000000L;
		}
		pthread_cond_timedwait(&g->changed, &g->lock, &until);
	}
	ended = !g->running;
	pthread_mutex_unlock(&g->lock);
	return ended;
}

void loop_group_stop(struct loop_group *g)
{
	loop_group_stop_within(g, UINT64_MAX);
}

void loop_group_free(struct loop_group *g)
{
	if (!g)
		return;
	for (unsigned i = 0; i < g->started; i++)
		pthread_join(g->loops[i].thread, NULL);
	pthread_cond_destroy(&g->changed);
	pthread_mutex_destroy(&g->lock);
	free(g);
}

void loop_group_kick(struct loop_group *g)
{
	pthread_mutex_lock(&g->lock);
	for (unsigned i = 0; i < g->started; i++)
		if (!g->loops[i].ended)
			pthread_kill(g->loops[i].thread, KICK_SIGNAL);
	pthread_mutex_unlock(&g->lock);
}

bool loop_group_idle(struct loop_group *g)
{
	if (atomic_load(&g->blocked))
		return false;
	for (unsigned i = 0; i < g->n; i++)
		if (atomic_load(&g->loops[i].inflight))
			return false;
	return true;
}

bool loop_block_begin(struct loop *l)
{
	struct loop_group *g = l->group;
	unsigned blocked = atomic_load_explicit(&g->blocked, memory_order_relaxed);

	if (l->inflight || l->poll_armed)
		return false;
	do {
		if (blocked + 1 >= g->n)
			return false;
	} while (!atomic_compare_exchange_weak(&g->blocked, &blocked, blocked + 1));
	return true;
}

void loop_block_end(struct loop *l)
{
	atomic_fetch_sub(&l->group->blocked, 1);
}
