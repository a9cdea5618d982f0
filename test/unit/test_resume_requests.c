/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests that a killed process had executed, and not answered. */
#include "fuse/abi.h"
#include "resume.h"
#include "supervisor/journal.h"

static void as_request(uint64_t unique, bool resent)
{
	static struct once once;

	once = (struct once){.unique = unique, .resent = resent};
	fs_thread_once(&once);
}

/* Each is executed and published, and its reply never sent. */
static void unanswered(void)
{
	struct fs_opened o;
	struct fs_entry e;

	told->ids[0] = make_dir(1, "d");
	fs_release(fs, make_file(1, "f", "longer", &told->ids[1]));
	as_request(100, false);
	IN_WORKER(fs_open(fs, told->ids[1], O_RDWR | O_TRUNC, false, &caller, &o) == 0);
	told->fhs[0] = o.fh;
	as_request(102, false);
	IN_WORKER(fs_create_file(fs, 1, "new", O_RDWR | O_EXCL, 0600, &caller, &e, &o) == 0);
	told->fhs[1] = o.fh;
	told->ids[2] = e.id;
	as_request(104, false);
	IN_WORKER(fs_tmpfile(fs, 1, O_RDWR, 0600, &caller, &e, &o) == 0);
	told->fhs[2] = o.fh;
	told->ids[3] = e.id;
	as_request(106, false);
	IN_WORKER(fs_opendir(fs, told->ids[0], &told->fhs[3]) == 0);
	as_request(108, false);
	IN_WORKER(fs_open(fs, told->ids[1], O_RDONLY, false, &caller, &o) == 0);
	told->fhs[4] = o.fh;
	as_request(110, false);
	IN_WORKER(fs_lookup(fs, 1, CACHEFS_DIR, &e) == 0 &&
		  fs_opendir(fs, e.id, &told->fhs[5]) == 0);
	/* another one has written since the truncation */
	IN_WORKER(pwrite(handle_get(fs, told->fhs[4])->fd, "x", 1, 0) < 0);
	IN_WORKER(pwrite(handle_get(fs, told->fhs[0])->fd, "since", 5, 0) == 5);
}

Test(resume_requests, an_open_that_comes_again)
{
	struct fs_opened o;
	struct fs_entry e;
	uint64_t fh;

	begin("writeback");
	worker(unanswered);
	resume();
	as_request(100, true);
	cr_assert_eq(fs_open(fs, told->ids[1], O_RDWR | O_TRUNC, false, &caller, &o), 0);
	cr_assert_eq(o.fh, told->fhs[0]);
	cr_assert(o.direct_io && o.noflush && o.parallel_direct_writes && !o.backing_id);
	cr_assert(handle_reads(o.fh, "since"), "truncated again");
	as_request(102, true);
	cr_assert_eq(fs_create_file(fs, 1, "new", O_RDWR | O_EXCL, 0600, &caller, &e, &o), 0);
	cr_assert(o.fh == told->fhs[1] && e.id == told->ids[2]);
	cr_assert_eq(e.st.stx_mode, S_IFREG | 0600);
	cr_assert_eq(lookups_of(e.id), 1);
	as_request(104, true);
	cr_assert_eq(fs_tmpfile(fs, 1, O_RDWR, 0600, &caller, &e, &o), 0);
	cr_assert(o.fh == told->fhs[2] && e.id == told->ids[3]);
	cr_assert_eq(lookups_of(e.id), 1);
	as_request(106, true);
	cr_assert_eq(fs_opendir(fs, told->ids[0], &fh), 0);
	cr_assert_eq(fh, told->fhs[3]);
	as_request(110, true);
	cr_assert_eq(fs_lookup(fs, 1, CACHEFS_DIR, &e), 0);
	cr_assert_eq(fs_opendir(fs, e.id, &fh), 0);
	cr_assert_eq(fh, told->fhs[5]);
	/* one that nobody executed, and one that never came before */
	as_request(112, true);
	cr_assert_eq(fs_open(fs, told->ids[1], O_RDONLY, false, &caller, &o), 0);
	cr_assert_neq(o.fh, told->fhs[4]);
	as_request(108, false);
	cr_assert_eq(fs_open(fs, told->ids[1], O_RDONLY, false, &caller, &o), 0);
	cr_assert_neq(o.fh, told->fhs[4]);
	fs_thread_once(NULL);
	end();
}

