/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is known of open files as soon as a successor serves, and what it sees to afterwards. */
#include "resume.h"

#include <sys/xattr.h>

static atomic_bool held; /* what a resume does in the background does not begin */

static void held_init(enum lane lane)
{
	thread_init(lane);
	while (lane == LANE_FLUSH && atomic_load(&held))
		usleep(1000);
}

/* As resume(), before anything in the background is done. */
static void resume_held(void)
{
	sweep_fds();
	atomic_store(&held, true);
	cr_assert_eq(pool_create(&config.pool, held_init), 0);
	cr_assert_eq(fs_create(&config, &fs), 0);
	cr_assert(atomic_load(&fs->resuming));
}

/* And now it is; within a minute. */
static void go_on(void)
{
	atomic_store(&held, false);
	for (int i = 0; atomic_load(&fs->resuming) && i < 60000; i++)
		usleep(1000);
	cr_assert_not(atomic_load(&fs->resuming));
}

static struct switches switches_of(const char *mode)
{
	struct switches sw;

	cr_assert_eq(mode_parse(mode, strlen(mode), &sw), 0);
	return sw;
}

static bool has_mode(const char *mode, enum cachefs_origin origin)
{
	struct fs_mode_shown shown;

	return !fs_mode_show(fs, told->ids[0], &shown) && !shown.pending &&
	       shown.origin == origin && switches_equal(shown.switches, switches_of(mode));
}

static bool waits_for(const char *mode, enum cachefs_origin origin)
{
	struct fs_mode_shown shown;

	return !fs_mode_show(fs, told->ids[0], &shown) && shown.pending &&
	       shown.pending_origin == origin &&
	       switches_equal(shown.pending_switches, switches_of(mode));
}

static void open_one(void)
{
	told->fhs[0] = make_file(1, "f", "contents", &told->ids[0]);
	IN_WORKER(told->fhs[0]);
}

/* ---- nothing is owed ---- */

Test(resume_files, who_is_owed_nothing_is_not_stopped)
{
	struct claim read = {.kind = CLAIM_READ, .start = 0, .end = UINT64_MAX};
	struct file *f;

	begin("writeback");
	worker(open_one);
	resume_held();
	f = handle_get(fs, told->fhs[0])->file;
	cr_assert(iolock_acquire(&f->range, &read));
	go_on(); /* which a gate would not */
	iolock_release(&f->range, &read);
	cr_assert(has_mode("writeback", CACHEFS_ORIGIN_MOUNT));
	end();
}

/* ---- modes ---- */

static void store_behind_the_mount(const char *mode)
{
	char path[5000];

	snprintf(path, sizeof(path), "%s/f", directory);
	cr_assert_eq(setxattr(path, CACHEFS_XATTR_STORED, mode, strlen(mode), 0), 0);
}

Test(resume_files, a_mode_that_was_stored_while_nobody_served)
{
	begin("writeback");
	worker(open_one);
	store_behind_the_mount("writethrough");
	resume_held();
	cr_assert(has_mode("writeback", CACHEFS_ORIGIN_MOUNT), "it is in force still");
	go_on();
	cr_assert(has_mode("writethrough", CACHEFS_ORIGIN_STORED));
	cr_assert(handle_get(fs, told->fhs[0])->plan.sync_metadata);
	end();
}

/* The request has set what the mode is made from, and was killed before it looked at the file. */
static void ask_for_a_mode(void)
{
	struct switches sw;

	open_one();
	IN_WORKER(mode_parse("writethrough", 12, &sw) == 0);
	node_set_runtime(fs, node_get(fs, told->ids[0]),
			 (uint8_t)(NODE_RUNTIME | switches_pack(sw)));
}

Test(resume_files, a_mode_that_was_asked_for_and_not_in_force)
{
	begin("writeback");
	worker(ask_for_a_mode);
	resume_held();
	cr_assert(has_mode("writeback", CACHEFS_ORIGIN_MOUNT));
	go_on();
	cr_assert(has_mode("writethrough", CACHEFS_ORIGIN_RUNTIME));
	cr_assert(handle_get(fs, told->fhs[0])->plan.sync_metadata);
	end();
}

static void ask_on_the_kernel_path(void)
{
	struct fs_mode_change c = {.uid = 0, .pending_ok = true};

	open_one();
	IN_WORKER(handle_get(fs, told->fhs[0])->plan.kernel);
	IN_WORKER(mode_parse("none", 4, &c.switches) == 0);
	IN_WORKER(fs_mode_change(fs, told->ids[0], &c) == 0);
	IN_WORKER(waits_for("none", CACHEFS_ORIGIN_RUNTIME));
}

