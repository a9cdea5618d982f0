/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kernel knows by id, after the process that told it was killed. */
#include "resume.h"
#include "fuse/abi.h"
#include "supervisor/journal.h"

/* ---- nodes, handles ---- */

static void look_around(void)
{
	struct fs_opened o;

	told->ids[0] = make_dir(1, "d");
	told->fhs[0] = make_file(told->ids[0], "f", "contents", &told->ids[1]);
	IN_WORKER(told->ids[0] && told->fhs[0]);
	IN_WORKER(look_up(told->ids[0], "f") == told->ids[1]);
	IN_WORKER(look_up(told->ids[0], "f") == told->ids[1]);
	IN_WORKER(fs_open(fs, told->ids[1], O_WRONLY | O_APPEND, false, &caller, &o) == 0);
	told->fhs[1] = o.fh;
	/* forgotten before, and closed before */
	told->fhs[2] = make_file(1, "gone", "", &told->ids[2]);
	fs_release(fs, told->fhs[2]);
	fs_forget(fs, told->ids[2], 1);
}

Test(resume, ids_stay)
{
	const struct handle *h;

	begin("writeback");
	worker(look_around);
	resume();
	cr_assert(node_get(fs, told->ids[0]) && node_get(fs, told->ids[1]));
	cr_assert_eq(lookups_of(told->ids[1]), 3);
	cr_assert_eq(lookups_of(told->ids[0]), 1);
	cr_assert_null(node_get(fs, told->ids[2]));
	cr_assert_null(handle_get(fs, told->fhs[2]));
	cr_assert(handle_reads(told->fhs[0], "contents"));
	h = handle_get(fs, told->fhs[1]);
	cr_assert(h && h->can_write && !h->can_read);
	cr_assert_eq(h->rec->client_flags, O_WRONLY | O_APPEND);
	cr_assert_eq(h->file, handle_get(fs, told->fhs[0])->file);
	cr_assert_eq(h->file->opens, 2);
	/* the same file is the same node, and a new one has an id that nobody ever had */
	cr_assert_eq(look_up(told->ids[0], "f"), told->ids[1]);
	cr_assert_neq(look_up(1, "gone"), told->ids[2]);
	/* known as long as the kernel knows it or has it open, and no longer */
	fs_forget(fs, told->ids[1], 4);
	cr_assert_not_null(node_get(fs, told->ids[1]));
	fs_release(fs, told->fhs[0]);
	fs_release(fs, told->fhs[1]);
	cr_assert_null(node_get(fs, told->ids[1]));
	fs_forget(fs, told->ids[0], 1);
	cr_assert_null(node_get(fs, told->ids[0]));
	end();
}

static void again(void)
{
	IN_WORKER(look_up(told->ids[0], "f") == told->ids[1]);
	IN_WORKER(handle_reads(told->fhs[0], "contents"));
}

Test(resume, one_after_another)
{
	begin("writeback");
	worker(look_around);
	for (int i = 0; i < 20; i++)
		worker(again);
	resume();
	cr_assert_eq(lookups_of(told->ids[1]), 23);
	cr_assert(handle_reads(told->fhs[0], "contents"));
	end();
}

/* ---- names ---- */

#define LONG "n23456789.123456789.123456789.123456789.123456789.123456789.123456789."

static void names(void)
{
	char name[256];
	struct fs_entry e;
	uint64_t id, d, d2;

	d = make_dir(1, "d");
	d2 = make_dir(d, LONG);
	IN_WORKER(make_file(d2, "plain", "", &told->ids[0]));
	IN_WORKER(make_file(d2, LONG LONG LONG, "", &told->ids[1]));
	/* lengths around those of a record's part, and the longest */
	memset(name, 'x', sizeof(name));
	for (unsigned len = 1, i = 2; len < 256; len = len < 47 ? 47 : len < 97 ? len + 1 : len + 79) {
		name[len] = 0;
		IN_WORKER(make_file(d, name, "", &id));
		name[len] = 'x';
		if (len == 47 || len == 48 || len == 49 || len == 96 || len == 97 || len == 255)
			told->ids[i++] = id;
		IN_WORKER(i <= SEEN);
	}
	name[255] = 0;
	told->ids[7] = look_up(d, name) ? look_up(d, name) : make_file(d, name, "", &id) ? id : 0;
	/* hard links, of which one goes, one moves, and one is looked up anew */
	IN_WORKER(make_file(d, "one", "", &told->ids[8]));
	for (const char *const *n = (const char *const[]){ "two", "three", "four", LONG, NULL }; *n;
	     n++)
		IN_WORKER(fs_link(fs, told->ids[8], d2, *n, &e) == 0);
	IN_WORKER(fs_unlink(fs, d2, "three") == 0);
	IN_WORKER(fs_rename(fs, d2, "two", 1, "moved", 0) == 0);
	IN_WORKER(look_up(d, "one") == told->ids[8]);
	IN_WORKER(make_file(1, "before", "", &told->ids[9]));
	IN_WORKER(fs_rename(fs, 1, "before", d2, "after", 0) == 0);
	IN_WORKER(fs_rename(fs, 1, "d", 1, "dir", 0) == 0);
	for (int i = 0; i < 10; i++)
		paths_of(told->ids[i], told->text[i]);
}

