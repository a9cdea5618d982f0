/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "base/util.h"
#include "durability/flush.h"
#include "engine/engine.h"

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

static const struct engine fake = { .name = "fake", .sync = fake_sync };

/* A file without any error of its own: what a dropped flush asks the kernel about. */
static int healthy_fd(void)
{
	FILE *f = tmpfile();

	cr_assert_not_null(f);
	return fileno(f);
}

static void counts_are(const struct flush_counts *c, unsigned received, unsigned honoured,
		       unsigned dropped)
{
	cr_assert_eq(atomic_load(&c->received), received, "received");
	cr_assert_eq(atomic_load(&c->honoured), honoured, "honoured");
	cr_assert_eq(atomic_load(&c->dropped), dropped, "dropped");
}

Test(flush, executed)
{
	struct flush_state f = { 0 };

	cr_assert_eq(flush_file(&f, &fake, 42, true, FLUSH_EXECUTE), 0);
	cr_assert_eq(sync_calls, 1);
	cr_assert_eq(sync_fd, 42);
	cr_assert(sync_data);
	cr_assert_eq(flush_file(&f, &fake, 42, false, FLUSH_EXECUTE), 0);
	cr_assert_not(sync_data);
	counts_are(&f.counts, 2, 2, 0);
	counts_are(&flush_totals, 2, 2, 0);
	cr_assert_geq(atomic_load(&f.counts.nsec), 4000000, "the time of both");
	cr_assert_lt(atomic_load(&f.counts.nsec), 10 * 1000000000ull);
	cr_assert_eq(atomic_load(&f.counts.nsec), atomic_load(&flush_totals.nsec));
}

Test(flush, dropped)
{
	struct flush_state f = { 0 };
	int fd = healthy_fd();

	for (int i = 0; i < 3; i++)
		cr_assert_eq(flush_file(&f, &fake, fd, true, FLUSH_DROP), 0);
	cr_assert_eq(sync_calls, 0, "a dropped flush is not executed");
	counts_are(&f.counts, 3, 0, 3);
	counts_are(&flush_totals, 3, 0, 3);
	cr_assert_eq(atomic_load(&f.counts.nsec), 0);
}

/* The kernel reports an error once; every later flush of the file repeats it, dropped ones too. */
Test(flush, an_error_stays)
{
	struct flush_state f = { 0 }, other = { 0 };
	int fd = healthy_fd();

	cr_assert_eq(flush_file(&f, &fake, fd, true, FLUSH_DROP), 0);
	sync_result = -EIO;
	cr_assert_eq(flush_file(&f, &fake, fd, true, FLUSH_EXECUTE), -EIO);
	sync_result = 0;
	cr_assert_eq(flush_file(&f, &fake, fd, true, FLUSH_EXECUTE), -EIO);
	cr_assert_eq(flush_file(&f, &fake, fd, true, FLUSH_DROP), -EIO);
	cr_assert_eq(flush_sync(&f, &fake, fd, false), -EIO);
	cr_assert_eq(flush_error(&f), -EIO);
	counts_are(&f.counts, 4, 2, 2);
	cr_assert_eq(flush_file(&other, &fake, fd, true, FLUSH_EXECUTE), 0, "another open file");
	counts_are(&other.counts, 1, 1, 0);
	counts_are(&flush_totals, 5, 3, 2);
}

Test(flush, the_first_error_stays)
{
	struct flush_state f = { 0 };

	cr_assert_eq(flush_error(&f), 0);
	flush_latch(&f, -ENOSPC);
	flush_latch(&f, -EIO);
	cr_assert_eq(flush_error(&f), -ENOSPC);
	sync_result = -EIO;
	cr_assert_eq(flush_file(&f, &fake, 0, true, FLUSH_EXECUTE), -ENOSPC);
}

/* A backing that cannot sync has lost nothing: the client is told, and a later flush may work. */
Test(flush, unsupported_is_no_loss)
{
	static const int errors[] = { -EINVAL, -EROFS, -ESPIPE };
	struct flush_state f = { 0 };
	int pipes[2];

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		sync_result = errors[i];
		cr_assert_eq(flush_file(&f, &fake, 0, false, FLUSH_EXECUTE), errors[i]);
		sync_result = 0;
		cr_assert_eq(flush_file(&f, &fake, 0, false, FLUSH_EXECUTE), 0);
	}
	cr_assert_eq(pipe(pipes), 0);
	cr_assert_eq(flush_file(&f, &fake, pipes[0], false, FLUSH_DROP), 0);
	cr_assert_eq(flush_error(&f), 0);
	close(pipes[0]);
	close(pipes[1]);
}

/* What a mode owes without a client's asking is no flush that a client sent. */
Test(flush, sync_is_not_counted)
{
	struct flush_state f = { 0 };

	cr_assert_eq(flush_sync(&f, &fake, 7, true), 0);
	cr_assert_eq(sync_calls, 1);
	sync_result = -EDQUOT;
	cr_assert_eq(flush_sync(&f, &fake, 7, true), -EDQUOT);
	counts_are(&f.counts, 0, 0, 0);
	counts_are(&flush_totals, 0, 0, 0);
	cr_assert_eq(flush_error(&f), -EDQUOT, "but its error stays as well");
}

Test(flush, in_a_write)
{
	struct flush_state f = { 0 };

	flush_count_write(&f, true, 500);
	flush_count_write(&f, true, 700);
	flush_count_write(&f, false, 900);
	counts_are(&f.counts, 3, 2, 1);
	counts_are(&flush_totals, 3, 2, 1);
	cr_assert_eq(atomic_load(&f.counts.nsec), 1200, "of honoured ones");
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
		flush_count_write(&shared, i % 2, 1);
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
	counts_are(&shared.counts, THREADS * ROUNDS, THREADS * ROUNDS / 2, THREADS * ROUNDS / 2);
	cr_assert_eq(atomic_load(&shared.counts.nsec), THREADS * ROUNDS / 2);
	cr_assert_neq(flush_error(&shared), 0);
	cr_assert_eq(atomic_load(&changed), 0, "the first error never changes");
}
