/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kernel path over the death of a process: backing ids. */
#include "resume.h"

static void on_kernel_path(void)
{
	struct fs_opened o;

	told->fhs[0] = make_file(1, "f", "kernel", &told->ids[0]);
	IN_WORKER(fs_open(fs, told->ids[0], O_RDWR | O_APPEND, false, &caller, &o) == 0);
	told->fhs[1] = o.fh;
	IN_WORKER(o.direct_io && o.backing_id == 1);
	fs_release(fs, make_file(1, "closed", "", &told->ids[1]));
	IN_WORKER(backings_open() == 1);
	atomic_store(&told->backing.die, true);
	make_file(1, "dies", "", &told->ids[2]);
	IN_WORKER(false);
}

Test(resume_kpath, the_kernel_path_stays)
{
	const struct handle *h;
	struct fs_opened o;

	begin("writeback");
	config.caps.kernel_path = true;
	config.kernel_path = KERNEL_PATH_AUTO;
	worker(on_kernel_path);
	atomic_store(&told->backing.die, false);
	cr_assert_eq(backings_open(), 2, "one of which nobody knows");
	resume();
	cr_assert_eq(backings_open(), 1);
	h = handle_get(fs, told->fhs[0]);
	cr_assert(h->plan.kernel && !h->plan.fopen_direct_io && h->backing_id == 1);
	h = handle_get(fs, told->fhs[1]);
	cr_assert(!h->plan.kernel && h->plan.fopen_direct_io && h->backing_id == 1);
	cr_assert_eq(h->file->backing_id, 1);
	/* the next open is of the same backing id, as the kernel wants it */
	cr_assert_eq(fs_open(fs, told->ids[0], O_RDONLY, false, &caller, &o), 0);
	cr_assert_eq(o.backing_id, 1);
	fs_release(fs, o.fh);
	fs_release(fs, told->fhs[0]);
	fs_release(fs, told->fhs[1]);
	cr_assert_eq(backings_open(), 0);
	end();
}

static void dies_closing(void)
{
	uint64_t fh = make_file(1, "f", "", &told->ids[0]);

	IN_WORKER(backings_open() == 1);
	atomic_store(&told->backing.die_closing, true);
	fs_release(fs, fh);
	IN_WORKER(false);
}

Test(resume_kpath, a_backing_id_that_was_being_closed)
{
	begin("writeback");
	config.caps.kernel_path = true;
	config.kernel_path = KERNEL_PATH_AUTO;
	worker(dies_closing);
	atomic_store(&told->backing.die_closing, false);
	cr_assert_eq(backings_open(), 1);
	resume();
	cr_assert_eq(backings_open(), 0);
	cr_assert_eq(node_get(fs, told->ids[0])->refs, 1, "the kernel's lookup alone");
	end();
}

/* Opens of one file at once, of which all but one throw their struct file away. */
#define RACE_THREADS 4
#define RACE_FILES 200

static pthread_barrier_t race_barrier;

static void *open_at_once(void *arg)
{
	struct fs_opened o;

	cred_thread_init();
	for (int i = 0; i < RACE_FILES; i++) {
		pthread_barrier_wait(&race_barrier);
		IN_WORKER(fs_open(fs, told->race.ids[i], O_RDWR, false, &caller, &o) == 0);
		if (arg) /* closes while others open, too */
			fs_release(fs, o.fh);
		else
			told->race.fhs[i] = o.fh;
	}
	return NULL;
}

static void race(void)
{
	pthread_t thread[RACE_THREADS - 1];

	for (int i = 0; i < RACE_FILES; i++) {
		char name[16];

		snprintf(name, sizeof(name), "f%d", i);
		fs_release(fs, make_file(1, name, "", &told->race.ids[i]));
	}
	pthread_barrier_init(&race_barrier, NULL, RACE_THREADS);
	for (int i = 0; i < RACE_THREADS - 1; i++)
		IN_WORKER(pthread_create(&thread[i], NULL, open_at_once, told) == 0);
	open_at_once(NULL);
	for (int i = 0; i < RACE_THREADS - 1; i++)
		pthread_join(thread[i], NULL);
	IN_WORKER(backings_open() == RACE_FILES);
}

Test(resume_kpath, the_kernel_path_of_files_opened_at_once)
{
	begin("writeback");
	config.caps.kernel_path = true;
	config.kernel_path = KERNEL_PATH_AUTO;
	worker(race);
	resume();
	cr_assert_eq(backings_open(), RACE_FILES);
	for (int i = 0; i < RACE_FILES; i++) {
		const struct handle *h = handle_get(fs, told->race.fhs[i]);

		cr_assert(h && h->backing_id > 0 && h->file->backing_id == h->backing_id,
			  "f%d: %d, was told %d", i, h->file->backing_id, h->backing_id);
		fs_release(fs, told->race.fhs[i]);
	}
	end();
}
