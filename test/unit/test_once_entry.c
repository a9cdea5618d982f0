/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What stands in entries, errors that are kept, lookups and extended attributes. */
#include "once.h"

TestSuite(once_entry, .init = begin, .fini = finish, .timeout = 300);

/* ---- an error that was about to be answered is answered, whatever could be done by now ---- */

Test(once_entry, errors_are_kept)
{
	static const struct {
		uint32_t opcode;
		size_t size;
		unsigned names;
	} kinds[] = {{FUSE_MKDIR, sizeof(struct fuse_mkdir_in), 1},
		     {FUSE_MKNOD, sizeof(struct fuse_mknod_in), 1},
		     {FUSE_SYMLINK, 0, 2},
		     {FUSE_RMDIR, 0, 1},
		     {FUSE_UNLINK, 0, 1},
		     {FUSE_RENAME2, sizeof(struct fuse_rename2_in), 2},
		     {FUSE_SETXATTR, sizeof(struct fuse_setxattr_in), 1},
		     {FUSE_REMOVEXATTR, 0, 1}};
	uint8_t zeros[64] = {0};
	struct stat before, after;

	cr_assert_eq(stat(".", &before), 0);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct journal_entry *e = entry_as_begun(NULL, NULL);
		struct outcome o;

		e->result = -EDQUOT;
		e->state = JOURNAL_DONE;
		resume();
		if (kinds[i].opcode == FUSE_RENAME2)
			o = send_rename("user.n", "m", 0);
		else
			o = send_names(kinds[i].opcode, zeros, kinds[i].size, "user.n",
				       kinds[i].names == 2 ? "m" : NULL);
		cr_assert_eq(o.error, -EDQUOT, "opcode %u: %d", kinds[i].opcode, o.error);
		nothing_is_left();
	}
	cr_assert_eq(stat(".", &after), 0);
	cr_assert(!memcmp(&before.st_ctim, &after.st_ctim, sizeof(before.st_ctim)));
}

/* ---- extended attributes ---- */

static struct outcome send_setxattr(uint64_t id, const char *name, const char *value, int flags)
{
	struct fuse_setxattr_in in = {.size = (uint32_t)strlen(value), .flags = (uint32_t)flags};
	uint8_t args[256];
	size_t at = sizeof(in);

	memcpy(args, &in, sizeof(in));
	at = put_names(args, at, name, NULL);
	memcpy(args + at, value, strlen(value));
	return send_args(FUSE_SETXATTR, id, args, at + strlen(value));
}

/* An entry that says whether the attribute was there. */
static struct journal_entry *xattr_entry(enum point p, bool there)
{
	struct journal_entry *e = p >= TAKEN ? entry_as_begun(NULL, NULL) : NULL;

	if (p >= TAKEN)
		e->before[0].ino = there;
	if (p >= BEGUN)
		e->state = JOURNAL_BEGUN;
	if (p >= DONE) {
		e->result = 0;
		e->state = JOURNAL_DONE;
	}
	return e;
}

static void xattr_at(enum point p, const char *name, int flags)
{
	struct outcome o;
	char value[64];
	uint64_t id;
	ssize_t n;

	close(open("f", O_CREAT | O_WRONLY, 0600));
	id = lookup("f");
	if (flags & XATTR_REPLACE)
		cr_assert_eq(setxattr("f", name, "none", 4, 0), 0);
	xattr_entry(p, flags & XATTR_REPLACE);
	if (p >= EXECUTED)
		cr_assert_eq(setxattr("f", name, "writethrough", 12, flags), 0);
	resume();
	o = send_setxattr(id, name, "writethrough", flags);
	cr_assert_eq(o.error, 0, "%s, %s: %d", points[p], name, o.error);
	n = getxattr("f", name, value, sizeof(value));
	cr_assert(n == 12 && !memcmp(value, "writethrough", 12));
	nothing_is_left();

	xattr_entry(p, true);
	if (p >= EXECUTED)
		cr_assert_eq(removexattr("f", name), 0);
	resume();
	o = send_args(FUSE_REMOVEXATTR, id, name, strlen(name) + 1);
	cr_assert_eq(o.error, 0, "%s, %s: %d", points[p], name, o.error);
	cr_assert(getxattr("f", name, value, sizeof(value)) < 0 && errno == ENODATA);
	cr_assert_eq(unlink("f"), 0);
	nothing_is_left();
}

