/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdint.h>

#include "observe/stats.h"

static struct stats sum_of(const struct file_stats *f)
{
	struct stats sum = {0};

	stats_sum(f, &sum);
	return sum;
}

static struct stats retired(void)
{
	struct stats sum = {0};

	stats_retired(&sum);
	return sum;
}

Test(stats, nothing_is_zero)
{
	static const struct stats zero;
	struct file_stats f = {{NULL}};
	struct stats sum = sum_of(&f);

	cr_assert_arr_eq(&sum, &zero, sizeof(sum));
	sum = retired();
	cr_assert_arr_eq(&sum, &zero, sizeof(sum));
	stats_retire(&f); /* which nobody counted in */
}

Test(stats, each_counter_is_its_own)
{
	struct file_stats f = {{NULL}}, other = {{NULL}};
	struct stats sum;

	for (int i = 0; i < STATS_COUNTERS; i++)
		stats_count(&f, (enum stats_counter)i, (uint64_t)i + 1);
	stats_count(&other, STATS_write_bytes, 1000);
	sum = sum_of(&f);
	for (int i = 0; i < STATS_COUNTERS; i++)
		cr_assert_eq(sum.counters[i], (uint64_t)i + 1, "counter %d", i);
	cr_assert_eq(sum.latencies[STATS_READ].count, 0);
	stats_retire(&f);
	stats_retire(&other);
}

/* The bound of each bucket is in it, and a nanosecond more is not. */
Test(stats, buckets)
{
	for (int i = 0; i < CACHEFS_BUCKETS; i++) {
		struct file_stats f = {{NULL}};
		uint64_t bound = CACHEFS_BUCKET_NSEC(i);
		struct stats sum;

		stats_time(&f, STATS_WRITE, bound);
		stats_time(&f, STATS_WRITE, bound + 1);
		sum = sum_of(&f);
		if (i < CACHEFS_BUCKETS - 1) {
			cr_assert_eq(sum.latencies[STATS_WRITE].buckets[i], 1, "bucket %d", i);
			cr_assert_eq(sum.latencies[STATS_WRITE].buckets[i + 1], 1, "above %d", i);
		} else {
			cr_assert_eq(sum.latencies[STATS_WRITE].buckets[i], 2, "no limit");
		}
		cr_assert_eq(sum.latencies[STATS_WRITE].count, 2);
		cr_assert_eq(sum.latencies[STATS_WRITE].nsec, 2 * bound + 1);
		cr_assert_eq(sum.latencies[STATS_FLUSH].count, 0);
		stats_retire(&f);
	}
}

Test(stats, the_ends_of_time)
{
	struct file_stats f = {{NULL}};
	struct stats sum;

	stats_time(&f, STATS_READ, 0);
	stats_time(&f, STATS_READ, UINT64_MAX);
	sum = sum_of(&f);
	cr_assert_eq(sum.latencies[STATS_READ].buckets[0], 1);
	cr_assert_eq(sum.latencies[STATS_READ].buckets[CACHEFS_BUCKETS - 1], 1);
	stats_retire(&f);
}

#define THREADS (3 * STATS_STRIPES) /* some share a stripe */
#define ROUNDS 20000

static struct file_stats shared;
static pthread_barrier_t start;

static void *count(void *arg)
{
	uint64_t number = (uintptr_t)arg;

	pthread_barrier_wait(&start);
	for (uint64_t i = 0; i < ROUNDS; i++) {
		stats_count(&shared, STATS_flushes_received, 1);
		stats_count(&shared, STATS_read_bytes, number);
		stats_time(&shared, STATS_FLUSH, i % 2 ? 4096 : 4097);
	}
	return NULL;
}

Test(stats, threads_lose_nothing)
{
	pthread_t threads[THREADS];
	uint64_t bytes = 0, used = 0;
	struct stats sum;

	pthread_barrier_init(&start, NULL, THREADS);
	for (uintptr_t i = 0; i < THREADS; i++) {
		bytes += i * ROUNDS;
		cr_assert_eq(pthread_create(&threads[i], NULL, count, (void *)i), 0);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < STATS_STRIPES; i++)
		used += shared.stripes[i] != NULL;
	cr_assert_eq(used, STATS_STRIPES, "threads have stripes of their own");
	sum = sum_of(&shared);
	cr_assert_eq(sum.counters[STATS_flushes_received], THREADS * ROUNDS);
	cr_assert_eq(sum.counters[STATS_read_bytes], bytes);
	cr_assert_eq(sum.latencies[STATS_FLUSH].count, THREADS * ROUNDS);
	cr_assert_eq(sum.latencies[STATS_FLUSH].buckets[0], THREADS * ROUNDS / 2);
	cr_assert_eq(sum.latencies[STATS_FLUSH].buckets[1], THREADS * ROUNDS / 2);
	stats_retire(&shared);
}

Test(stats, what_retires_stays_in_the_totals)
{
	struct file_stats a = {{NULL}}, b = {{NULL}};
	struct stats sum;

	stats_count(&a, STATS_opens_total, 2);
	stats_time(&a, STATS_READ, 5000);
	stats_count(&b, STATS_opens_total, 3);
	stats_time(&b, STATS_READ, 7000);
	cr_assert_eq(retired().counters[STATS_opens_total], 0, "not yet");
	stats_retire(&a);
	cr_assert_eq(retired().counters[STATS_opens_total], 2);
	for (int i = 0; i < STATS_STRIPES; i++)
		cr_assert_null(a.stripes[i]);
	stats_count(&a, STATS_opens_total, 5); /* opened again */
	stats_retire(&b);
	stats_retire(&a);
	sum = retired();
	cr_assert_eq(sum.counters[STATS_opens_total], 10);
	cr_assert_eq(sum.latencies[STATS_READ].count, 2);
	cr_assert_eq(sum.latencies[STATS_READ].nsec, 12000);
	cr_assert_eq(sum.latencies[STATS_READ].buckets[1], 2);
}

/* As flushes of directories do. */
Test(stats, without_a_file_for_the_mount)
{
	stats_count(NULL, STATS_flushes_dropped, 4);
	stats_time(NULL, STATS_FLUSH, 1);
	cr_assert_eq(retired().counters[STATS_flushes_dropped], 4);
	cr_assert_eq(retired().latencies[STATS_FLUSH].count, 1);
}

Test(stats, sums_add_up)
{
	struct stats a = {0}, b = {0};

	a.counters[STATS_rmw_nsec] = 7;
	a.latencies[STATS_WRITE] = (struct cachefs_latency){.count = 1, .nsec = 9, .buckets = {1}};
	b = a;
	stats_add(&a, &b);
	cr_assert_eq(b.counters[STATS_rmw_nsec], 14);
	cr_assert_eq(b.latencies[STATS_WRITE].count, 2);
	cr_assert_eq(b.latencies[STATS_WRITE].nsec, 18);
	cr_assert_eq(b.latencies[STATS_WRITE].buckets[0], 2);
}
