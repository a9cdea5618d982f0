/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "durability/budget.h"
#include "durability/budget_internal.h"
#include "durability/flush.h"

#define SEC NANOSECONDS

/* ---- the rules ---- */

static const struct due {
	struct budget_limits limits;
	struct budget_view view;
	bool due;
} dues[] = {
    {{0}, {.dirty = 1 << 30, .growth = 1 << 30, .since = 1, .now = 1000 * SEC}, false},
    {{.dirty_limit = 100}, {.dirty = 100}, false},
    {{.dirty_limit = 100}, {.dirty = 101}, true},
    {{.dirty_limit = 100}, {.dirty = 60, .growth = 40}, false},
    {{.dirty_limit = 100}, {.dirty = 60, .growth = 41}, true},
    {{.dirty_limit = 100}, {.dirty = 0, .growth = 101}, false},
    {{.dirty_max = 100}, {.dirty = 50}, false},
    {{.dirty_max = 100}, {.dirty = 51}, true},
    {{.dirty_age = 2}, {.dirty = 1, .since = 5 * SEC, .now = 7 * SEC - 1}, false},
    {{.dirty_age = 2}, {.dirty = 1, .since = 5 * SEC, .now = 7 * SEC}, true},
    {{.dirty_age = 2}, {.dirty = 1, .since = 0, .now = 7 * SEC}, false},
    {{.dirty_age = 2}, {.dirty = 0, .since = 1, .now = 7 * SEC}, false},
    {{.dirty_age = 2}, {.dirty = 1, .since = 8 * SEC, .now = 7 * SEC}, false},
    {{.dirty_age = 0.25}, {.dirty = 1, .since = SEC, .now = SEC + SEC / 4}, true},
    {{.dirty_limit = 100, .dirty_age = 2}, {.dirty = 1, .since = 1, .now = 3 * SEC}, true},
};

ParameterizedTestParameters(rules, due)
{
	return cr_make_param_array(struct due, (void *)dues, ARRAY_SIZE(dues), NULL);
}

ParameterizedTest(struct due *row, rules, due)
{
	cr_assert_eq(budget_due(&row->limits, &row->view), row->due);
}

Test(rules, full)
{
	struct budget_limits l = {.dirty_limit = 10, .dirty_max = 100}, none = {.dirty_limit = 10};

	cr_assert(!budget_full(&none, 1 << 20, 1 << 20));
	cr_assert(!budget_full(&l, 90, 10));
	cr_assert(budget_full(&l, 91, 10));
	cr_assert(budget_full(&l, 101, 1));
	cr_assert(budget_full(&l, 1, 101));
	cr_assert(!budget_full(&l, 0, 101), "a write that is alone goes on");
	cr_assert(budget_full(&l, 1, UINT64_MAX), "no overflow");
}

Test(rules, limits)
{
	struct budget_limits a = {.dirty_limit = 5, .dirty_age = 2},
			     b = {.dirty_limit = 9, .dirty_max = 9, .dirty_age = 1};

	limits_strictest(&a, &b);
	cr_assert(a.dirty_limit == 5 && a.dirty_max == 9 && a.dirty_age == 1);
	cr_assert(limits_valid(&a) && limits_any(&a));
	cr_assert(!limits_valid(&(struct budget_limits){.dirty_limit = 2, .dirty_max = 1}));
	cr_assert(limits_valid(&(struct budget_limits){.dirty_limit = 2}));
	cr_assert(!limits_any(&(struct budget_limits){0}));
	cr_assert(limits_any(&(struct budget_limits){.dirty_age = 0.1}));
	cr_assert(limits_equal(&a, &a) && !limits_equal(&a, &b));
}

static const struct size_row {
	char text[24];
	uint64_t size;
	char shown[24];
} sizes[] = {
    {"0", 0, "0"},
    {"1", 1, "1"},
    {"1023", 1023, "1023"},
    {"1024", 1024, "1K"},
    {"1k", 1024, "1K"},
    {"0G", 0, "0"},
    {"1536K", 1536 << 10, "1536K"},
    {"64M", 64 << 20, "64M"},
    {"1024G", UINT64_C(1) << 40, "1T"},
    {"8388607T", UINT64_C(8388607) << 40, "8388607T"},
    {"9223372036854774784", SIZE_MOST, "9007199254740991K"},
};