Test(once_entry, attributes_change_once)
{
	static const int flags[] = {0, XATTR_CREATE, XATTR_REPLACE};

	for (enum point p = FREE; p < POINTS; p++)
		for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
			xattr_at(p, "user.t", flags[i]);
			xattr_at(p, CACHEFS_XATTR_STORED, flags[i]);
		}
}

Test(once_entry, attributes_that_were_there_or_not)
{
	uint64_t id;

	close(open("f", O_CREAT | O_WRONLY, 0600));
	id = lookup("f");
	cr_assert_eq(setxattr("f", "user.t", "v", 1, 0), 0);
	xattr_entry(BEGUN, true);
	resume();
	cr_assert_eq(send_setxattr(id, "user.t", "v", XATTR_CREATE).error, -EEXIST);
	nothing_is_left();
	xattr_entry(BEGUN, false);
	resume();
	cr_assert_eq(send_args(FUSE_REMOVEXATTR, id, "user.no", 8).error, -ENODATA);
	nothing_is_left();
}

/* ---- lookups ---- */

Test(once_entry, lookups_are_counted_once)
{
	struct journal_entry *e;
	struct outcome o;
	uint64_t a, b;

	close(open("f", O_CREAT | O_WRONLY, 0600));
	close(open("g", O_CREAT | O_WRONLY, 0600));
	a = lookup("f");
	e = journal_take(session.journal, UNIQUE, FUSE_LOOKUP, false);
	e->counted = lookup("f");
	resume();
	cr_assert_eq(count(a), 2);
	o = send_names(FUSE_LOOKUP, NULL, 0, "f", NULL);
	cr_assert_eq(entry_id(&o), a);
	cr_assert_eq(count(a), 2);
	nothing_is_left();

	/* the name leads to another file by now: that is counted, and the other one is not */
	e = journal_take(session.journal, UNIQUE, FUSE_LOOKUP, false);
	e->counted = lookup("f");
	b = lookup("g");
	cr_assert_eq(rename("g", "f"), 0);
	resume();
	o = send_names(FUSE_LOOKUP, NULL, 0, "f", NULL);
	cr_assert_eq(entry_id(&o), b);
	cr_assert(count(a) == 2 && count(b) == 2);
	nothing_is_left();

	/* it is gone: what was counted for it is leaked, as the kernel never hears of it */
	cr_assert_eq(session.resent, 2);
	unique = 1;
	send_names(FUSE_LOOKUP, NULL, 0, "f", NULL);
	cr_assert_eq(session.resent, 2);
	cr_assert_eq(count(b), 3);
}

/* ---- what a worker writes is what the next one expects ---- */

static struct journal_entry at_reply;

static int snapshot_send(struct request *req, const struct iovec *iov, int n)
{
	cr_assert_not_null(req->once.entry);
	memcpy(&at_reply, req->once.entry, sizeof(at_reply));
	return record_send(req, iov, n);
}

static const struct request_ops snapshot_ops = {snapshot_send, record_release};

static struct outcome send_snapshot(uint32_t opcode, const void *args, size_t len)
{
	struct outcome o;

	ops = &snapshot_ops;
	o = send_args(opcode, FUSE_ROOT_ID, args, len);
	ops = &record_ops;
	return o;
}

static size_t rename_args(uint8_t *args, const char *name, const char *newname, unsigned flags)
{
	struct fuse_rename2_in in = {.newdir = FUSE_ROOT_ID, .flags = flags};

	memcpy(args, &in, sizeof(in));
	return put_names(args, sizeof(in), name, newname);
}

