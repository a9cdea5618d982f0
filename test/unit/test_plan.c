/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "config/options.h"
#include "policy/plan.h"

static const struct capabilities everything = {
    .backing_direct_io = true,
    .rwf_nowait = true,
    .io_uring = true,
    .file_handles = true,
    .statx_dioalign = true,
    .cachestat = true,
    .open_tree = true,
};

/*
 * What the contract promises of each combination, in its own columns: is the page cache used,
 * is a write on stable storage when it completes, is a flush executed, dropped.
 */
enum promise { NO, YES, REFUSED };
static const struct promised {
	bool direct, writeback, no_flush;
	enum promise cached, stable, flushed;
} promises[] = {
    {false, false, false, YES, YES, YES}, /* writethrough */
    {false, true, false, YES, NO, YES},	  /* writeback */
    {true, true, false, NO, NO, YES},	  /* none */
    {true, false, false, NO, YES, YES},	  /* directsync */
    {false, true, true, YES, NO, NO},	  /* unsafe */
    {true, true, true, NO, NO, NO},	  /* none with cache.no-flush=on */
    {false, false, true, REFUSED, REFUSED, REFUSED},
    {true, false, true, REFUSED, REFUSED, REFUSED},
};

static const int access_modes[] = {O_RDONLY, O_WRONLY, O_RDWR};
/* Bits of a client's open; O_SYNC has O_DSYNC's bit in it, which the loops below pass through. */
static const int flag_bits[] = {
    O_DIRECT, O_SYNC & ~O_DSYNC, O_DSYNC,    O_APPEND, O_TRUNC, O_NOATIME, O_CREAT,
    O_EXCL,   O_NOCTTY,		 O_NONBLOCK, O_ASYNC,
};
#define FLAG_BITS (sizeof(flag_bits) / sizeof(flag_bits[0]))

static int flags_of(unsigned int combination)
{
	int flags = 0;

	for (size_t i = 0; i < FLAG_BITS; i++)
		if (combination >> i & 1)
			flags |= flag_bits[i];
	return flags;
}

static void check_open(const struct promised *p, int client_flags, const struct plan *plan)
{
	int access = client_flags & O_ACCMODE;

	/* Bit by bit, so that a bit that nobody thought of is noticed too. */
	int expected = access + O_NOFOLLOW + O_CLOEXEC;

	if (p->cached == NO)
		expected += O_DIRECT;
	if (client_flags & O_TRUNC)
		expected += O_TRUNC;
	if (client_flags & O_NOATIME)
		expected += O_NOATIME;
	cr_assert_eq(plan->open_flags, expected, "client flags %o: %o instead of %o", client_flags,
		     plan->open_flags, expected);
	cr_assert_eq(plan->direct, p->cached == NO);
	cr_assert_eq(plan->want_read, p->cached == NO && access == O_WRONLY);
	cr_assert_eq(plan->write_rwf, p->stable == YES ? RWF_DSYNC : 0);
	cr_assert_eq(plan->flush, p->flushed == YES ? FLUSH_EXECUTE : FLUSH_DROP);
	cr_assert_eq(plan->sync_metadata, p->stable == YES);
	cr_assert(plan->fopen_direct_io);
	cr_assert(plan->fopen_noflush);
	cr_assert_eq(plan->fopen_parallel_direct_writes, (client_flags & O_APPEND) == 0);
}

/* A flush of a single write: honoured as strongly as asked for, or dropped; never weakened. */
static void check_write(const struct promised *p, int write_flags, const struct plan *plan)
{
	int rwf = plan_write_rwf(plan, write_flags);
	bool full = (write_flags & O_SYNC) == O_SYNC;
	bool data = (write_flags & O_DSYNC) != 0;

	if (p->flushed == NO)
		cr_assert_eq(rwf, 0);
	else if (full)
		cr_assert_eq(rwf, RWF_SYNC);
	else if (data || p->stable == YES)
		cr_assert_eq(rwf, RWF_DSYNC);
	else
		cr_assert_eq(rwf, 0);
}

static struct plan refused_plan(int error)
{
	struct plan plan;

	memset(&plan, 0, sizeof(plan));
	plan.error = error;
	return plan;
}