ParameterizedTestParameters(rules, size)
{
	return cr_make_param_array(struct size_row, (void *)sizes, ARRAY_SIZE(sizes), NULL);
}

ParameterizedTest(struct size_row *row, rules, size)
{
	struct size_text shown;
	uint64_t size = 77;

	cr_assert(size_parse(row->text, strlen(row->text), &size));
	cr_assert_eq(size, row->size);
	cr_assert_str_eq(size_render(size, &shown), row->shown);
}

Test(rules, no_sizes)
{
	static const char *const bad[] = {"",
					  "K",
					  "1KB",
					  "1 K",
					  " 1",
					  "-1",
					  "+1",
					  "0x1",
					  "1.5M",
					  "8388608T",
					  "1P",
					  "9223372036854775807",
					  "18446744073709551616"};
	uint64_t size = 77;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		cr_expect(!size_parse(bad[i], strlen(bad[i]), &size), "%s", bad[i]);
	cr_assert(!size_parse("1\0", 2, &size));
	cr_assert_eq(size, 77);
}

/* ---- writers ---- */

static struct pool *pool;
static struct budget *budget;
static struct budget_file *file;
static struct flush_state flush;

/* A file of its own for each test: what it holds is what budget_written() makes the budget think,
 * until its page cache is looked at, which is empty. */
static void make(bool cachestat)
{
	FILE *f = tmpfile();

	cr_assert_not_null(f);
	cr_assert_eq(pool_create(&pool, NULL), 0);
	cr_assert_eq(budget_create(&budget, pool, cachestat), 0);
	cr_assert_eq(budget_file_create(budget, dup(fileno(f)), 1, &flush, &file), 0);
	fclose(f);
}

static void unmake(void)
{
	budget_stop(budget);
	pool_destroy(pool);
	budget_file_destroy(file);
	budget_destroy(budget);
}

static atomic_int resumed;
static struct budget_wait *order[64];

static void resume(struct budget_wait *w)
{
	order[resumed] = w;
	atomic_fetch_add(&resumed, 1);
}

static bool comes_to(int count)
{
	for (int i = 0; i < 6000 && atomic_load(&resumed) < count; i++)
		usleep(10000);
	return atomic_load(&resumed) == count;
}

static void set_max(uint64_t max)
{
	struct budget_limits l = {.dirty_max = max};

	budget_file_set(file, &l, false);
}

Test(writers, are_not_held_without_a_limit)
{
	struct budget_limits l = {.dirty_limit = 1, .dirty_age = 0.1};
	struct budget_wait w = {.resume = resume};

	make(true);
	cr_assert(budget_admit(file, 1 << 30, &w));
	budget_file_set(file, &l, true);
	cr_assert(budget_admit(file, 1 << 30, &w));
	cr_assert_eq(budget_piece(file, 1 << 30), 1 << 30);
	unmake();
	cr_assert_eq(resumed, 0);
}

Test(writers, wait_for_those_under_way_in_their_order)
{
	struct budget_wait w[4] = {
	    {.resume = resume}, {.resume = resume}, {.resume = resume}, {.resume = resume}};

	make(true);
	set_max(100);
	cr_assert(budget_admit(file, 60, &w[0]));
	cr_assert(!budget_admit(file, 60, &w[1]));
	cr_assert(!budget_admit(file, 1, &w[2]), "not in front of one that waits");
	cr_assert(!budget_admit(file, 200, &w[3]));
	usleep(100000); /* looks find nothing dirty, yet the first write may come at any time */
	cr_assert_eq(resumed, 0);
	budget_written(file, 60);
	cr_assert(comes_to(2));
	budget_written(file, 60);
	usleep(100000);
	cr_assert_eq(resumed, 2, "one that is larger than the limit waits to be alone");
	budget_written(file, 1);
	cr_assert(comes_to(3));
	for (int i = 0; i < 3; i++)
		cr_assert_eq(order[i], &w[i + 1]);
	budget_written(file, 200);
	unmake();
}

/* What ends a wait besides room. */
enum end { LIMIT_REMOVED, LIMIT_RAISED, FLUSH_FAILED, BUDGET_STOPPED, ENDS };

