/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files with limits, and their writers. */
#include "durability/budget.h"

#include <signal.h>
#include <utlist.h>

#include "base/util.h"
#include "durability/budget_internal.h"
#include "durability/flush.h"

/* ---- the rules ---- */

bool budget_due(const struct budget_limits *l, const struct budget_view *v)
{
	uint64_t soon = v->dirty + v->growth;

	if (!v->dirty)
		return false;
	if ((l->dirty_limit && soon > l->dirty_limit) || (l->dirty_max && soon > l->dirty_max / 2))
		return true;
	return l->dirty_age > 0 && v->since && v->now > v->since &&
	       (double)(v->now - v->since) >= l->dirty_age * (double)NANOSECONDS;
}

bool budget_full(const struct budget_limits *l, uint64_t dirty, uint64_t len)
{
	return l->dirty_max && dirty && (dirty > l->dirty_max || len > l->dirty_max - dirty);
}

/* ---- writers ---- */

/* With F->lock held: must a write of LEN bytes wait? */
static bool holds(struct budget_file *f, uint64_t len)
{
	return !f->failed && !atomic_load(&f->budget->stopped) &&
	       budget_full(&f->limits, budget_dirty(f), len) && !flush_error(f->flush);
}

/* With F->lock held: has the last write led to where write-back should start? */
static bool crossed(const struct budget_file *f, uint64_t len)
{
	struct budget_view v = {.dirty = budget_dirty(f)}, before = {.dirty = v.dirty - len};

	return !f->running && budget_due(&f->limits, &v) && !budget_due(&f->limits, &before);
}

bool budget_admit(struct budget_file *f, uint64_t len, struct budget_wait *w)
{
	bool admitted, kick;

	pthread_mutex_lock(&f->lock);
	admitted = !f->first && !holds(f, len); /* not in front of those who wait */
	if (admitted) {
		f->admitted += len;
		kick = crossed(f, len);
	} else {
		w->len = len;
		w->next = NULL;
		kick = !f->first;
		*f->last = w;
		f->last = &w->next;
		atomic_fetch_add(&f->budget->held_up, 1);
	}
	pthread_mutex_unlock(&f->lock);
	if (kick)
		budget_kick(f->budget);
	return admitted;
}

bool budget_holds_up(struct budget *b)
{
	return atomic_load(&b->held_up);
}

void budget_written(struct budget_file *f, uint64_t len)
{
	pthread_mutex_lock(&f->lock);
	f->done += len;
	pthread_mutex_unlock(&f->lock);
}

void budget_release(struct budget_file *f)
{
	struct budget_wait *list = NULL, **end = &list, *w;

	pthread_mutex_lock(&f->lock);
	while ((w = f->first) && !holds(f, w->len)) {
		f->admitted += w->len;
		f->first = w->next;
		*end = w;
		end = &w->next;
	}
	*end = NULL;
	if (!f->first)
		f->last = &f->first;
	pthread_mutex_unlock(&f->lock);
	while ((w = list)) {
		list = w->next; /* W may be gone once it goes on */
		atomic_fetch_sub(&f->budget->held_up, 1);
		w->resume(w);
	}
}

struct sleeper {
	struct budget_wait wait;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool admitted;
};