static void check_refused(const struct plan *plan, int error)
{
	const struct plan expected = refused_plan(error);

	cr_assert_eq(plan->error, expected.error);
	cr_assert_eq(plan->open_flags, 0);
	cr_assert_not(plan->direct || plan->want_read || plan->sync_metadata);
	cr_assert_not(plan->fopen_direct_io || plan->fopen_parallel_direct_writes);
	cr_assert_not(plan->fopen_noflush);
	cr_assert_eq(plan->write_rwf, 0);
}

ParameterizedTestParameters(plan, switches)
{
	return cr_make_param_array(struct promised, (void *)promises,
				   sizeof(promises) / sizeof(promises[0]), NULL);
}

ParameterizedTest(struct promised *p, plan, switches)
{
	const struct switches sw = {p->direct, p->writeback, p->no_flush};

	for (size_t a = 0; a < sizeof(access_modes) / sizeof(access_modes[0]); a++)
		for (unsigned int c = 0; c < 1U << FLAG_BITS; c++) {
			int flags = access_modes[a] | flags_of(c);
			struct plan plan = plan_open(sw, flags, &everything);

			if (p->cached == REFUSED) {
				check_refused(&plan, -EINVAL);
				continue;
			}
			cr_assert_eq(plan.error, 0);
			check_open(p, flags, &plan);
			check_write(p, flags, &plan);
			/* Flags of the write count, not those of the open. */
			check_write(p, 0, &plan);
			check_write(p, O_DSYNC, &plan);
			check_write(p, O_SYNC, &plan);
		}
}

Test(plan, combinations_are_all_there)
{
	unsigned int seen = 0;

	for (size_t i = 0; i < sizeof(promises) / sizeof(promises[0]); i++)
		seen |= 1U << (promises[i].direct + 2 * promises[i].writeback +
			       4 * promises[i].no_flush);
	cr_assert_eq(seen, 0xffU);
}

Test(plan, flags_without_meaning_for_the_backing_are_dropped)
{
	const int dropped = O_PATH | O_DIRECTORY | 1 << 30;
	struct plan plan = plan_open(cache_modes[0].switches, O_RDWR | dropped, &everything);

	cr_assert_eq(plan.error, 0);
	cr_assert_eq(plan.open_flags, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
}

Test(plan, direct_needs_direct_io_of_the_backing)
{
	struct capabilities lacking = everything;

	lacking.backing_direct_io = false;
	for (size_t i = 0; i < sizeof(promises) / sizeof(promises[0]); i++) {
		const struct promised *p = &promises[i];
		const struct switches sw = {p->direct, p->writeback, p->no_flush};
		struct plan plan = plan_open(sw, O_RDWR, &lacking);

		if (p->cached == REFUSED)
			check_refused(&plan, -EINVAL);
		else if (p->direct)
			check_refused(&plan, -EOPNOTSUPP);
		else
			check_open(p, O_RDWR, &plan);
	}
}

Test(plan, every_other_capability_can_be_missing)
{
	const struct capabilities poor = {.backing_direct_io = true};

	for (size_t i = 0; i < cache_modes_count; i++)
		cr_assert_eq(plan_open(cache_modes[i].switches, O_RDWR, &poor).error, 0);
}

#define CHECK_WITHHELD(id, field, name)                                                            \
	do {                                                                                       \
		struct capabilities masked = everything;                                           \
		struct capabilities expected = everything;                                         \
                                                                                                   \
		expected.field = false;                                                            \
		capabilities_mask(&masked, CAPABILITY_##id);                                       \
		cr_assert_eq(memcmp(&masked, &expected, sizeof(masked)), 0, "%s", name);           \
	} while (0);

Test(plan, masks_withhold_one_capability_each)
{
	struct capabilities caps = everything;
	const struct capabilities nothing = {.backing_direct_io = false};

	CAPABILITY_TABLE(CHECK_WITHHELD)
	capabilities_mask(&caps, 0);
	cr_assert_eq(memcmp(&caps, &everything, sizeof(caps)), 0);
	capabilities_mask(&caps, ~0U);
	cr_assert_eq(memcmp(&caps, &nothing, sizeof(caps)), 0);
}
