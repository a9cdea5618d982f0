/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How requests reach us. One transport serves one session with a group of loops. */
#ifndef CACHEFS_TRANSPORT_TRANSPORT_H
#define CACHEFS_TRANSPORT_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

struct session;
struct transport;

struct transport_config {
	struct session *session; /* session_init() has returned */
	unsigned loops;
	const int *fds; /* by transport_dev_open(), and closed by who called that */
	bool ring;	/* loops have an io_uring for file I/O */
	/*
	 * Memory that the kernel copies requests to is always there: were it not, a request whose
	 * server is killed in the midst of that would end with EIO instead of coming again. (What
	 * an answer is copied from has just been written.)
	 */
	bool resident;
};

#define TRANSPORT_FDS 2 /* for each loop */

/* Descriptors for LOOPS loops, TRANSPORT_FDS each. 0 or a negative errno, and none is open then. */
int transport_dev_open(const struct session *session, unsigned loops, int *fds);
/* Starts serving over /dev/fuse. 0 or a negative errno. */
int transport_dev_start(const struct transport_config *config, struct transport **out);
/* Requests answered since the start, and received and not answered. Any thread; both grow old. */
void transport_count(struct transport *t, uint64_t *answered, uint32_t *waiting);
/* Where a request waits and all loops may sleep: wakes them. Any thread; see loop_group_kick(). */
void transport_kick(struct transport *t);
/* Does no loop execute anything itself, or wait for file I/O? */
bool transport_idle(struct transport *t);
/* Returns when the mount is gone, whoever unmounted it. */
void transport_wait(struct transport *t);
/* Stops serving although the mount may still be there. */
void transport_stop(struct transport *t);
/* The same, but false when a request holds that up for more than NSEC. */
bool transport_stop_within(struct transport *t, uint64_t nsec);
/* After wait or stop, and after the pool is gone: memory freed. */
void transport_free(struct transport *t);

#endif
