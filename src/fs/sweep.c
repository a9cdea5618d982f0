/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs/sweep.h"

#include <signal.h>
#include <time.h>
#include <utlist.h>

#include "fs/internal.h"

/* The delay is the same for all, so they are due in the order in which they come. */
struct sweep_item {
	struct sweep_item *prev, *next;
	uint64_t id; /* of the node; the file may be closed meanwhile */
	struct timespec due;
};

struct sweep {
	struct fs *fs;
	pthread_t thread;
	pthread_mutex_t lock; /* items, stop */
	pthread_cond_t changed;
	struct sweep_item *items;
	struct timespec delay;
	bool stop;
};

/*
 * Before, so that none is missed: another read of the file counts. After: where none was read
 * meanwhile there are none, and writes need not drop them any more.
 */
void sweep_now(struct fs *fs, struct file *f)
{
	unsigned long long reads = atomic_load(&f->fuse_pages);

	fs->config.invalidate(fs->config.invalidate_arg, node_id(f->node), 0, 0);
	atomic_compare_exchange_strong(&f->fuse_pages, &reads, 0);
}

static void sweep(struct fs *fs, uint64_t id)
{
	struct node *n = node_get(fs, id);
	struct file *f = n ? file_find(fs, n) : NULL;

	if (!f) {
		fs->config.invalidate(fs->config.invalidate_arg, id, 0, 0);
		return;
	}
	atomic_store(&f->sweeping, false); /* first: another read schedules it again */
	sweep_now(fs, f);
	file_put(fs, f);
}

/* With the lock held: the first item when it is due, else NULL after some waiting. */
static struct sweep_item *wait_due(struct sweep *s)
{
	struct sweep_item *i = s->items;
	struct timespec now;

	if (!i) {
		pthread_cond_wait(&s->changed, &s->lock);
		return NULL;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	if (now.tv_sec < i->due.tv_sec ||
	    (now.tv_sec == i->due.tv_sec && now.tv_nsec < i->due.tv_nsec)) {
		pthread_cond_timedwait(&s->changed, &s->lock, &i->due);
		return NULL;
	}
	DL_DELETE(s->items, i);
	return i;
}

static void *sweep_thread(void *arg)
{
	struct sweep *s = arg;
	struct fs *fs = s->fs;

	pthread_mutex_lock(&s->lock);
	while (!s->stop) {
		struct sweep_item *i = wait_due(s);

		if (!i)
			continue;
		pthread_mutex_unlock(&s->lock);
		sweep(fs, i->id);
		free(i);
		pthread_mutex_lock(&s->lock);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

int sweep_create(struct fs *fs, double delay, struct sweep **out)
{
	struct sweep *s = calloc(1, sizeof(*s));
	sigset_t all, old;
	int err;

	if (!s)
		return -ENOMEM;
	s->fs = fs;
	s->delay.tv_sec = (time_t)delay;
	s->delay.tv_nsec = (long)((delay - (double)s->delay.tv_sec) * 1e9);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->changed, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	err = pthread_create(&s->thread, NULL, sweep_thread, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err) {
		free(s);
		return -err;
	}
	*out = s;
	return 0;
}

void sweep_destroy(struct sweep *s)
{
	struct sweep_item *i, *tmp;

	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_signal(&s->changed);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	DL_FOREACH_SAFE(s->items, i, tmp)
	free(i);
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

void sweep_schedule(struct sweep *s, struct file *f)
{
	struct sweep_item *i;

	if (atomic_exchange(&f->sweeping, true))
		return;
	i = malloc(sizeof(*i));
	if (!i) {
		atomic_store(&f->sweeping, false); /* the next read tries again */
		return;
	}
	i->id = node_id(f->node);
	clock_gettime(CLOCK_REALTIME, &i->due);
	i->due.tv_sec += s->delay.tv_sec;
	i->due.tv_nsec += s->delay.tv_nsec;
	if (i->due.tv_nsec >= 1000000000L) {
		i->due.tv_sec++;
		i->due.tv_nsec -= 1000000000L;
	}
	pthread_mutex_lock(&s->lock);
	DL_APPEND(s->items, i);
	pthread_cond_signal(&s->changed);
	pthread_mutex_unlock(&s->lock);
}
