/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How requests reach us. One transport serves one session with a group of loops. */
#ifndef CACHEFS_TRANSPORT_TRANSPORT_H
#define CACHEFS_TRANSPORT_TRANSPORT_H

#include <stdbool.h>

struct session;
struct transport;

struct transport_config {
	struct session *session; /* session_init() has returned */
	unsigned loops;
	bool ring; /* loops have an io_uring for file I/O */
};

/* Starts serving over /dev/fuse. 0 or a negative errno. */
int transport_dev_start(const struct transport_config *config, struct transport **out);
/* Returns when the mount is gone, whoever unmounted it. */
void transport_wait(struct transport *t);
/* Stops serving although the mount may still be there. */
void transport_stop(struct transport *t);
/* After wait or stop, and after the pool is gone: all descriptors closed, memory freed. */
void transport_free(struct transport *t);

#endif