static void check_names(void)
{
	char text[4096];

	for (int i = 0; i < 10; i++) {
		paths_of(told->ids[i], text);
		cr_assert_str_eq(text, told->text[i], "%d", i);
		cr_assert_str_neq(text, "");
	}
}

Test(resume, names_stay)
{
	uint32_t used;
	char text[4096];

	begin("writeback");
	worker(names);
	cr_assert_str_eq(told->text[0], "dir/" LONG "/plain\n");
	cr_assert_str_eq(told->text[9], "dir/" LONG "/after\n");
	cr_assert_not_null(strstr(told->text[8], "moved\n"));
	cr_assert_null(strstr(told->text[8], "three\n"));
	resume();
	check_names();
	used = arena_used(fs->names);
	/* changes go on where they were */
	cr_assert_eq(fs_unlink(fs, 1, "moved"), 0);
	paths_of(told->ids[8], text);
	cr_assert_null(strstr(text, "moved\n"));
	cr_assert_not_null(strstr(text, "dir/one\n"));
	cr_assert_eq(arena_used(fs->names), used - 1);
	end();
}

/* A file is found by its name where there are no file handles, or they are not allowed. */
static void found_by_name(void)
{
	uint64_t id = make_dir(1, "d");

	told->fhs[0] = make_file(id, "f", "by name", &told->ids[0]);
	fs_release(fs, told->fhs[0]);
	path_fd_drop(fs, node_get(fs, told->ids[0]));
	path_fd_drop(fs, node_get(fs, id));
}

Test(resume, found_by_name)
{
	struct fs_opened o;

	begin("writeback");
	config.caps.file_handles = false;
	worker(found_by_name);
	resume();
	cr_assert_eq(fs_open(fs, told->ids[0], O_RDONLY, false, &caller, &o), 0);
	cr_assert(handle_reads(o.fh, "by name"));
	end();
}

/* ---- files without a name ---- */

static void nameless(void)
{
	struct fs_opened o;
	struct fs_entry e;

	told->fhs[0] = make_file(1, "f", "unlinked", &told->ids[0]);
	IN_WORKER(told->fhs[0] && fs_unlink(fs, 1, "f") == 0);
	IN_WORKER(fs_tmpfile(fs, 1, O_RDWR, 0600, &caller, &e, &o) == 0);
	told->ids[1] = e.id;
	told->fhs[1] = o.fh;
	IN_WORKER(pwrite(handle_get(fs, o.fh)->fd, "tmpfile", 7, 0) == 7);
	/* killed between unlink(2) and the note of it, and where nothing was removed */
	for (int i = 3; i < 5; i++) {
		char name[2] = { (char)('a' + i), 0 };
		struct node *n;

		fs_release(fs, make_file(1, name, "", &told->ids[i]));
		n = node_get(fs, told->ids[i]);
		node_ref(fs, n);
		IN_WORKER(node_hold(fs, n).node == n);
		IN_WORKER(i == 4 || unlinkat(fs->root_fd, name, 0) == 0);
	}
	/* known to the kernel by its working directory alone */
	told->ids[2] = make_dir(1, "cwd");
	IN_WORKER(fs_rmdir(fs, 1, "cwd") == 0);
}