Test(resume_files, a_mode_that_waits_for_a_close)
{
	struct fs_opened o;

	begin("writeback");
	if (!config.caps.backing_direct_io || !config.privileged)
		cr_skip_test("needs root, and direct I/O on the filesystem of the test");
	config.caps.kernel_path = true;
	config.kernel_path = KERNEL_PATH_AUTO;
	worker(ask_on_the_kernel_path);
	resume_held();
	cr_assert(waits_for("none", CACHEFS_ORIGIN_RUNTIME), "at once");
	go_on();
	cr_assert(waits_for("none", CACHEFS_ORIGIN_RUNTIME));
	cr_assert_eq(fs_open(fs, told->ids[0], O_RDWR, false, &caller, &o), 0);
	cr_assert_not(handle_get(fs, o.fh)->plan.direct);
	fs_release(fs, told->fhs[0]);
	fs_release(fs, o.fh);
	cr_assert_eq(fs_open(fs, told->ids[0], O_RDWR, false, &caller, &o), 0);
	cr_assert(has_mode("none", CACHEFS_ORIGIN_RUNTIME));
	cr_assert(handle_get(fs, o.fh)->plan.direct);
	end();
}

/* It waits no more, since nobody else has the file open: as if killed before that was done. */
static void ask_and_close(void)
{
	ask_on_the_kernel_path();
	handle_get(fs, told->fhs[0])->rec->kernel = false;
}

Test(resume_files, a_mode_that_waits_for_nobody_any_more)
{
	begin("writeback");
	if (!config.caps.backing_direct_io || !config.privileged)
		cr_skip_test("needs root, and direct I/O on the filesystem of the test");
	config.caps.kernel_path = true;
	config.kernel_path = KERNEL_PATH_AUTO;
	worker(ask_and_close);
	resume_held();
	cr_assert(waits_for("none", CACHEFS_ORIGIN_RUNTIME));
	go_on();
	cr_assert(has_mode("none", CACHEFS_ORIGIN_RUNTIME));
	cr_assert(fcntl(handle_get(fs, told->fhs[0])->fd, F_GETFL) & O_DIRECT);
	end();
}

/* A program before this one did not note what is wanted. */
static void forget_what_is_wanted(void)
{
	ask_for_a_mode();
	node_get(fs, told->ids[0])->rec->owes.wanted = 0;
}

Test(resume_files, what_is_wanted_is_not_known)
{
	begin("writeback");
	worker(forget_what_is_wanted);
	resume_held();
	cr_assert(has_mode("writeback", CACHEFS_ORIGIN_MOUNT));
	go_on();
	cr_assert(has_mode("writethrough", CACHEFS_ORIGIN_RUNTIME));
	end();
}

/* ---- the alignment of direct I/O ---- */

static void note_alignments(void)
{
	static const unsigned char noted[][2] = {{0, 0}, {3, 14}, {1, OWES_NO_DIO}, {3, 0}};
	char name[2] = "a";

	for (int i = 0; i < 4; i++, name[0]++) {
		const struct file *f;
		struct node *n;

		IN_WORKER(make_file(1, name, "", &told->ids[i]));
		n = node_get(fs, told->ids[i]);
		f = n->file;
		told->fhs[0] = (uint64_t)f->dio_mem << 32 | f->dio_offset;
		IN_WORKER(f->dio_error || 1u << (n->rec->owes.dio_mem - 1) == f->dio_mem);
		IN_WORKER(f->dio_error || 1u << (n->rec->owes.dio_offset - 1) == f->dio_offset);
		n->rec->owes.dio_mem = noted[i][0];
		n->rec->owes.dio_offset = noted[i][1];
	}
}

Test(resume_files, an_alignment_is_not_asked_for_again)
{
	const struct file *f[4];

	begin("writeback");
	worker(note_alignments);
	resume();
	for (int i = 0; i < 4; i++)
		f[i] = node_get(fs, told->ids[i])->file;
	/* but where it is not known */
	cr_assert_eq((uint64_t)f[0]->dio_mem << 32 | f[0]->dio_offset, told->fhs[0]);
	cr_assert_eq((uint64_t)f[3]->dio_mem << 32 | f[3]->dio_offset, told->fhs[0]);
	cr_assert(f[1]->dio_mem == 4 && f[1]->dio_offset == 8192 && !f[1]->dio_error);
	cr_assert_eq(f[2]->dio_error, -EOPNOTSUPP);
	end();
}
