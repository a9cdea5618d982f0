/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs/lock.h"

#include <string.h>
#include <utlist.h>

#include "base/util.h"

static const bool conflicts[CLAIM_KINDS][CLAIM_KINDS] = {
    [CLAIM_READ] = {[CLAIM_GATE] = true},
    [CLAIM_WRITE] = {[CLAIM_RMW] = true, [CLAIM_GATE] = true},
    [CLAIM_RMW] = {[CLAIM_WRITE] = true, [CLAIM_RMW] = true, [CLAIM_GATE] = true},
    [CLAIM_GATE] = {true, true, true, true},
};

void iolock_init(struct iolock *l)
{
	memset(l, 0, sizeof(*l));
	pthread_mutex_init(&l->lock, NULL);
}

void iolock_destroy(struct iolock *l)
{
	pthread_mutex_destroy(&l->lock);
}

static bool obstructs(const struct claim *a, const struct claim *c)
{
	return conflicts[c->kind][a->kind] && a->start < c->end && c->start < a->end;
}

/* Without any claim of a conflicting kind there is nothing to look through: the usual case. */
static bool maybe_obstructed(const struct iolock *l, const struct claim *c)
{
	for (int k = 0; k < CLAIM_KINDS; k++) {
		if (conflicts[c->kind][k] && l->busy[k])
			return true;
	}
	return false;
}

/* Looks at what is owned, and at what was queued before C (all of it where C is not queued). */
static bool obstructed(const struct iolock *l, const struct claim *c)
{
	const struct claim *a;

	DL_FOREACH(l->owned, a)
	{
		if (obstructs(a, c))
			return true;
	}
	DL_FOREACH(l->queued, a)
	{
		if (a == c)
			break;
		if (obstructs(a, c))
			return true;
	}
	return false;
}

bool iolock_acquire(struct iolock *l, struct claim *c)
{
	bool owned;

	pthread_mutex_lock(&l->lock);
	owned = !maybe_obstructed(l, c) || !obstructed(l, c);
	if (owned)
		DL_APPEND(l->owned, c);
	else
		DL_APPEND(l->queued, c);
	l->busy[c->kind]++;
	pthread_mutex_unlock(&l->lock);
	return owned;
}

void iolock_release(struct iolock *l, struct claim *c)
{
	struct claim *q, *tmp, *granted = NULL, **last = &granted;

	pthread_mutex_lock(&l->lock);
	DL_DELETE(l->owned, c);
	l->busy[c->kind]--;
	DL_FOREACH_SAFE(l->queued, q, tmp)
	{
		if (obstructed(l, q))
			continue;
		DL_DELETE(l->queued, q);
		/* owned at once, so that later ones of the queue see it */
		DL_APPEND(l->owned, q);
		q->next_granted = NULL;
		*last = q;
		last = &q->next_granted;
	}
	pthread_mutex_unlock(&l->lock);
	while (granted) { /* each may be gone once it was resumed */
		q = granted;
		granted = q->next_granted;
		q->resume(q);
	}
}

struct waiter {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool owned;
};

static void wake_waiter(struct claim *c)
{
	struct waiter *w = c->waiter;

	pthread_mutex_lock(&w->lock);
	w->owned = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

void iolock_acquire_wait(struct iolock *l, struct claim *c)
{
	struct waiter w = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

	c->resume = wake_waiter;
	c->waiter = &w;
	if (iolock_acquire(l, c))
		return;
	pthread_mutex_lock(&w.lock);
	while (!w.owned)
		pthread_cond_wait(&w.cond, &w.lock);
	pthread_mutex_unlock(&w.lock);
}