Test(resume, files_without_a_name)
{
	struct fs_entry e;
	struct statx st;
	int left;

	begin("writeback");
	worker(nameless);
	resume();
	cr_assert(handle_reads(told->fhs[0], "unlinked"));
	cr_assert(handle_reads(told->fhs[1], "tmpfile"));
	while (fs->fds.lru) /* as if many others were needed */
		path_fd_drop(fs, fs->fds.lru);
	for (int i = 0; i < 5; i++)
		cr_assert_eq(fs_getattr(fs, told->ids[i], FS_NO_HANDLE, &st), 0, "%d", i);
	cr_assert(node_get(fs, told->ids[3])->rec->retained);
	cr_assert_not(node_get(fs, told->ids[4])->rec->retained);
	cr_assert_eq(fs_link(fs, told->ids[1], 1, "linked", &e), 0);
	cr_assert_eq(e.id, told->ids[1]);
	/* their blocks are free when the kernel has forgotten them */
	left = each_open_fd(NULL);
	fs_release(fs, told->fhs[0]);
	fs_forget(fs, told->ids[0], 1);
	fs_forget(fs, told->ids[2], 1);
	cr_assert_eq(each_open_fd(NULL), left - 3);
	end();
}

/* ---- directories ---- */

static struct {
	unsigned seen[100], stop;
	uint64_t next;
} listing;

static bool emit(void *arg, const struct fs_dirent *d)
{
	(void)arg;
	if (!listing.stop)
		return false;
	listing.stop--;
	listing.next = d->next;
	if (d->name[0] == 'e')
		listing.seen[atoi(d->name + 1)]++;
	return true;
}

static void half_read(void)
{
	told->ids[0] = make_dir(1, "d");
	for (int i = 0; i < 100; i++) {
		char name[16];
		uint64_t id;

		snprintf(name, sizeof(name), "e%d", i);
		fs_release(fs, make_file(told->ids[0], name, "", &id));
	}
	IN_WORKER(fs_opendir(fs, told->ids[0], &told->fhs[0]) == 0);
	listing.stop = 37;
	IN_WORKER(fs_readdir(fs, told->ids[0], told->fhs[0], 0, 32768, 24, false, emit, NULL) == 0);
	memcpy(told->text[0], &listing, sizeof(listing));
}

Test(resume, a_directory_half_read)
{
	begin("writeback");
	worker(half_read);
	resume();
	memcpy(&listing, told->text[0], sizeof(listing));
	for (uint64_t last = 0; listing.next != last;) {
		last = listing.next;
		listing.stop = 1000;
		cr_assert_eq(fs_readdir(fs, told->ids[0], told->fhs[0], last, 32768, 24, false,
					emit, NULL),
			     0);
	}
	for (int i = 0; i < 100; i++)
		cr_assert_eq(listing.seen[i], 1, "e%d: %u times", i, listing.seen[i]);
	end();
}

/* ---- reports ---- */

static void report_half_read(void)
{
	struct fs_opened o;
	struct fs_entry dir, e;

	IN_WORKER(fs_lookup(fs, 1, CACHEFS_DIR, &dir) == 0);
	IN_WORKER(fs_lookup(fs, dir.id, CACHEFS_STATUS_FILE, &e) == 0);
	IN_WORKER(fs_open(fs, e.id, O_RDONLY, false, &caller, &o) == 0);
	told->fhs[0] = o.fh;
	told->fhs[1] = handle_get(fs, o.fh)->report->len;
	memcpy(told->text[0], handle_get(fs, o.fh)->report->text, MIN(told->fhs[1], 4095));
	IN_WORKER(fs_opendir(fs, dir.id, &told->fhs[2]) == 0);
	IN_WORKER(make_file(1, "another", "", &told->ids[0]));
}

Test(resume, a_report_half_read)
{
	const struct handle *h;

	begin("writeback");
	worker(report_half_read);
	resume();
	h = handle_get(fs, told->fhs[0]);
	cr_assert(h && h->report);
	cr_assert_eq(h->report->len, told->fhs[1]);
	cr_assert_eq(memcmp(h->report->text, told->text[0], MIN(told->fhs[1], 4095)), 0);
	h = handle_get(fs, told->fhs[2]);
	cr_assert(h && h->report && !h->report->text);
	listing.stop = 100;
	cr_assert_eq(fs_readdir(fs, h->rec->node, told->fhs[2], 0, 4096, 24, false, emit, NULL), 0);
	end();
}

