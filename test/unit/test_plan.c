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
    .kernel_path = true,
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

static const enum kernel_path kernel_paths[] = {
    KERNEL_PATH_AUTO,
    KERNEL_PATH_ALWAYS,
    KERNEL_PATH_NEVER,
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
	cr_assert_eq(plan->direct, p->cached == NO);
	cr_assert_eq(plan->write_rwf, p->stable == YES ? RWF_DSYNC : 0);
	cr_assert_eq(plan->flush, p->flushed == YES ? FLUSH_EXECUTE : FLUSH_DROP);
	cr_assert_eq(plan->sync_metadata, p->stable == YES);
	cr_assert(plan->fopen_noflush);
	cr_assert_eq(plan->fopen_parallel_direct_writes, (client_flags & O_APPEND) == 0);
}

/*
 * On the kernel path only the client's own flags count: O_DIRECT alone bypasses the page cache, and
 * with O_SYNC or O_DSYNC each write is flushed. So those must be what the mode promises, or
 * (always) the inode's sync attribute adds what is missing. O_APPEND cannot be followed when a
 * client clears it.
 */
static void check_kernel_path(const struct promised *p, enum kernel_path kernel_path,
			      int client_flags, const struct plan *plan)
{
	bool always = kernel_path == KERNEL_PATH_ALWAYS;
	bool possible =
	    kernel_path != KERNEL_PATH_NEVER && (always || (p->cached == YES && p->stable == NO));
	bool flushes = (client_flags & O_SYNC) != 0; /* has the bit of O_DSYNC in it */
	bool bypasses = (client_flags & O_DIRECT) != 0;
	bool means_it = bypasses == (p->cached == NO) && !(flushes && p->flushed == NO) &&
			!(client_flags & O_APPEND);

	cr_assert_eq(plan->backing_id, possible, "client flags %o", client_flags);
	cr_assert_eq(plan->kernel, possible && means_it, "client flags %o", client_flags);
	/* setting the attribute changes the file's ctime, which readers must not */
	cr_assert_eq(plan->kernel_sync,
		     plan->kernel && p->stable == YES && (client_flags & O_ACCMODE) != O_RDONLY);
	cr_assert_eq(plan->fopen_direct_io, !plan->kernel);
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
	cr_assert_not(plan->direct || plan->sync_metadata);
	cr_assert_not(plan->fopen_direct_io || plan->fopen_parallel_direct_writes);
	cr_assert_not(plan->fopen_noflush || plan->kernel || plan->backing_id || plan->kernel_sync);
	cr_assert_eq(plan->write_rwf, 0);
}

ParameterizedTestParameters(plan, switches)
{
	return cr_make_param_array(struct promised, (void *)promises,
				   sizeof(promises) / sizeof(promises[0]), NULL);
}

static void check_flags(const struct promised *p, enum kernel_path kernel_path, int flags,
			const struct capabilities *caps)
{
	const struct switches sw = {p->direct, p->writeback, p->no_flush};
	struct plan plan = plan_open(sw, kernel_path, flags, caps);

	if (p->cached == REFUSED) {
		check_refused(&plan, -EINVAL);
		return;
	}
	cr_assert_eq(plan.error, 0);
	check_open(p, flags, &plan);
	check_kernel_path(p, caps->kernel_path ? kernel_path : KERNEL_PATH_NEVER, flags, &plan);
	check_write(p, flags, &plan);
	/* Flags of the write count, not those of the open. */
	check_write(p, 0, &plan);
	check_write(p, O_DSYNC, &plan);
	check_write(p, O_SYNC, &plan);
}

static void check_all_flags(const struct promised *p, enum kernel_path kernel_path,
			    const struct capabilities *caps)
{
	for (size_t a = 0; a < sizeof(access_modes) / sizeof(access_modes[0]); a++)
		for (unsigned int c = 0; c < 1U << FLAG_BITS; c++)
			check_flags(p, kernel_path, access_modes[a] | flags_of(c), caps);
}

ParameterizedTest(struct promised *p, plan, switches)
{
	struct capabilities lacking = everything;

	lacking.kernel_path = false;
	for (size_t i = 0; i < sizeof(kernel_paths) / sizeof(kernel_paths[0]); i++) {
		check_all_flags(p, kernel_paths[i], &everything);
		check_all_flags(p, kernel_paths[i], &lacking);
	}
}

/* The table of the manual, by name. */
static const struct who {
	const char *mode;
	int flags;
	bool kernel;
} clients[] = {
    {"writeback", 0, true},
    {"writeback", O_SYNC, true},
    {"writeback", O_DSYNC, true},
    {"writeback", O_DIRECT, false},
    {"writeback", O_APPEND, false},
    {"unsafe", 0, true},
    {"unsafe", O_SYNC, false},
    {"unsafe", O_DSYNC, false},
    {"unsafe", O_DIRECT, false},
    {"unsafe", O_APPEND, false},
    {"none", 0, false},
    {"none", O_DIRECT, false},
    {"directsync", 0, false},
    {"directsync", O_DIRECT | O_DSYNC, false},
    {"writethrough", 0, false},
    {"writethrough", O_DSYNC, false},
};

Test(plan, who_is_on_the_kernel_path)
{
	for (size_t i = 0; i < sizeof(clients) / sizeof(clients[0]); i++) {
		const struct who *w = &clients[i];
		bool found = false;

		for (size_t m = 0; m < cache_modes_count; m++) {
			struct plan plan;

			if (strcmp(cache_modes[m].name, w->mode) != 0)
				continue;
			found = true;
			plan = plan_open(cache_modes[m].switches, KERNEL_PATH_AUTO,
					 O_RDWR | w->flags, &everything);
			cr_assert_eq(plan.kernel, w->kernel, "%s, %o", w->mode, w->flags);
		}
		cr_assert(found, "%s", w->mode);
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

Test(plan, direct_needs_direct_io_of_the_backing)
{
	struct capabilities lacking = everything;

	lacking.backing_direct_io = false;
	for (size_t i = 0; i < sizeof(promises) / sizeof(promises[0]); i++) {
		const struct promised *p = &promises[i];
		const struct switches sw = {p->direct, p->writeback, p->no_flush};
		struct plan plan = plan_open(sw, KERNEL_PATH_AUTO, O_RDWR, &lacking);

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
		cr_assert_eq(
		    plan_open(cache_modes[i].switches, KERNEL_PATH_AUTO, O_RDWR, &poor).error, 0);
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
