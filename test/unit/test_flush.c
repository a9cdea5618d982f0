/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "base/util.h"
#include "durability/flush.h"
#include "engine/engine.h"
#include "observe/stats.h"

/* An engine whose sync returns what a test says, and which remembers how it was called. */
static int sync_result, sync_calls, sync_fd;
static bool sync_data;

static int fake_sync(int fd, bool datasync)
{
	sync_calls++;
	sync_fd = fd;
	sync_data = datasync;
	usleep(2000);
	return sync_result;
}

static const struct engine fake = {.name = "fake", .sync = fake_sync};

/* A file without any error of its own: what a dropped flush asks the kernel about. */
static int healthy_fd(void)
{
	FILE *f = tmpfile();

	cr_assert_not_null(f);
	return fileno(f);
}

/* A process for each test: zero at its start. */
static struct file_stats stats, other_stats;

static struct stats sum_of(const struct file_stats *f)
{
	struct stats sum = {0};

	stats_sum(f, &sum);
	return sum;
}

static void counts_are(const struct file_stats *f, unsigned received, unsigned honoured,
		       unsigned dropped)
{
	struct stats sum = sum_of(f);

	cr_assert_eq(sum.counters[STATS_flushes_received], received, "received");
	cr_assert_eq(sum.counters[STATS_flushes_honoured], honoured, "honoured");
	cr_assert_eq(sum.latencies[STATS_FLUSH].count, honoured, "with a latency");
	cr_assert_eq(sum.counters[STATS_flushes_dropped], dropped, "dropped");
}

static uint64_t nsec_of(const struct file_stats *f)
{
	return sum_of(f).latencies[STATS_FLUSH].nsec;
}

Test(flush, executed)
{
	struct flush_state f = {0};
	uint64_t start = clock_nsec();

	cr_assert_eq(flush_file(&f, &stats, &fake, 42, true, FLUSH_EXECUTE), 0);
	cr_assert_eq(sync_calls, 1);
	cr_assert_eq(sync_fd, 42);
	cr_assert(sync_data);
	cr_assert_eq(flush_file(&f, &stats, &fake, 42, false, FLUSH_EXECUTE), 0);
	cr_assert_not(sync_data);
	counts_are(&stats, 2, 2, 0);
	cr_assert_geq(nsec_of(&stats), 4000000, "the time of both");
	cr_assert_leq(nsec_of(&stats), clock_nsec() - start, "and no more");
}

Test(flush, dropped)
{
	struct flush_state f = {0};
	int fd = healthy_fd();

	for (int i = 0; i < 3; i++)
		cr_assert_eq(flush_file(&f, &stats, &fake, fd, true, FLUSH_DROP), 0);
	cr_assert_eq(sync_calls, 0, "a dropped flush is not executed");
	counts_are(&stats, 3, 0, 3);
	cr_assert_eq(nsec_of(&stats), 0);
}

/* The kernel reports an error once; every later flush of the file repeats it, dropped ones too. */
Test(flush, an_error_stays)
{
	struct flush_state f = {0}, other = {0};
	int fd = healthy_fd();

	cr_assert_eq(flush_file(&f, &stats, &fake, fd, true, FLUSH_DROP), 0);
	sync_result = -EIO;
	cr_assert_eq(flush_file(&f, &stats, &fake, fd, true, FLUSH_EXECUTE), -EIO);
	sync_result = 0;
	cr_assert_eq(flush_file(&f, &stats, &fake, fd, true, FLUSH_EXECUTE), -EIO);
	cr_assert_eq(flush_file(&f, &stats, &fake, fd, true, FLUSH_DROP), -EIO);
	cr_assert_eq(flush_sync(&f, &fake, fd, false), -EIO);
	cr_assert_eq(flush_error(&f), -EIO);
	counts_are(&stats, 4, 2, 2);
	cr_assert_eq(flush_file(&other, &other_stats, &fake, fd, true, FLUSH_EXECUTE), 0,
		     "another open file");
	counts_are(&other_stats, 1, 1, 0);
}

Test(flush, the_first_error_stays)
{
	struct flush_state f = {0};

	cr_assert_eq(flush_error(&f), 0);
	flush_latch(&f, -ENOSPC);
	flush_latch(&f, -EIO);
	cr_assert_eq(flush_error(&f), -ENOSPC);
	sync_result = -EIO;
	cr_assert_eq(flush_file(&f, &stats, &fake, 0, true, FLUSH_EXECUTE), -ENOSPC);
}

/* A backing that cannot sync has lost nothing: the client is told, and a later flush may work. */
Test(flush, unsupported_is_no_loss)
{
	static const int errors[] = {-EINVAL, -EROFS, -ESPIPE};
	struct flush_state f = {0};
	int pipes[2];

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		sync_result = errors[i];
		cr_assert_eq(flush_file(&f, &stats, &fake, 0, false, FLUSH_EXECUTE), errors[i]);
		sync_result = 0;
		cr_assert_eq(flush_file(&f, &stats, &fake, 0, false, FLUSH_EXECUTE), 0);
	}
	cr_assert_eq(pipe(pipes), 0);
	cr_assert_eq(flush_file(&f, &stats, &fake, pipes[0], false, FLUSH_DROP), 0);
	cr_assert_eq(flush_error(&f), 0);
	close(pipes[0]);
	close(pipes[1]);
}

/* What a mode owes without a client's asking is no flush that a client sent. */
Test(flush, sync_is_not_counted)
{
	struct flush_state f = {0};

	cr_assert_eq(flush_sync(&f, &fake, 7, true), 0);
	cr_assert_eq(sync_calls, 1);
	sync_result = -EDQUOT;
	cr_assert_eq(flush_sync(&f, &fake, 7, true), -EDQUOT);
	counts_are(&stats, 0, 0, 0);
	cr_assert_eq(flush_error(&f), -EDQUOT, "but its error stays as well");
}

Test(flush, in_a_write)
{
	flush_count_write(&stats, true, 500);
	flush_count_write(&stats, true, 700);
	flush_count_write(&stats, false, 900);
	flush_count_write(NULL, true, 100);
	counts_are(&stats, 3, 2, 1);
	cr_assert_eq(nsec_of(&stats), 1200, "of honoured ones");
	cr_assert_eq(sync_calls, 0);
}

#define THREADS 8
#define ROUNDS 20000
static struct flush_state shared;
static atomic_uint changed;

static void *storm(void *arg)
{
	int error = -1 - (int)(uintptr_t)arg, seen = 0;

	for (int i = 0; i < ROUNDS; i++) {
		flush_count_write(&stats, i % 2, 1);
		if (i % 100 == 99)
			flush_latch(&shared, error);
		if (seen && flush_error(&shared) != seen)
			atomic_fetch_add(&changed, 1);
		seen = flush_error(&shared);
	}
	return NULL;
}

Test(flush, many_threads)
{
	pthread_t threads[THREADS];

	for (uintptr_t i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, storm, (void *)i), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	counts_are(&stats, THREADS * ROUNDS, THREADS * ROUNDS / 2, THREADS * ROUNDS / 2);
	cr_assert_eq(nsec_of(&stats), THREADS * ROUNDS / 2);
	cr_assert_neq(flush_error(&shared), 0);
	cr_assert_eq(atomic_load(&changed), 0, "the first error never changes");
}