/* ---- requests that come again ---- */

static void as_request(uint64_t unique, bool resent)
{
	static struct once once;

	once = (struct once){ .unique = unique, .resent = resent };
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
	IN_WORKER(fs_lookup(fs, 1, CACHEFS_DIR, &e) == 0 && fs_opendir(fs, e.id, &told->fhs[5]) == 0);
	/* another one has written since the truncation */
	IN_WORKER(pwrite(handle_get(fs, told->fhs[4])->fd, "x", 1, 0) < 0);
	IN_WORKER(pwrite(handle_get(fs, told->fhs[0])->fd, "since", 5, 0) == 5);
}

Test(resume, an_open_that_comes_again)
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

	once = (struct once){ .unique = unique, .resent = resent };
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

Test(resume, a_create_that_was_made)
{
	creates_again(JOURNAL_DONE);
}

Test(resume, a_create_that_was_perhaps_made)
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

Test(resume, a_create_that_was_not_made)
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

/* ---- killed in the middle ---- */

static void half_made(void)
{
	struct handle_record *h;
	struct node *n;

	told->fhs[0] = make_file(1, "f", "whole", &told->ids[0]);
	/* a handle that was not published: its open comes again */
	told->fhs[1] = make_file(1, "g", "", &told->ids[1]);
	h = handle_get(fs, told->fhs[1])->rec;
	h->state = HANDLE_MADE;
	/* a node whose lookup was not counted yet, below another of that kind */
	told->ids[2] = make_dir(1, "d");
	told->ids[3] = make_dir(told->ids[2], "e");
	for (int i = 2; i < 4; i++) {
		n = node_get(fs, told->ids[i]);
		n->rec->nlookup = 0;
	}
	/* one whose record is filled and not published, one that was withdrawn and not freed */
	told->ids[4] = make_dir(1, "h");
	node_get(fs, told->ids[4])->rec->in_use = 0;
	/* a name that nobody has, one that has no parent, and one in a circle */
	IN_WORKER(name_record_make(fs, 1, "nobody's " LONG));
	told->ids[5] = make_dir(1, "i");
	n = node_get(fs, told->ids[5]);
	n->rec->names = name_record_make(fs, 4711, "lost " LONG);
	told->ids[6] = make_dir(1, "j");
	n = node_get(fs, told->ids[6]);
	((struct name_record *)arena_record(fs->names, n->name_rec))->next = n->name_rec;
}

Test(resume, half_made_records_are_free)
{
	char text[4096];

	begin("writeback");
	worker(half_made);
	resume();
	cr_assert(handle_reads(told->fhs[0], "whole"));
	cr_assert_null(handle_get(fs, told->fhs[1]));
	cr_assert_not_null(node_get(fs, told->ids[1]));
	for (int i = 2; i < 5; i++)
		cr_assert_null(node_get(fs, told->ids[i]), "%d", i);
	cr_assert_not_null(node_get(fs, told->ids[5]));
	paths_of(told->ids[5], text);
	cr_assert_str_eq(text, "");
	paths_of(told->ids[6], text);
	cr_assert_str_eq(text, "j\n");
	cr_assert_eq(arena_used(fs->handles), 1);
	cr_assert_eq(arena_used(fs->nodes), 5); /* the root, f, g, i, j */
	cr_assert_eq(arena_used(fs->names), 3); /* f, g, j */
	end();
}

/* ---- the kernel path ---- */

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

Test(resume, the_kernel_path_stays)
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

Test(resume, a_backing_id_that_was_being_closed)
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

Test(resume, the_kernel_path_of_files_opened_at_once)
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

/* ---- a close ---- */

/* The flush after the last close has closed the descriptor, and the handle is still known. */
static void half_closed(void)
{
	struct handle *h;
	int fd;

	told->fhs[0] = make_file(1, "f", "", &told->ids[0]);
	h = handle_get(fs, told->fhs[0]);
	fd = h->fd;
	handle_give_fd(h);
	close(fd);
	told->fhs[1] = make_file(1, "g", "another's", &told->ids[1]);
	IN_WORKER(handle_get(fs, told->fhs[1])->fd == fd);
}

