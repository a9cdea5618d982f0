/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tests of what modes owe to files: an engine that says what was synced, and can fail or die. */
#ifndef CACHEFS_TEST_OWES_H
#define CACHEFS_TEST_OWES_H

#include "resume.h"

static struct syncs {
	atomic_uint count;
	atomic_int error;  /* of all of them */
	atomic_bool later; /* each takes 200 ms */
	atomic_bool die;   /* in the next one */
} * syncs;

static int counted_sync(int fd, bool datasync)
{
	(void)fd;
	(void)datasync;
	atomic_fetch_add(&syncs->count, 1);
	if (atomic_load(&syncs->later))
		usleep(200000);
	if (atomic_load(&syncs->die))
		kill(getpid(), SIGKILL);
	return -atomic_load(&syncs->error);
}

static struct engine counting;

static void begin_counting(const char *mode)
{
	begin(mode);
	syncs =
	    mmap(NULL, sizeof(*syncs), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	counting = engine_threads;
	counting.sync = counted_sync;
	config.engine = &counting;
	config.flush_on_close = config.witness = true;
}

static void end_counting(void)
{
	fs_stop(fs);
	end();
	munmap(syncs, sizeof(*syncs));
}

/* It came, within a minute, on a machine that has other things to do. */
#define WAIT_FOR(cond)                                                                             \
	do {                                                                                       \
		for (int tries_ = 0; !(cond) && tries_ < 6000; tries_++)                           \
			usleep(10000);                                                             \
		cr_assert(cond);                                                                   \
	} while (0)

static void open_one(void)
{
	told->fhs[0] = make_file(1, "f", "contents", &told->ids[0]);
	IN_WORKER(told->fhs[0]);
}

static void nothing(void)
{
}

#endif
