/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The name space and lookup counts are as after one execution, and so is the answer. */
#include "once.h"

#include <sched.h>
#include <sys/mount.h>

TestSuite(once, .init = begin, .fini = finish, .timeout = 300);

static bool known_as(uint64_t id, const char *name)
{
	struct node *n = node_get(session.fs, id);
	char path[PATH_MAX];

	return n && fs_node_path(session.fs, n, path, sizeof(path)) >= 0 && !strcmp(path, name);
}

/* ---- names that are made ---- */

static const struct making {
	const char *what;
	uint32_t opcode;
	mode_t mode;
} makings[] = {
    {"mkdir", FUSE_MKDIR, S_IFDIR | 0750},
    {"mknod, a pipe", FUSE_MKNOD, S_IFIFO | 0640},
    {"mknod, a file", FUSE_MKNOD, S_IFREG | 0640},
    {"symlink", FUSE_SYMLINK, S_IFLNK | 0777},
};

static struct outcome send_making(const struct making *m, const char *name)
{
	struct fuse_mkdir_in mkdir_in = {.mode = m->mode & 07777};
	struct fuse_mknod_in mknod_in = {.mode = m->mode};

	if (m->opcode == FUSE_MKDIR)
		return send_names(m->opcode, &mkdir_in, sizeof(mkdir_in), name, NULL);
	if (m->opcode == FUSE_MKNOD)
		return send_names(m->opcode, &mknod_in, sizeof(mknod_in), name, NULL);
	return send_names(m->opcode, NULL, 0, name, "target");
}

static void make_by_hand(const struct making *m, const char *name)
{
	if (m->opcode == FUSE_MKDIR)
		cr_assert_eq(mkdir(name, m->mode & 07777), 0);
	else if (m->opcode == FUSE_MKNOD)
		cr_assert_eq(mknod(name, m->mode, 0), 0);
	else
		cr_assert_eq(symlink("target", name), 0);
}

static void check_made(const struct making *m, const struct outcome *o, const char *name,
		       const char *when)
{
	struct fuse_entry_out e;
	struct stat st;

	cr_assert(o->error == 0 && o->size == sizeof(e), "%s, %s: %d", m->what, when, o->error);
	memcpy(&e, o->reply, sizeof(e));
	cr_assert_eq(lstat(name, &st), 0);
	cr_assert_eq(st.st_mode, m->mode, "%s, %s: %o", m->what, when, st.st_mode);
	cr_assert(e.attr.ino == st.st_ino && e.attr.mode == st.st_mode);
	cr_assert_eq(count(e.nodeid), 1, "%s, %s: %lu lookups", m->what, when,
		     (unsigned long)count(e.nodeid));
	cr_assert(known_as(e.nodeid, name));
}

static void all_makings(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(makings); i++)
		for (enum point p = FREE; p < POINTS; p++) {
			const struct making *m = &makings[i];
			struct journal_entry *e = NULL;
			struct outcome o;
			char name[16];

			snprintf(name, sizeof(name), "n%zu%d", i, p);
			if (p >= TAKEN)
				e = entry_as_begun(NULL, NULL);
			if (p >= BEGUN)
				e->state = JOURNAL_BEGUN;
			if (p >= EXECUTED)
				make_by_hand(m, name);
			if (p >= COUNTED)
				e->counted = lookup(name);
			if (p >= DONE) {
				e->result = 0;
				e->state = JOURNAL_DONE;
			}
			resume();
			o = send_making(m, name);
			check_made(m, &o, name, points[p]);
			nothing_is_left();
		}
}

Test(once, names_are_made_once)
{
	all_makings();
}

/* A name that the request cannot have made is there: EEXIST, as the first time. */
Test(once, what_another_one_made)
{
	struct making dir = makings[0];
	struct journal_entry *e;
	struct outcome o;
	struct statx st;

	close(open("file", O_CREAT | O_WRONLY, 0600));
	e = entry_as_begun(NULL, NULL);
	e->state = JOURNAL_BEGUN;
	resume();
	cr_assert_eq(send_making(&dir, "file").error, -EEXIST, "of another type");
	nothing_is_left();

	cr_assert_eq(mkdir("old", 0700), 0);
	usleep(20000); /* the clock of times ticks */
	cr_assert_eq(mkdir("other", 0700), 0);
	cr_assert_eq(statx(AT_FDCWD, "old", 0, STATX_BTIME, &st), 0);
	e = entry_as_begun(NULL, NULL);
	e->state = JOURNAL_BEGUN;
	resume();
	o = send_making(&dir, "old");
	cr_assert_eq(o.error, st.stx_mask & STATX_BTIME ? -EEXIST : 0, "%d", o.error);
	nothing_is_left();

	unique = UNIQUE; /* a new request never takes what is there for its own */
	cr_assert_eq(send_making(&dir, "other").error, -EEXIST);
	unique = UNIQUE | FUSE_UNIQUE_RESEND;
	cr_assert_eq(send_making(&dir, "other").error, -EEXIST, "nor one that was not begun");
	nothing_is_left();
}

