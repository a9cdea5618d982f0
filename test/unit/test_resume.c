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
	for (unsigned len = 1, i = 2; len < 256; len = len < 47	  ? 47
						       : len < 97 ? len + 1
								  : len + 79) {
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
	for (const char *const *n = (const char *const[]){"two", "three", "four", LONG, NULL}; *n;
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
		char name[2] = {(char)('a' + i), 0};
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
		cr_assert_eq(
		    fs_readdir(fs, told->ids[0], told->fhs[0], last, 32768, 24, false, emit, NULL),
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
	struct fs_mode_change c = {.uid = 0};

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
	cr_assert_eq(
	    fs_shared_adopt(replaced(text, "version=1", "version=2"), &adopted, why, sizeof(why)),
	    -EPROTO);
	cr_assert_not_null(strstr(why, "version is 2, ours is 1"), "%s", why);
	snprintf(part, sizeof(part), ":%zu", sizeof(struct handle_record));
	cr_assert_eq(fs_shared_adopt(replaced(text, part, ":8"), &adopted, why, sizeof(why)),
		     -EPROTO);
	cr_assert_not_null(strstr(why, "records of handles have 8 bytes"), "%s", why);
	cr_assert_eq(
	    fs_shared_adopt(replaced(text, " names=", " words="), &adopted, why, sizeof(why)),
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
