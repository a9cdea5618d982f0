/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "observe/stats.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"

#define LINE 64 /* bytes that processors pass to one another at once */

struct stats_latencies {
	atomic_ullong nsec;
	atomic_ullong buckets[CACHEFS_BUCKETS]; /* their sum is the count */
};

struct stats_stripe {
	atomic_ullong counters[STATS_COUNTERS];
	struct stats_latencies latencies[STATS_LATENCIES];
} __attribute__((aligned(LINE)));

/* Of closed files, and of the mount. Shared by all, but written once a file. */
static struct stats_stripe retired;
static struct file_stats mount_stats;

static unsigned own_stripe(void)
{
	static atomic_uint threads;
	static _Thread_local unsigned number; /* from 1; 0: none yet */

	if (!number)
		number = atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) + 1;
	return number % STATS_STRIPES;
}

static struct stats_stripe *stripe_new(struct file_stats *f, unsigned i)
{
	struct stats_stripe *fresh = aligned_alloc(LINE, sizeof(*fresh)), *found = NULL;

	if (!fresh)
		return NULL;
	memset(fresh, 0, sizeof(*fresh));
	if (atomic_compare_exchange_strong(&f->stripes[i], &found, fresh))
		return fresh;
	free(fresh); /* a thread with the same number, modulo the stripes, was faster */
	return found;
}

static struct stats_stripe *stripe_get(struct file_stats *f)
{
	unsigned i = own_stripe();
	struct stats_stripe *s;

	f = f ? f : &mount_stats;
	s = atomic_load_explicit(&f->stripes[i], memory_order_acquire);
	return s ? s : stripe_new(f, i);
}

static void add(atomic_ullong *to, uint64_t n)
{
	atomic_fetch_add_explicit(to, n, memory_order_relaxed);
}

static uint64_t get(const atomic_ullong *from)
{
	return atomic_load_explicit(from, memory_order_relaxed);
}

void stats_count(struct file_stats *f, enum stats_counter counter, uint64_t n)
{
	struct stats_stripe *s = stripe_get(f);

	if (s)
		add(&s->counters[counter], n);
}

/* The smallest bucket whose bound, 4096 << 2 * i, is not below NSEC. */
static unsigned bucket_of(uint64_t nsec)
{
	uint64_t above = nsec ? (nsec - 1) >> 12 : 0;
	unsigned bits = above ? 64 - (unsigned)__builtin_clzll(above) : 0;

	return MIN((bits + 1) / 2, CACHEFS_BUCKETS - 1u);
}

_Static_assert(CACHEFS_BUCKET_NSEC(0) == 4096 && CACHEFS_BUCKET_NSEC(2) == 65536,
	       "bucket_of() is made for these bounds");

void stats_time(struct file_stats *f, enum stats_latency latency, uint64_t nsec)
{
	struct stats_stripe *s = stripe_get(f);

	if (!s)
		return;
	add(&s->latencies[latency].nsec, nsec);
	add(&s->latencies[latency].buckets[bucket_of(nsec)], 1);
}

static void stripe_sum(const struct stats_stripe *s, struct stats *out)
{
	for (int i = 0; i < STATS_COUNTERS; i++)
		out->counters[i] += get(&s->counters[i]);
	for (int l = 0; l < STATS_LATENCIES; l++) {
		struct cachefs_latency *to = &out->latencies[l];

		to->nsec += get(&s->latencies[l].nsec);
		for (int b = 0; b < CACHEFS_BUCKETS; b++) {
			uint64_t n = get(&s->latencies[l].buckets[b]);

			to->buckets[b] += n;
			to->count += n;
		}
	}
}

void stats_sum(const struct file_stats *f, struct stats *out)
{
	for (int i = 0; i < STATS_STRIPES; i++) {
		const struct stats_stripe *s =
		    atomic_load_explicit(&f->stripes[i], memory_order_acquire);

		if (s)
			stripe_sum(s, out);
	}
}

void stats_add(const struct stats *sum, struct stats *out)
{
	for (int i = 0; i < STATS_COUNTERS; i++)
		out->counters[i] += sum->counters[i];
	for (int l = 0; l < STATS_LATENCIES; l++) {
		out->latencies[l].count += sum->latencies[l].count;
		out->latencies[l].nsec += sum->latencies[l].nsec;
		for (int b = 0; b < CACHEFS_BUCKETS; b++)
			out->latencies[l].buckets[b] += sum->latencies[l].buckets[b];
	}
}

void stats_retire(struct file_stats *f)
{
	struct stats sum = {0};

	stats_sum(f, &sum);
	for (int i = 0; i < STATS_COUNTERS; i++)
		add(&retired.counters[i], sum.counters[i]);
	for (int l = 0; l < STATS_LATENCIES; l++) {
		add(&retired.latencies[l].nsec, sum.latencies[l].nsec);
		for (int b = 0; b < CACHEFS_BUCKETS; b++)
			add(&retired.latencies[l].buckets[b], sum.latencies[l].buckets[b]);
	}
	for (int i = 0; i < STATS_STRIPES; i++)
		free(atomic_exchange(&f->stripes[i], NULL));
}

void stats_retired(struct stats *out)
{
	stripe_sum(&retired, out);
	stats_sum(&mount_stats, out);
}

void stats_log(const struct stats *sum)
{
	log_info("flushes received %llu, honoured %llu, dropped %llu; %.3f s in honoured ones",
		 (unsigned long long)sum->counters[STATS_flushes_received],
		 (unsigned long long)sum->counters[STATS_flushes_honoured],
		 (unsigned long long)sum->counters[STATS_flushes_dropped],
		 (double)sum->latencies[STATS_FLUSH].nsec / 1e9);
}