/* ---- link ---- */

static void all_links(void)
{
	for (enum point p = FREE; p < POINTS; p++) {
		struct fuse_link_in in;
		struct journal_entry *e = NULL;
		char from[16], name[16];
		struct outcome o;
		struct stat st;

		snprintf(from, sizeof(from), "f%d", p);
		snprintf(name, sizeof(name), "l%d", p);
		close(open(from, O_CREAT | O_WRONLY, 0600));
		in.oldnodeid = lookup(from);
		if (p >= TAKEN)
			e = entry_as_begun(NULL, NULL);
		if (p >= BEGUN)
			e->state = JOURNAL_BEGUN;
		if (p >= EXECUTED)
			cr_assert_eq(link(from, name), 0);
		if (p >= COUNTED)
			e->counted = lookup(name);
		if (p >= DONE) {
			e->result = 0;
			e->state = JOURNAL_DONE;
		}
		resume();
		o = send_names(FUSE_LINK, &in, sizeof(in), name, NULL);
		cr_assert_eq(entry_id(&o), in.oldnodeid, "%s", points[p]);
		cr_assert_eq(stat(name, &st), 0);
		cr_assert_eq(st.st_nlink, 2, "%s", points[p]);
		cr_assert_eq(count(in.oldnodeid), 2, "%s: %lu", points[p],
			     (unsigned long)count(in.oldnodeid));
		nothing_is_left();
	}
}

Test(once, links_are_made_once)
{
	struct fuse_link_in in;
	struct journal_entry *e;

	all_links();
	close(open("a", O_CREAT | O_WRONLY, 0600));
	close(open("b", O_CREAT | O_WRONLY, 0600));
	in.oldnodeid = lookup("a");
	e = entry_as_begun(NULL, NULL);
	e->state = JOURNAL_BEGUN;
	resume();
	cr_assert_eq(send_names(FUSE_LINK, &in, sizeof(in), "b", NULL).error, -EEXIST);
	nothing_is_left();
}

/* ---- names that are removed ---- */

static void remove_at(enum point p, bool dir, bool other_link)
{
	struct journal_entry *e = NULL;
	struct outcome o;
	struct stat st;
	struct node *n;
	char name[16];
	uint64_t id;

	snprintf(name, sizeof(name), "r%d%d%d", p, dir, other_link);
	if (dir)
		cr_assert_eq(mkdir(name, 0700), 0);
	else
		close(open(name, O_CREAT | O_WRONLY, 0600));
	if (other_link)
		cr_assert_eq(link(name, "other"), 0);
	id = lookup(name);
	if (p >= TAKEN)
		e = entry_as_begun(name, NULL);
	if (p >= BEGUN)
		e->state = JOURNAL_BEGUN;
	if (p >= EXECUTED)
		cr_assert_eq(dir ? rmdir(name) : unlink(name), 0);
	if (p >= DONE) {
		e->result = 0;
		e->state = JOURNAL_DONE;
	}
	resume();
	o = send_names(dir ? FUSE_RMDIR : FUSE_UNLINK, NULL, 0, name, NULL);
	cr_assert_eq(o.error, 0, "%s: %d", points[p], o.error);
	cr_assert(lstat(name, &st) < 0 && errno == ENOENT);
	cr_assert_eq(count(id), 1);
	n = node_get(session.fs, id);
	/* without a file handle, what is known by this name alone cannot be found again */
	cr_assert_eq(n->rec->retained, !other_link || !n->rec->handle_len, "%s", points[p]);
	if (other_link) {
		cr_assert_eq(stat("other", &st), 0);
		cr_assert_eq(st.st_nlink, 1);
		cr_assert_eq(unlink("other"), 0);
	}
	nothing_is_left();
}

static void all_removals(void)
{
	for (enum point p = FREE; p < POINTS; p++)
		for (int other_link = 0; other_link < 2; other_link++)
			remove_at(p, false, other_link);
	for (enum point p = FREE; p < POINTS; p++)
		remove_at(p, true, false);
}

Test(once, names_are_removed_once)
{
	all_removals();
}

Test(once, another_file_at_a_removed_name)
{
	struct journal_entry *e;
	int held;

	close(open("n", O_CREAT | O_WRONLY, 0600));
	e = entry_as_begun("n", NULL);
	e->state = JOURNAL_BEGUN;
	held = open("n", O_RDONLY); /* as the worker's descriptors stay: its number is in use */
	cr_assert_eq(unlink("n"), 0);
	close(open("n", O_CREAT | O_WRONLY, 0600));
	resume();
	cr_assert_eq(send_names(FUSE_UNLINK, NULL, 0, "n", NULL).error, 0);
	cr_assert_eq(access("n", F_OK), 0, "it is not the one that the request meant");
	close(held);
	nothing_is_left();

	e = entry_as_begun("none", NULL);
	e->state = JOURNAL_BEGUN;
	resume();
	cr_assert_eq(send_names(FUSE_UNLINK, NULL, 0, "none", NULL).error, -ENOENT);
	nothing_is_left();
}

