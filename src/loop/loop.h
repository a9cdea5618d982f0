/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A loop is one thread with one io_uring that carries both sides: the arrival of requests and the
 * asynchronous file I/O that they cause. Completions are callbacks on the loop's own thread.
 *
 * While its ring has nothing in flight a loop sleeps in the source's own blocking call (one system
 * call a request less than poll and read); with I/O in flight it sleeps in the ring, where a
 * one-shot exclusive poll tells of new requests.
 *
 * Blocking work may run on a loop's thread only between a successful loop_block_begin() and
 * loop_block_end(): it is granted while another loop of the group stays free to serve requests
 * and nothing waits in this one's ring.
 */
#ifndef CACHEFS_LOOP_LOOP_H
#define CACHEFS_LOOP_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct io_uring_sqe;
struct loop;

/* Where a loop's requests come from. Called on the loop's thread only. */
struct loop_source {
	/* Take one request and start it. WAIT: sleep until there is one.
	 * 0, -EAGAIN (none there), -EINTR; -ENODEV, -ECONNABORTED, -EBADF and -ENOTCONN say that
	 * the source has ended, any other errno passes. */
	int (*receive)(struct loop *l, void *arg, bool wait);
	int poll_fd; /* readable when receive() would not say -EAGAIN */
	void *arg;
};

/* A ring operation in flight; embedded in whatever it belongs to. */
struct ring_op {
	void (*done)(struct ring_op *op, int result); /* result as in the CQE: >= 0 or -errno */
};

struct loop_group;

/*
 * Starts N loops; SOURCE(i) tells each its source. With RING false no io_uring is made, and
 * loop_sqe() always says NULL. 0 or a negative errno, and nothing runs then.
 */
int loop_group_start(struct loop_group **out, unsigned n, bool ring,
		     struct loop_source (*source)(void *arg, unsigned i), void *arg);
/* Waits until every loop's source has ended. */
void loop_group_wait(struct loop_group *g);
/* Makes the loops end although their sources did not; then waits for them. */
void loop_group_stop(struct loop_group *g);
/* The same, but false when one has not ended within NSEC: it is at work for so long. */
bool loop_group_stop_within(struct loop_group *g, uint64_t nsec);
void loop_group_free(struct loop_group *g);
/*
 * Loops that sleep look for requests again. Who took over from a dead process calls it when one is
 * there: polls of its rings, which live on for a while, take wake-ups from the sleepers. Any
 * thread.
 */
void loop_group_kick(struct loop_group *g);
/* Does no loop run blocking work, or wait for I/O in its ring? Any thread; a moment ago. */
bool loop_group_idle(struct loop_group *g);

/* On the loop's own thread: a prepared slot whose completion calls OP->done, or NULL without ring.
 */
struct io_uring_sqe *loop_sqe(struct loop *l, struct ring_op *op);

bool loop_block_begin(struct loop *l);
void loop_block_end(struct loop *l);

unsigned loop_index(const struct loop *l);

/* 0 when this process may use io_uring, or the negative errno of io_uring_setup(2). */
int loop_ring_probe(void);

#endif
