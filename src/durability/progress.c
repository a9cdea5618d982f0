/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "durability/progress.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#include "base/log.h"
#include "base/util.h"

#define SECONDS 2

struct progress {
	const char *what;
	uint64_t start;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool done; /* lock */
};

/* KiB of dirty pages and pages under write-back. */
static unsigned long long unflushed(void)
{
	FILE *f = fopen("/proc/meminfo", "re");
	unsigned long long sum = 0, kib;
	char line[128];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Dirty: %llu", &kib) == 1 ||
		    sscanf(line, "Writeback: %llu", &kib) == 1)
			sum += kib;
	if (f)
		fclose(f);
	return sum;
}

static void *progress_thread(void *arg)
{
	struct progress *p = arg;
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	pthread_mutex_lock(&p->lock);
	while (!p->done) {
		until.tv_sec += SECONDS;
		while (!p->done && pthread_cond_clockwait(&p->changed, &p->lock, CLOCK_MONOTONIC,
							  &until) != ETIMEDOUT)
			;
		if (!p->done)
			log_info("%s: waiting for data to be flushed since %llu s; the host has "
				 "%llu MiB unflushed",
				 p->what,
				 (unsigned long long)(clock_nsec() - p->start) / 1000000000u,
				 unflushed() / 1024);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

struct progress *progress_begin(const char *what)
{
	struct progress *p = calloc(1, sizeof(*p));
	sigset_t all, old;
	int err;

	if (!p)
		return NULL;
	p->what = what;
	p->start = clock_nsec();
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->changed, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	err = pthread_create(&p->thread, NULL, progress_thread, p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err) {
		free(p);
		return NULL;
	}
	return p;
}

void progress_end(struct progress *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->done = true;
	pthread_cond_signal(&p->changed);
	pthread_mutex_unlock(&p->lock);
	pthread_join(p->thread, NULL);
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