/* ---- rename ---- */

enum target { NO_TARGET, A_FILE, A_LINK, TARGETS };

static void rename_at(enum point p, enum target target, unsigned flags)
{
	struct journal_file was[2], now[2];
	struct journal_entry *e = NULL;
	bool nothing = target == A_LINK;
	uint64_t id, other = 0;
	struct outcome o;

	close(open("a", O_CREAT | O_WRONLY, 0600));
	if (target == A_FILE)
		close(open("b", O_CREAT | O_WRONLY, 0600));
	else if (target == A_LINK)
		cr_assert_eq(link("a", "b"), 0);
	id = lookup("a");
	if (target)
		other = lookup("b");
	was[0] = identity("a");
	was[1] = identity("b");
	if (p >= TAKEN)
		e = entry_as_begun("a", "b");
	if (p >= BEGUN)
		e->state = JOURNAL_BEGUN;
	if (p >= EXECUTED)
		cr_assert_eq(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", flags), 0);
	if (p >= DONE) {
		e->result = 0;
		e->state = JOURNAL_DONE;
	}
	resume();
	o = send_rename("a", "b", flags);
	cr_assert_eq(o.error, 0, "%s, %d, %u: %d", points[p], target, flags, o.error);
	now[0] = identity("a");
	now[1] = identity("b");
	cr_assert_eq(now[1].ino, was[0].ino, "%s, %d, %u", points[p], target, flags);
	cr_assert_eq(now[0].ino,
		     flags & RENAME_EXCHANGE ? was[1].ino
		     : nothing		     ? was[0].ino
					     : 0,
		     "%s, %d, %u", points[p], target, flags);
	if (!nothing)
		cr_assert(known_as(id, "b"), "%s, %d, %u", points[p], target, flags);
	if (target == A_FILE && flags & RENAME_EXCHANGE)
		cr_assert(known_as(other, "a"));
	else if (target == A_FILE)
		cr_assert(node_get(session.fs, other)->rec->retained);
	cr_assert_eq(count(id), nothing ? 2 : 1);
	unlink("a");
	unlink("b");
	nothing_is_left();
}

static void all_renames(void)
{
	for (enum point p = FREE; p < POINTS; p++) {
		rename_at(p, NO_TARGET, 0);
		rename_at(p, NO_TARGET, RENAME_NOREPLACE);
		rename_at(p, A_FILE, 0);
		rename_at(p, A_LINK, 0);
		rename_at(p, A_FILE, RENAME_EXCHANGE);
		rename_at(p, A_LINK, RENAME_EXCHANGE);
	}
}

Test(once, names_are_renamed_once)
{
	all_renames();
}

Test(once, renames_that_failed)
{
	struct journal_entry *e;

	close(open("a", O_CREAT | O_WRONLY, 0600));
	close(open("b", O_CREAT | O_WRONLY, 0600));
	e = entry_as_begun("a", "b");
	e->state = JOURNAL_BEGUN;
	resume();
	cr_assert_eq(send_rename("a", "b", RENAME_NOREPLACE).error, -EEXIST);
	cr_assert_eq(access("a", F_OK), 0);
	nothing_is_left();
	e = entry_as_begun("none", "b");
	e->state = JOURNAL_BEGUN;
	resume();
	cr_assert_eq(send_rename("none", "b", 0).error, -ENOENT);
	nothing_is_left();
	/* links of one file, of which the rename to the other would look done */
	cr_assert_eq(link("a", "c"), 0);
	e = entry_as_begun("a", "c");
	e->state = JOURNAL_BEGUN;
	resume();
	cr_assert_eq(send_rename("a", "c", RENAME_NOREPLACE).error, -EEXIST);
	nothing_is_left();
	/* half an exchange is none of ours */
	e = entry_as_begun("a", "b");
	e->state = JOURNAL_BEGUN;
	cr_assert_eq(rename("a", "b"), 0);
	resume();
	cr_assert_eq(send_rename("a", "b", RENAME_EXCHANGE).error, -ENOENT);
	nothing_is_left();
}

/* ---- a backing without birth times, and without file handles ---- */

static void begin_ramfs(void)
{
	struct statx st;

	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0)
		cr_skip_test("needs root");
	cr_assert_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	cr_assert_eq(mount("none", "/mnt", "ramfs", 0, NULL), 0);
	setenv("TMPDIR", "/mnt", 1);
	begin();
	cr_assert_eq(statx(AT_FDCWD, ".", 0, STATX_BTIME, &st), 0);
	cr_assert(!(st.stx_mask & STATX_BTIME));
}

TestSuite(once_ramfs, .init = begin_ramfs, .fini = finish, .timeout = 300);

Test(once_ramfs, all)
{
	all_makings();
	all_links();
	all_removals();
	all_renames();
}