Test(once_entry, entries_say_what_was_found_and_done)
{
	struct fuse_mkdir_in in = {.mode = 0700};
	uint8_t args[256];
	struct journal_file a, b;
	struct outcome o;
	struct statx st;

	unique = 77;
	memcpy(args, &in, sizeof(in));
	cr_assert_eq(statx(AT_FDCWD, ".", 0, STATX_CTIME, &st), 0);
	o = send_snapshot(FUSE_MKDIR, args, put_names(args, sizeof(in), "a", NULL));
	cr_assert(at_reply.unique == 77 && at_reply.opcode == FUSE_MKDIR &&
		  at_reply.state == JOURNAL_DONE && at_reply.result == 0);
	cr_assert_eq(at_reply.counted, entry_id(&o));
	cr_assert(at_reply.since_sec == st.stx_ctime.tv_sec &&
		  at_reply.since_nsec == st.stx_ctime.tv_nsec);

	unique = 78;
	send_snapshot(FUSE_MKDIR, args, put_names(args, sizeof(in), "a", NULL));
	cr_assert(at_reply.unique == 78 && at_reply.state == JOURNAL_DONE &&
		  at_reply.result == -EEXIST && at_reply.counted == 0);

	cr_assert_eq(mkdir("b", 0700), 0);
	a = identity("a");
	b = identity("b");
	send_snapshot(FUSE_RENAME2, args, rename_args(args, "a", "b", RENAME_EXCHANGE));
	cr_assert(at_reply.state == JOURNAL_DONE && at_reply.result == 0);
	cr_assert(!memcmp(&at_reply.before[0], &a, sizeof(a)));
	cr_assert(!memcmp(&at_reply.before[1], &b, sizeof(b)));
	send_snapshot(FUSE_RENAME2, args, rename_args(args, "a", "c", 0));
	cr_assert(!memcmp(&at_reply.before[0], &b, sizeof(b)) && !at_reply.before[1].ino);

	send_snapshot(FUSE_RMDIR, args, put_names(args, 0, "b", NULL));
	cr_assert(at_reply.state == JOURNAL_DONE && at_reply.result == 0);
	cr_assert(!memcmp(&at_reply.before[0], &a, sizeof(a)));
	send_snapshot(FUSE_LOOKUP, args, put_names(args, 0, "c", NULL));
	cr_assert(at_reply.state == JOURNAL_TAKEN && at_reply.counted != 0);
	nothing_is_left();
}

/* Reading and writing pay nothing. */
Test(once_entry, which_operations_have_entries)
{
	static const uint32_t twice[] = {
	    FUSE_READ,	  FUSE_WRITE,	FUSE_FSYNC,	FUSE_GETATTR,	 FUSE_STATX,   FUSE_SETATTR,
	    FUSE_READDIR, FUSE_RELEASE, FUSE_FALLOCATE, FUSE_FLUSH,	 FUSE_FORGET,  FUSE_LSEEK,
	    FUSE_ACCESS,  FUSE_DESTROY, FUSE_INTERRUPT, FUSE_RELEASEDIR, FUSE_GETXATTR};
	static const uint32_t once[] = {FUSE_CREATE, FUSE_TMPFILE, FUSE_OPEN,	  FUSE_OPENDIR,
					FUSE_MKNOD,  FUSE_MKDIR,   FUSE_LINK,	  FUSE_SYMLINK,
					FUSE_UNLINK, FUSE_RMDIR,   FUSE_RENAME,	  FUSE_RENAME2,
					FUSE_LOOKUP, FUSE_IOCTL,   FUSE_SETXATTR, FUSE_REMOVEXATTR};

	for (size_t i = 0; i < ARRAY_SIZE(twice); i++)
		cr_assert(!opcode_find(twice[i])->once, "%s", opcode_find(twice[i])->name);
	for (size_t i = 0; i < ARRAY_SIZE(once); i++)
		cr_assert(opcode_find(once[i])->once, "%s", opcode_find(once[i])->name);
}

/* ---- O_TRUNC ---- */

/* Somebody wrote after the dead worker had truncated, and was told so. */
static void truncation_at(enum point p)
{
	struct fuse_open_in in = {.flags = O_RDWR | O_TRUNC};
	struct journal_entry *e = p == FREE ? NULL : entry_as_begun(NULL, NULL);
	struct outcome o;
	struct stat st;
	int fd = open("f", O_CREAT | O_RDWR | O_TRUNC, 0600);

	cr_assert_eq(write(fd, "acknowledged", 12), 12);
	close(fd);
	if (p == DONE) {
		e->result = 0;
		e->state = JOURNAL_DONE;
	}
	resume();
	o = send_args(FUSE_OPEN, lookup("f"), &in, sizeof(in));
	cr_assert_eq(o.error, 0, "%d", o.error);
	cr_assert_eq(stat("f", &st), 0);
	cr_assert_eq(st.st_size, p == DONE ? 12 : 0, "%s", points[p]);
	nothing_is_left();
}

Test(once_entry, an_open_truncates)
{
	truncation_at(FREE);
}

Test(once_entry, an_open_truncates_when_it_comes_again)
{
	truncation_at(TAKEN);
}

Test(once_entry, an_open_truncates_once)
{
	truncation_at(DONE);
}
