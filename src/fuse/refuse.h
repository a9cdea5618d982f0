/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests that nobody serves are answered with an error: unanswered ones would hold their clients
 * for as long as the connection lives, and with them the locks of pages and directories that
 * notifications to the kernel wait for.
 */
#ifndef CACHEFS_FUSE_REFUSE_H
#define CACHEFS_FUSE_REFUSE_H

#include <pthread.h>
#include <stdbool.h>

struct session;

/*
 * Answers what comes with ERROR (a negative errno), until the mount is gone (true) or STOP_FD is
 * readable (false). FD is a clone of the session's, O_NONBLOCK. Others may read requests, too.
 */
bool session_refuse(struct session *s, int fd, int error, int stop_fd);

/* The same on a thread of its own. */
struct refuser {
	struct session *session;
	int fd, error, stop_fd;
	pthread_t thread;
	bool running; /* false: neither started nor to be stopped */
};

/* S and FD stay until refuser_stop(). 0 or a negative errno, and nothing runs then. */
int refuser_start(struct refuser *r, struct session *s, int fd, int error);
/* Returns when no request is answered any more. */
void refuser_stop(struct refuser *r);

#endif