Test(resume, a_descriptor_that_was_given_away)
{
	begin("writeback");
	worker(half_closed);
	resume();
	cr_assert_eq(handle_get(fs, told->fhs[0])->fd, -1);
	fs_release(fs, told->fhs[0]); /* which comes again */
	cr_assert(handle_reads(told->fhs[1], "another's"));
	end();
}

/* ---- modes ---- */

static void in_modes(void)
{
	struct fs_mode_change c = { .uid = 0 };

	told->fhs[0] = make_file(1, "f", "", &told->ids[0]);
	IN_WORKER(mode_parse("none", 4, &c.switches) == 0);
	IN_WORKER(fs_mode_change(fs, told->ids[0], &c) == 0);
	/* in the middle of a change: the record says what is in force, not the descriptor */
	told->fhs[1] = make_file(1, "g", "", &told->ids[1]);
	fcntl(handle_get(fs, told->fhs[1])->fd, F_SETFL, O_DIRECT);
}

Test(resume, modes_stay)
{
	struct fs_mode_shown shown;

	begin("writeback");
	if (!config.caps.backing_direct_io)
		cr_skip_test("no direct I/O on the filesystem of the test");
	worker(in_modes);
	resume();
	cr_assert_eq(fs_mode_show(fs, told->ids[0], &shown), 0);
	cr_assert(shown.switches.direct && shown.origin == CACHEFS_ORIGIN_RUNTIME);
	cr_assert(fcntl(handle_get(fs, told->fhs[0])->fd, F_GETFL) & O_DIRECT);
	cr_assert_eq(fs_mode_show(fs, told->ids[1], &shown), 0);
	cr_assert_not(shown.switches.direct);
	cr_assert_not(fcntl(handle_get(fs, told->fhs[1])->fd, F_GETFL) & O_DIRECT);
	end();
}

/* ---- another program ---- */

static const char *replaced(const char *text, const char *what, const char *by)
{
	static char out[FS_SHARED_TEXT];
	const char *at = strstr(text, what);

	snprintf(out, sizeof(out), "%.*s%s%s", (int)(at - text), text, by, at + strlen(what));
	return out;
}

Test(resume, another_program_adopts_it)
{
	char text[FS_SHARED_TEXT], why[256], part[64];
	struct fs_shared *adopted;
	struct fs_state *state;
	int fd, other;

	begin("writeback");
	worker(look_around);
	cr_assert_gt(fs_shared_describe(shared, text, sizeof(text)), 0);
	cr_assert_eq(fs_shared_describe(shared, why, 20), -ENOSPC);
	cr_assert_eq(fs_shared_adopt(replaced(text, "version=1", "version=2"), &adopted, why,
				     sizeof(why)),
		     -EPROTO);
	cr_assert_not_null(strstr(why, "version is 2, ours is 1"), "%s", why);
	snprintf(part, sizeof(part), ":%zu", sizeof(struct handle_record));
	cr_assert_eq(fs_shared_adopt(replaced(text, part, ":8"), &adopted, why, sizeof(why)),
		     -EPROTO);
	cr_assert_not_null(strstr(why, "records of handles have 8 bytes"), "%s", why);
	cr_assert_eq(fs_shared_adopt(replaced(text, " names=", " words="), &adopted, why,
				     sizeof(why)),
		     -EPROTO);
	cr_assert_eq(fs_shared_adopt("", &adopted, why, sizeof(why)), -EPROTO);
	sweep_fds(); /* which closes nothing of it */
	state = shared->state;
	cr_assert_eq(fs_shared_adopt(text, &adopted, why, sizeof(why)), 0);
	cr_assert_neq(adopted->state, state, "at another address");
	/* execve(2) would have taken the old mappings away, and left the descriptors */
	arena_memory_release(shared->nodes);
	arena_memory_release(shared->names);
	arena_memory_release(shared->handles);
	arena_memory_release(shared->state_memory);
	fd = journal_memfd(shared->journal);
	other = dup(fd);
	journal_destroy(shared->journal);
	cr_assert_eq(dup2(other, fd), fd);
	close(other);
	free(shared);
	shared = config.shared = adopted;
	start();
	cr_assert_eq(lookups_of(told->ids[1]), 3);
	cr_assert(handle_reads(told->fhs[0], "contents"));
	end();
}

/* ---- killed anywhere ---- */

