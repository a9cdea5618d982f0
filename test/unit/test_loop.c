/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "loop/loop.h"
#include "wait.h"

#define LOOPS 4

/* Criterion's own runner leaks when a test takes some time; its frames have no names. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libcriterion.so";
}

/*
 * The source is a pipe: each byte is one request, and its end the end of the source. One
 * description blocks and one does not, as the two of a loop on /dev/fuse.
 */
static int feed, blocking_fd, polled_fd;
static atomic_uint served[256], by_loop[LOOPS];
static void (*serve)(struct loop *l, char request);

static int receive(struct loop *l, void *arg, bool wait)
{
	char request;
	ssize_t n = read(wait ? blocking_fd : polled_fd, &request, 1);

	(void)arg;
	if (n < 0)
		return -errno;
	if (n == 0)
		return -ENODEV;
	atomic_fetch_add(&by_loop[loop_index(l)], 1);
	if (serve)
		serve(l, request);
	atomic_fetch_add(&served[(unsigned char)request], 1);
	return 0;
}

static struct loop_source source(void *arg, unsigned i)
{
	(void)arg;
	(void)i;
	return (struct loop_source){.receive = receive, .poll_fd = polled_fd};
}

static void pipe_open(void)
{
	char path[32];
	int fds[2];

	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	blocking_fd = fds[0];
	feed = fds[1];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", blocking_fd);
	polled_fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	cr_assert_geq(polled_fd, 0);
}

static void send_requests(const char *requests)
{
	cr_assert_eq(write(feed, requests, strlen(requests)), (ssize_t)strlen(requests));
}

static bool served_within(char request, unsigned n)
{
	for (int i = 0; i < SECONDS * 1000; i++) {
		if (atomic_load(&served[(unsigned char)request]) >= n)
			return true;
		usleep(1000);
	}
	return false;
}

static struct loop_group *start(bool ring, void (*serve_with)(struct loop *l, char request))
{
	struct loop_group *g;

	pipe_open();
	serve = serve_with;
	cr_assert_eq(loop_group_start(&g, LOOPS, ring, source, NULL), 0);
	return g;
}

/* Where io_uring is not permitted, loops are made without it all the same. */
static bool ring_usable(void)
{
	return loop_ring_probe() == 0;
}

static void check_requests_arrive(bool ring)
{
	struct loop_group *g = start(ring, NULL);
	unsigned sum = 0;

	for (int i = 0; i < 1000; i++)
		send_requests("abc");
	cr_assert(served_within('a', 1000));
	cr_assert(served_within('b', 1000));
	cr_assert(served_within('c', 1000));
	close(feed);
	loop_group_wait(g);
	loop_group_free(g);
	for (int i = 0; i < LOOPS; i++)
		sum += atomic_load(&by_loop[i]);
	cr_assert_eq(sum, 3000, "each request is served once");
}

Test(loop, requests_arrive, .timeout = 300)
{
	check_requests_arrive(false);
}

Test(loop, requests_arrive_with_ring, .timeout = 300)
{
	check_requests_arrive(true);
}

/* ---- blocking grants ---- */

static sem_t gate;
static atomic_uint blocked, most_blocked, refused;

static void serve_blocking(struct loop *l, char request)
{
	unsigned now, most;

	if (request != 'b')
		return;
	if (!loop_block_begin(l)) {
		atomic_fetch_add(&refused, 1);
		return;
	}
	now = atomic_fetch_add(&blocked, 1) + 1;
	most = atomic_load(&most_blocked);
	while (now > most && !atomic_compare_exchange_weak(&most_blocked, &most, now))
		;
	wait_for(&gate);
	atomic_fetch_sub(&blocked, 1);
	loop_block_end(l);
}

/* However many want to block, one loop serves on; and what was granted can be granted again. */
static void check_one_stays_free(bool ring)
{
	struct loop_group *g;

	sem_init(&gate, 0, 0);
	g = start(ring, serve_blocking);
	for (unsigned round = 1; round <= 20; round++) {
		send_requests("bbbbbbbbbbbb");
		cr_assert(served_within('b', round * 12 - (LOOPS - 1)), "round %u", round);
		for (int i = 0; i < SECONDS * 1000 && atomic_load(&blocked) < LOOPS - 1; i++)
			usleep(1000);
		cr_assert_eq(atomic_load(&blocked), LOOPS - 1, "all but one may block");
		send_requests("x");
		cr_assert(served_within('x', round), "no loop is free for a request");
		for (int i = 0; i < LOOPS - 1; i++)
			sem_post(&gate);
		cr_assert(served_within('b', round * 12));
	}
	cr_assert_eq(atomic_load(&most_blocked), LOOPS - 1);
	cr_assert_eq(atomic_load(&refused), 20 * (12 - (LOOPS - 1)));
	close(feed);
	loop_group_wait(g);
	loop_group_free(g);
}

Test(loop, one_stays_free, .timeout = 300)
{
	check_one_stays_free(false);
}

Test(loop, one_stays_free_with_ring, .timeout = 300)
{
	check_one_stays_free(true);
}

static atomic_uint granted;

