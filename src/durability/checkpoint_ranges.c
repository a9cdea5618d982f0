/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "durability/checkpoint_ranges.h"

#include <linux/fs.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/util.h"
#include "durability/checkpoint_internal.h"

enum range_state { RANGE_OPEN, RANGE_BUSY, RANGE_DONE };

struct checkpoint_gate {
	atomic_bool active;   /* written under LOCK, read without it first */
	pthread_mutex_t lock; /* all that follows; held across no call that blocks */
	pthread_cond_t changed;
	unsigned users; /* threads in checkpoint_gate_before() that have seen ACTIVE */
	int from, to;
	uint64_t longest_nsec;
	size_t ranges;
	uint8_t *state; /* enum range_state of each */
	int error;	/* the first */
};

int checkpoint_gate_create(struct checkpoint_gate **out)
{
	struct checkpoint_gate *g = calloc(1, sizeof(*g));

	if (!g)
		return -ENOMEM;
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->changed, NULL);
	*out = g;
	return 0;
}

void checkpoint_gate_destroy(struct checkpoint_gate *g)
{
	if (!g)
		return;
	pthread_cond_destroy(&g->changed);
	pthread_mutex_destroy(&g->lock);
	free(g);
}

/* LENGTH 0 is to the end of the file, which need not be the end of a block. */
static int clone_range(const struct checkpoint_gate *g, size_t i)
{
	struct file_clone_range r = {
	    .src_fd = g->from,
	    .src_offset = i * CHECKPOINT_RANGE,
	    .src_length = i + 1 == g->ranges ? 0 : CHECKPOINT_RANGE,
	    .dest_offset = i * CHECKPOINT_RANGE,
	};

	return sysret(ioctl(g->to, FICLONERANGE, &r));
}

/* Returns with the lock held, as it was called, and the range done. */
static void range_done(struct checkpoint_gate *g, size_t i)
{
	uint64_t start;
	int err;

	while (g->state[i] == RANGE_BUSY)
		pthread_cond_wait(&g->changed, &g->lock);
	if (g->state[i] == RANGE_DONE)
		return;
	g->state[i] = RANGE_BUSY;
	pthread_mutex_unlock(&g->lock);
	start = clock_nsec();
	err = clone_range(g, i);
	start = clock_nsec() - start;
	pthread_mutex_lock(&g->lock);
	g->state[i] = RANGE_DONE;
	g->longest_nsec = MAX(g->longest_nsec, start);
	if (err && !g->error)
		g->error = err;
	pthread_cond_broadcast(&g->changed);
}

void checkpoint_gate_before(struct checkpoint_gate *g, uint64_t off, uint64_t len)
{
	size_t first, last;

	if (len == 0 || !atomic_load(&g->active))
		return;
	pthread_mutex_lock(&g->lock);
	if (atomic_load(&g->active) && g->ranges > 0) {
		g->users++;
		/* what is behind the end would move it, and the last range ends there */
		first = MIN(off / CHECKPOINT_RANGE, g->ranges - 1);
		last =
		    MIN((off + MIN(len, UINT64_MAX - off) - 1) / CHECKPOINT_RANGE, g->ranges - 1);
		/* when one has failed there will be no checkpoint, and nobody needs to wait */
		for (size_t i = first; i <= last && !g->error; i++)
			range_done(g, i);
		g->users--;
		pthread_cond_broadcast(&g->changed);
	}
	pthread_mutex_unlock(&g->lock);
}

/* The start: from here on nothing that the file holds now is overwritten before it was cloned. */
static int gate_open(struct checkpoint_gate *g, int to, int from)
{
	struct stat st;
	int err = 0;

	pthread_mutex_lock(&g->lock);
	g->from = from;
	g->to = to;
	g->error = 0;
	g->longest_nsec = 0;
	g->ranges = 0;
	/* before the size is looked at: what makes the file shorter waits for the lock */
	atomic_store(&g->active, true);
	if (fstat(from, &st) < 0) {
		err = -errno;
	} else {
		g->ranges =
		    (size_t)(align_up((uint64_t)st.st_size, CHECKPOINT_RANGE) / CHECKPOINT_RANGE);
		g->state = calloc(MAX(g->ranges, (size_t)1), 1);
		err = g->state ? 0 : -ENOMEM;
	}
	g->error = err;
	pthread_mutex_unlock(&g->lock);
	return err;
}

/* Nobody clones any more when it returns. */
static int gate_close(struct checkpoint_gate *g, uint64_t *longest_nsec)
{
	int err;

	pthread_mutex_lock(&g->lock);
	atomic_store(&g->active, false);
	while (g->users > 0)
		pthread_cond_wait(&g->changed, &g->lock);
	free(g->state);
	g->state = NULL;
	g->ranges = 0;
	*longest_nsec = g->longest_nsec;
	err = g->error;
	pthread_mutex_unlock(&g->lock);
	return err;
}

int checkpoint_gate_clone(struct checkpoint_gate *g, int to, int from, uint64_t *longest_nsec)
{
	int err = gate_open(g, to, from), closed;
	size_t i;

	pthread_mutex_lock(&g->lock);
	for (i = 0; i < g->ranges && !g->error; i++)
		range_done(g, i);
	pthread_mutex_unlock(&g->lock);
	closed = gate_close(g, longest_nsec);
	return err ? err : closed;
}