#define STORM_NAMES 12
#define STORM_THREADS 3

/* What the kernel would know: counted by the workers once an answer would have been sent. */
struct storm_row {
	uint64_t id, lookups, fh, fh_node;
};
static struct storm_row *storm; /* STORM_THREADS rows of STORM_NAMES */

static void storm_name(char name[16], int thread, unsigned i)
{
	snprintf(name, 16, "t%d-%u", thread, i);
}

static void storm_known(struct storm_row *row, uint64_t id)
{
	if (row->id == id) {
		row->lookups++;
		return;
	}
	row->lookups = 0; /* first: a kill in between leaks one, and loses none */
	row->id = id;
	row->lookups = 1;
}

/* FORGET and RELEASE are not answered: they are noted before they are executed. */
static void storm_forget(struct storm_row *row)
{
	uint64_t id = row->id, lookups = row->lookups;

	row->lookups = 0;
	if (lookups)
		fs_forget(fs, id, lookups);
}

static void storm_close(struct storm_row *row)
{
	uint64_t fh = row->fh;

	row->fh = 0;
	if (fh)
		fs_release(fs, fh);
}

static void storm_step(int thread, unsigned random)
{
	unsigned i = random / 16 % STORM_NAMES, k = random / 1024 % STORM_NAMES;
	struct storm_row *row = &storm[thread * STORM_NAMES + (int)i];
	struct fs_opened o;
	struct fs_entry e;
	char name[16], other[16];

	storm_name(name, thread, i);
	storm_name(other, thread, k);
	switch (random % 16) {
	case 0:
	case 1:
		storm_close(row);
		if (!fs_create_file(fs, 1, name, O_RDWR, 0600, &caller, &e, &o)) {
			storm_forget(row);
			storm_known(row, e.id);
			row->fh_node = e.id;
			row->fh = o.fh;
		}
		break;
	case 2:
	case 3:
	case 4:
		if (fs_lookup(fs, 1, name, &e))
			break;
		if (row->id != e.id)
			storm_forget(row);
		storm_known(row, e.id);
		break;
	case 5:
	case 6:
		if (!row->fh && row->lookups &&
		    !fs_open(fs, row->id, O_RDWR, false, &caller, &o)) {
			row->fh_node = row->id;
			row->fh = o.fh;
		}
		break;
	case 7:
		storm_close(row);
		break;
	case 8:
		storm_forget(row);
		break;
	case 9:
		fs_unlink(fs, 1, name);
		break;
	case 10:
	case 11:
		fs_rename(fs, 1, name, 1, other, 0);
		break;
	case 12:
		if (row->lookups && !fs_link(fs, row->id, 1, other, &e))
			fs_forget(fs, e.id, 1);
		break;
	default:
		if (!fs_tmpfile(fs, 1, O_RDWR, 0600, &caller, &e, &o)) {
			fs_release(fs, o.fh);
			fs_forget(fs, e.id, 1);
		}
	}
}

static void *storm_thread(void *arg)
{
	int thread = (int)(intptr_t)arg;
	unsigned seed = (unsigned)getpid() * 7 + (unsigned)thread;

	cred_thread_init();
	for (;;)
		storm_step(thread, (unsigned)rand_r(&seed));
	return NULL;
}

static void storm_work(void)
{
	pthread_t thread;

	for (intptr_t i = 1; i < STORM_THREADS; i++)
		IN_WORKER(pthread_create(&thread, NULL, storm_thread, (void *)i) == 0);
	storm_thread(NULL);
}

/* All that the kernel knows is there, and is what it was. */
static void storm_check(void)
{
	for (int i = 0; i < STORM_THREADS * STORM_NAMES; i++) {
		const struct storm_row *row = &storm[i];
		const struct handle *h = row->fh ? handle_get(fs, row->fh) : NULL;
		struct stat st;

		if (row->lookups)
			cr_assert_geq(lookups_of(row->id), row->lookups, "row %d", i);
		if (!row->fh)
			continue;
		cr_assert(h && h->file && node_id(h->file->node) == row->fh_node, "row %d", i);
		cr_assert_eq(fstat(h->fd, &st), 0);
		cr_assert_eq(st.st_ino, h->file->node->rec->ino, "row %d: another file", i);
	}
}

static void idle(void)
{
}