static void end_wait(enum end end)
{
	switch (end) {
	case LIMIT_REMOVED:
		set_max(0);
		break;
	case LIMIT_RAISED:
		set_max(1000);
		break;
	case FLUSH_FAILED:
		flush_latch(&flush, -EIO);
		break;
	default:
		budget_stop(budget);
	}
}

ParameterizedTestParameters(writers, go_on)
{
	static const enum end ends[ENDS] = {LIMIT_REMOVED, LIMIT_RAISED, FLUSH_FAILED,
					    BUDGET_STOPPED};

	return cr_make_param_array(enum end, (void *)ends, ENDS, NULL);
}

ParameterizedTest(enum end *row, writers, go_on)
{
	struct budget_wait w = {.resume = resume}, later = {.resume = resume};

	make(true);
	set_max(100);
	cr_assert(budget_admit(file, 100, &w));
	cr_assert(!budget_admit(file, 100, &w));
	usleep(50000);
	cr_assert_eq(resumed, 0);
	end_wait(*row);
	cr_assert(comes_to(1));
	cr_assert(budget_admit(file, 100, &later), "and nobody waits after that");
	for (int i = 0; i < 3; i++)
		budget_written(file, 100);
	unmake();
	cr_assert_eq(resumed, 1);
}

static void *wait_in_thread(void *arg)
{
	budget_admit_wait(file, 100);
	atomic_fetch_add(&resumed, 1);
	budget_written(file, 100);
	return arg;
}

Test(writers, may_sleep)
{
	struct budget_wait w;
	pthread_t thread;

	make(true);
	set_max(100);
	cr_assert(budget_admit(file, 100, &w));
	cr_assert_eq(pthread_create(&thread, NULL, wait_in_thread, NULL), 0);
	usleep(50000);
	cr_assert_eq(resumed, 0);
	budget_written(file, 100);
	cr_assert(comes_to(1));
	pthread_join(thread, NULL);
	set_max(3 << 20);
	cr_assert_eq(budget_piece(file, 8 << 20), 1 << 20);
	cr_assert_eq(budget_piece(file, 1000), 1000);
	set_max(1);
	cr_assert_eq(budget_piece(file, 8 << 20), 1 << 20);
	unmake();
}

/* What was written counts until a write-back that began later has ended. */
Test(writers, wait_for_write_back_without_cachestat)
{
	struct budget_wait w = {.resume = resume};

	make(false);
	cr_assert_eq(ftruncate(file->fd, 1 << 20), 0);
	set_max(100);
	cr_assert(budget_admit(file, 100, &w));
	cr_assert(!budget_admit(file, 100, &w));
	budget_written(file, 100);
	cr_assert(comes_to(1));
	budget_written(file, 100);
	unmake();
}

/* ---- write-back ---- */

/* A descriptor that cannot be written back: nobody waits for what never ends. */
Test(writers, are_not_held_once_write_back_fails)
{
	struct budget_wait w = {.resume = resume};
	int fd;

	make(false);
	fd = open("/proc/self/exe", O_PATH);
	cr_assert_geq(dup2(fd, file->fd), 0);
	close(fd);
	set_max(100);
	cr_assert(budget_admit(file, 100, &w));
	/* by then the failure may be known already */
	cr_assert(budget_admit(file, 100, &w) || comes_to(1), "the first one is still under way");
	cr_assert_eq(flush_error(&flush), -EBADF);
	budget_written(file, 100);
	budget_written(file, 100);
	unmake();
}

/* A file that is closed while its write-back is under way, or watched: its end waits for nobody. */
Test(writers, files_come_and_go)
{
	struct budget_limits l = {.dirty_limit = 4096, .dirty_max = 8192, .dirty_age = 0.01};
	char data[4096] = "x";

	make(true);
	for (int i = 0; i < 300; i++) {
		FILE *f = tmpfile();
		struct flush_state own = {0};
		struct budget_file *b;

		cr_assert_eq(budget_file_create(budget, dup(fileno(f)), (uint64_t)i, &own, &b), 0);
		budget_file_set(b, &l, true);
		for (int n = 0; n < 4; n++) {
			budget_admit_wait(b, sizeof(data));
			cr_assert_eq(fwrite(data, sizeof(data), 1, f), 1);
			fflush(f);
			budget_written(b, sizeof(data));
		}
		cr_assert_eq(flush_error(&own), 0);
		budget_file_destroy(b);
		fclose(f);
	}
	unmake();
}
