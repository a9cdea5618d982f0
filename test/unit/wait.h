/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Waiting for what other threads do, not for ever. */
#ifndef TEST_WAIT_H
#define TEST_WAIT_H

#include <errno.h>
#include <semaphore.h>
#include <stdbool.h>
#include <time.h>

#define SECONDS 60 /* how long a test waits for what takes milliseconds */

/* Whether S was posted within SECONDS. */
static inline bool wait_for(sem_t *s)
{
	struct timespec until;
	int err;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += SECONDS;
	do {
		err = sem_timedwait(s, &until);
	} while (err < 0 && errno == EINTR);
	return err == 0;
}

#endif