/* At work, and every third one soon after its start: while it rebuilds what the last one left. */
static void storm_kills(int rounds)
{
	for (int i = 0; i < rounds; i++) {
		pid_t pid = worker_start(storm_work);

		usleep(i % 3 == 2 ? (useconds_t)rand() % 3000 : 3000 + (useconds_t)rand() % 20000);
		kill(pid, SIGKILL);
		worker_wait(pid);
		sweep_fds();
	}
}

static void storm_run(const char *mode, bool kernel_path)
{
	const int rounds = 60;
	size_t size = sizeof(*storm) * STORM_THREADS * STORM_NAMES;
	uint32_t nodes, handles;
	int known = 0, fds;

	begin(mode);
	config.caps.kernel_path = kernel_path;
	config.kernel_path = kernel_path ? KERNEL_PATH_AUTO : KERNEL_PATH_NEVER;
	config.flush_on_close = true;
	storm = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	worker(idle); /* so that what is killed in its start is always a successor */
	storm_kills(rounds);
	start();
	storm_check();
	background_is_over();
	fs_stop(fs); /* what is owed to closed files keeps them open until it is done */
	/* a kill leaks what the requests in the air had counted, each thread's one, and one that it
	 * was about to forget for that; no more */
	nodes = arena_used(fs->nodes);
	handles = arena_used(fs->handles);
	for (int i = 0; i < STORM_THREADS * STORM_NAMES; i++)
		known += storm[i].lookups || storm[i].fh;
	fds = each_open_fd(NULL) - fds_before[1];
	cr_log_info("%u nodes, %u handles, %d descriptors", nodes, handles, fds);
	cr_assert_leq(nodes, (uint32_t)(1 + known + 2 * rounds * STORM_THREADS), "%u", nodes);
	cr_assert_leq(handles, (uint32_t)(known + rounds * STORM_THREADS), "%u", handles);
	/* and a witness for each open file */
	cr_assert_leq(fds, (int)(nodes + 2 * handles + 32), "%d", fds);
	munmap(storm, size);
	end();
}

Test(resume, killed_anywhere, .timeout = 300)
{
	storm_run("writeback", false);
}

Test(resume, killed_anywhere_on_the_kernel_path, .timeout = 300)
{
	storm_run("writeback", true);
}

Test(resume, killed_anywhere_when_flushes_are_dropped, .timeout = 300)
{
	storm_run("unsafe", true);
}

/* ---- how long it takes ---- */

#define MANY_NODES 20000
#define MANY_OPEN 500

static void many(void)
{
	struct fs_opened o;
	struct fs_entry e;
	char name[16];

	for (int i = 0; i < MANY_NODES; i++) {
		if (i % 500 == 0) {
			snprintf(name, sizeof(name), "d%d", i / 500);
			told->ids[0] = make_dir(1, name);
		}
		snprintf(name, sizeof(name), "f%d", i);
		IN_WORKER(fs_mknod(fs, told->ids[0], name, S_IFREG | 0600, 0, &caller, &e) == 0);
		if (i % (MANY_NODES / MANY_OPEN) == 0)
			IN_WORKER(fs_open(fs, e.id, O_RDWR, false, &caller, &o) == 0);
	}
}

static uint64_t cpu_nsec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* All that a worker needed until it serves; the least of all workers. */
static void note_time(void)
{
	told->fhs[0] = MIN(told->fhs[0], cpu_nsec());
}

/*
 * Of the processor, since others use the machine; 6 ms in a plain build, sanitizers take longer. Of
 * the quickest of several workers, since what the host of a virtual machine takes counts as used.
 */
Test(resume, is_quick, .timeout = 300)
{
	begin("writeback");
	worker(many);
	told->fhs[0] = UINT64_MAX;
	for (int i = 0; i < 5; i++) {
		sweep_fds();
		worker(note_time);
	}
	resume();
	cr_log_info("%d nodes and %d open files: %.1f ms", MANY_NODES, MANY_OPEN,
		    (double)told->fhs[0] / 1e6);
	cr_assert_eq(arena_used(fs->handles), MANY_OPEN);
	cr_assert_eq(arena_used(fs->nodes), MANY_NODES + MANY_NODES / 500 + 1);
	cr_assert_lt(told->fhs[0], UINT64_C(200000000));
	end();
}