static void serve_alone(struct loop *l, char request)
{
	(void)request;
	if (loop_block_begin(l))
		atomic_fetch_add(&granted, 1);
}

Test(loop, a_single_loop_never_blocks, .timeout = 300)
{
	struct loop_group *g;

	pipe_open();
	serve = serve_alone;
	cr_assert_eq(loop_group_start(&g, 1, false, source, NULL), 0);
	send_requests("abc");
	cr_assert(served_within('c', 1));
	close(feed);
	loop_group_wait(g);
	loop_group_free(g);
	cr_assert_eq(atomic_load(&granted), 0);
}

/* ---- stop ---- */

Test(loop, stop_ends_sleeping_loops, .timeout = 300)
{
	for (int round = 0; round < 40; round++) {
		struct loop_group *g = start(round >= 20, NULL);

		if (round % 2) { /* asleep for certain; else perhaps on their way to it */
			send_requests("a");
			cr_assert(served_within('a', (unsigned)round / 2 + 1));
			usleep(2000);
		}
		loop_group_stop(g);
		loop_group_wait(g); /* returns at once */
		loop_group_free(g);
		cr_assert_eq(write(feed, "z", 1), 1, "the source did not end");
		close(feed);
		close(blocking_fd);
		close(polled_fd);
	}
	cr_assert_eq(atomic_load(&served['z']), 0);
	loop_group_free(NULL);
}

/* ---- the ring ---- */

static int data[2]; /* a pipe for file I/O through the ring */
static atomic_uint reads_done, block_refused;

struct ring_read {
	struct ring_op op;
	struct loop *loop;
	pthread_t thread;
	char byte;
};

static void read_done(struct ring_op *op, int result)
{
	struct ring_read *r = container_of(op, struct ring_read, op);

	if (result == 1 && r->byte == 'd' && pthread_equal(r->thread, pthread_self()))
		atomic_fetch_add(&reads_done, 1);
	free(r);
}

static void serve_ring(struct loop *l, char request)
{
	struct ring_read *r;
	struct io_uring_sqe *sqe;

	if (request != 'r')
		return;
	r = malloc(sizeof(*r));
	*r = (struct ring_read){.op = {read_done}, .loop = l, .thread = pthread_self()};
	sqe = loop_sqe(l, &r->op);
	if (!sqe) {
		free(r);
		return;
	}
	io_uring_prep_read(sqe, data[0], &r->byte, 1, 0);
	if (!loop_block_begin(l))
		atomic_fetch_add(&block_refused, 1);
	else
		loop_block_end(l);
}

static bool reads_within(unsigned n)
{
	for (int i = 0; i < SECONDS * 1000; i++) {
		if (atomic_load(&reads_done) >= n)
			return true;
		usleep(1000);
	}
	return false;
}

static void *feed_late(void *arg)
{
	(void)arg;
	usleep(50000);
	return (void *)(intptr_t)write(data[1], "dddd", 4);
}

/* What is in flight when the loops are stopped is waited for: its memory is in use till then. */
static void stop_with_io_in_flight(struct loop_group *g)
{
	unsigned requests = atomic_load(&served['r']), reads = atomic_load(&reads_done);
	pthread_t thread;
	void *put;

	send_requests("rrrr");
	cr_assert(served_within('r', requests + 4));
	cr_assert_eq(pthread_create(&thread, NULL, feed_late, NULL), 0);
	loop_group_stop(g);
	cr_assert_eq(atomic_load(&reads_done), reads + 4);
	pthread_join(thread, &put);
	cr_assert_eq((intptr_t)put, 4);
}

/* With I/O in flight in all rings, requests arrive still; completions come on their own loop. */
Test(loop, requests_and_completions, .timeout = 300)
{
	struct loop_group *g;

	if (!ring_usable())
		return;
	cr_assert_eq(pipe2(data, O_CLOEXEC), 0);
	g = start(true, serve_ring);
	for (unsigned round = 1; round <= 50; round++) {
		send_requests("rrrrrrrrrrrr");
		cr_assert(served_within('r', round * 12), "round %u", round);
		send_requests("xxxx");
		cr_assert(served_within('x', round * 4), "requests wait for file I/O");
		cr_assert_eq(write(data[1], "dddddddddddd", 12), 12);
		cr_assert(reads_within(round * 12), "completions wait for requests");
	}
	cr_assert_eq(atomic_load(&block_refused), 50 * 12, "no blocking beside I/O in the ring");
	stop_with_io_in_flight(g);
	loop_group_free(g);
	close(feed);
}

static atomic_uint without_slot;

static void serve_no_ring(struct loop *l, char request)
{
	struct ring_op op = {read_done};

	(void)request;
	if (!loop_sqe(l, &op))
		atomic_fetch_add(&without_slot, 1);
}

Test(loop, no_slot_without_ring, .timeout = 300)
{
	struct loop_group *g = start(false, serve_no_ring);

	send_requests("aaa");
	cr_assert(served_within('a', 3));
	close(feed);
	loop_group_wait(g);
	loop_group_free(g);
	cr_assert_eq(atomic_load(&without_slot), 3);
}