/* As fuse/dispatch.c does it. */
static void journalled(uint64_t unique, bool resent)
{
	static struct once once;

	once = (struct once){.unique = unique, .resent = resent};
	if (resent)
		once_found(&once, journal_find(shared->journal, unique));
	if (!once.entry)
		once.entry = journal_take(shared->journal, unique, FUSE_CREATE, resent);
	fs_thread_once(&once);
}

static int create(const char *name, int flags, struct fs_entry *e, struct fs_opened *o)
{
	return fs_create_file(fs, 1, name, O_RDWR | flags, 0400, &caller, e, o);
}

/* Each dies in the registration with the kernel path: made, looked up, and not published. */
static void dies_creating(void)
{
	struct fs_opened o;
	struct fs_entry e;

	atomic_store(&told->backing.die, true);
	journalled(200, false);
	create("new", O_EXCL, &e, &o);
	IN_WORKER(false);
}

static struct journal_entry *entry_of(uint64_t unique)
{
	struct journal_entry *e;

	cr_assert_eq(journal_resume(shared->journal), 0);
	e = journal_find(shared->journal, unique);
	cr_assert_not_null(e);
	return e;
}

static void creates_again(enum journal_state state)
{
	struct fs_opened o;
	struct fs_entry e;
	struct stat st;

	begin("writeback");
	config.caps.kernel_path = true;
	config.kernel_path = KERNEL_PATH_AUTO;
	worker(dies_creating);
	atomic_store(&told->backing.die, false);
	atomic_store(&entry_of(200)->state, state);
	cr_assert_eq(journal_resume(shared->journal), 0);
	resume();
	cr_assert_eq(fstatat(fs->root_fd, "new", &st, 0), 0);
	journalled(200, true);
	cr_assert_eq(create("new", O_EXCL, &e, &o), 0);
	cr_assert_eq(e.st.stx_ino, st.st_ino);
	cr_assert_eq(e.st.stx_mode, S_IFREG | 0400);
	cr_assert_eq(lookups_of(e.id), 1, "the dead one's is given back");
	cr_assert(handle_get(fs, o.fh)->can_write);
	/* the next one is another one */
	journalled(202, false);
	cr_assert_eq(create("new", O_EXCL, &e, &o), -EEXIST);
	fs_thread_once(NULL);
	end();
}

Test(resume_requests, a_create_that_was_made)
{
	creates_again(JOURNAL_DONE);
}

Test(resume_requests, a_create_that_was_perhaps_made)
{
	creates_again(JOURNAL_BEGUN);
}

/* Its file was there before: not its own, begun or not. */
static void dies_before_creating(void)
{
	uint64_t id;

	fs_release(fs, make_file(1, "old", "older", &id));
	usleep(50000); /* a tick of the filesystem's clock and more */
	fs_release(fs, make_file(1, "later", "", &id));
	journalled(204, false);
	once_making(fs->root_fd);
}

Test(resume_requests, a_create_that_was_not_made)
{
	struct fs_opened o;
	struct fs_entry e;

	begin("writeback");
	worker(dies_before_creating);
	cr_assert_eq(journal_resume(shared->journal), 0);
	resume();
	journalled(204, true);
	cr_assert_eq(create("old", O_EXCL, &e, &o), -EEXIST);
	fs_thread_once(NULL);
	cr_assert_eq(create("old", 0, &e, &o), 0);
	cr_assert(handle_reads(o.fh, "older"));
	end();
}