static void sleeper_resume(struct budget_wait *w)
{
	struct sleeper *s = container_of(w, struct sleeper, wait);

	pthread_mutex_lock(&s->lock);
	s->admitted = true;
	pthread_cond_signal(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

void budget_admit_wait(struct budget_file *f, uint64_t len)
{
	struct sleeper s = {.wait = {.resume = sleeper_resume},
			    .lock = PTHREAD_MUTEX_INITIALIZER,
			    .changed = PTHREAD_COND_INITIALIZER};

	if (budget_admit(f, len, &s.wait))
		return;
	pthread_mutex_lock(&s.lock);
	while (!s.admitted)
		pthread_cond_wait(&s.changed, &s.lock);
	pthread_mutex_unlock(&s.lock);
}

uint64_t budget_piece(struct budget_file *f, uint64_t len)
{
	const uint64_t least =
	    1 << 20; /* a block of any filesystem, so that extents can be shared */
	uint64_t max;

	pthread_mutex_lock(&f->lock);
	max = f->limits.dirty_max;
	pthread_mutex_unlock(&f->lock);
	return max ? MIN(len, MAX(align_down(max / 2, least), least)) : len;
}

/* ---- files ---- */

void budget_kick(struct budget *b)
{
	pthread_mutex_lock(&b->lock);
	b->kicked = true;
	pthread_cond_signal(&b->changed);
	pthread_mutex_unlock(&b->lock);
}

static void watch(struct budget_file *f, bool on)
{
	struct budget *b = f->budget;

	pthread_mutex_lock(&b->lock);
	if (on && !f->watched) {
		DL_APPEND(b->files, f);
		b->count++;
		pthread_cond_signal(&b->changed);
	} else if (!on && f->watched) {
		DL_DELETE(b->files, f);
		b->count--;
	}
	f->watched = on;
	pthread_mutex_unlock(&b->lock);
}

/* The one that makes files limited has them watched: nothing runs on a mount without limits. */
static int start_monitor(struct budget *b)
{
	sigset_t all, old;
	int err = 0;

	pthread_mutex_lock(&b->lock);
	if (!b->have_thread) {
		sigfillset(&all);
		pthread_sigmask(SIG_BLOCK, &all, &old);
		err = pthread_create(&b->thread, NULL, budget_monitor, b);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
		b->have_thread = !err;
	}
	pthread_mutex_unlock(&b->lock);
	return -err;
}

int budget_file_create(struct budget *b, int fd, uint64_t key, struct flush_state *flush,
		       struct budget_file **out)
{
	struct budget_file *f = calloc(1, sizeof(*f));
	int err = f ? start_monitor(b) : -ENOMEM;

	if (err) {
		free(f);
		close(fd);
		return err;
	}
	f->budget = b;
	f->fd = fd;
	f->key = key;
	f->flush = flush;
	f->last = &f->first;
	atomic_init(&f->users, 1);
	pthread_mutex_init(&f->lock, NULL);
	*out = f;
	return 0;
}

void budget_file_unref(struct budget_file *f)
{
	if (atomic_fetch_sub(&f->users, 1) != 1)
		return;
	close(f->fd);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

void budget_file_destroy(struct budget_file *f)
{
	if (!f)
		return;
	watch(f, false);
	pthread_mutex_lock(&f->lock);
	f->flush = NULL;
	pthread_mutex_unlock(&f->lock);
	budget_file_unref(f);
}

void budget_file_set(struct budget_file *f, const struct budget_limits *limits, bool measure)
{
	bool any = limits_any(limits);

	if (any && measure)
		budget_look(f);
	pthread_mutex_lock(&f->lock);
	f->limits = *limits;
	pthread_mutex_unlock(&f->lock);
	watch(f, any);
	budget_release(f);
}

/* ---- all of them ---- */

int budget_create(struct budget **out, struct pool *pool, bool cachestat)
{
	struct budget *b = calloc(1, sizeof(*b));
	pthread_condattr_t attr;

	if (!b)
		return -ENOMEM;
	b->pool = pool;
	b->cachestat = cachestat;
	pthread_mutex_init(&b->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&b->changed, &attr);
	pthread_condattr_destroy(&attr);
	*out = b;
	return 0;
}

/* The monitor releases whom it finds, once more when it ends; whoever comes later is not held. */
void budget_stop(struct budget *b)
{
	bool join;

	if (!b)
		return;
	atomic_store(&b->stopped, true);
	pthread_mutex_lock(&b->lock);
	join = b->have_thread && !b->end;
	b->end = true;
	pthread_cond_signal(&b->changed);
	pthread_mutex_unlock(&b->lock);
	if (join)
		pthread_join(b->thread, NULL);
}

void budget_destroy(struct budget *b)
{
	if (!b)
		return;
	budget_stop(b);
	pthread_cond_destroy(&b->changed);
	pthread_mutex_destroy(&b->lock);
	free(b);
}
