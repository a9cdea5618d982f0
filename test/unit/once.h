/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests that come again after a worker was killed at each point of their execution. What the
 * dead worker left is made by hand: its entry in the journal, and its system call's effect in the
 * backing directory (the working directory, here).
 */
#ifndef CACHEFS_TEST_ONCE_H
#define CACHEFS_TEST_ONCE_H

#include "dispatch.h"

#include <sys/xattr.h>

#include "fs/internal.h"
#include "supervisor/journal.h"

#define UNIQUE 1002
#define NO_RESULT 12345

enum point { FREE, TAKEN, BEGUN, EXECUTED, COUNTED, DONE, POINTS };

static const char *const points[] = {"no entry",	   "taken",	  "begun",
				     "begun and executed", "and counted", "done"};

static void begin(void)
{
	begin_with(&engine_threads, "cache=writeback");
	cr_assert_eq(chdir(directory), 0);
	cr_assert_eq(journal_create(&session.journal), 0);
}

static void finish(void)
{
	cr_assert_eq(chdir("/"), 0);
	journal_destroy(session.journal);
	end();
}

/* ---- what a dead worker leaves ---- */

static struct journal_file identity(const char *name)
{
	struct statx st;

	if (!name || statx(AT_FDCWD, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &st) < 0)
		return (struct journal_file){0};
	return (struct journal_file){(uint64_t)st.stx_dev_major << 32 | st.stx_dev_minor,
				     st.stx_ino};
}

static inline struct journal_entry *entry_as_begun(const char *name, const char *newname)
{
	struct journal_entry *e = journal_take(session.journal, UNIQUE, 0, false);
	struct statx st;

	cr_assert_eq(statx(AT_FDCWD, ".", 0, STATX_CTIME, &st), 0);
	e->since_sec = st.stx_ctime.tv_sec;
	e->since_nsec = st.stx_ctime.tv_nsec;
	e->before[0] = identity(name);
	e->before[1] = identity(newname);
	e->result = NO_RESULT;
	return e;
}

/* The next request is one that was read before. */
static inline void resume(void)
{
	struct journal *next;

	cr_assert_eq(journal_adopt(dup(journal_memfd(session.journal)), &next), 0);
	journal_destroy(session.journal);
	session.journal = next;
	cr_assert_eq(journal_resume(next), 0);
	unique = UNIQUE | FUSE_UNIQUE_RESEND;
}

static inline void nothing_is_left(void)
{
	resume();
	cr_assert_eq(journal_left(session.journal), 0, "the reply releases the entry");
	unique = 1;
}

/* ---- requests ---- */

static size_t put_names(uint8_t *args, size_t at, const char *name, const char *second)
{
	strcpy((char *)args + at, name);
	at += strlen(name) + 1;
	if (second) {
		strcpy((char *)args + at, second);
		at += strlen(second) + 1;
	}
	return at;
}

/* IN (SIZE bytes), a name, and perhaps another one. */
static inline struct outcome send_names(uint32_t opcode, const void *in, size_t size,
					const char *name, const char *second)
{
	uint8_t args[512] = {0};

	if (size)
		memcpy(args, in, size);
	return send_args(opcode, FUSE_ROOT_ID, args, put_names(args, size, name, second));
}

static inline uint64_t entry_id(const struct outcome *o)
{
	struct fuse_entry_out e;

	cr_assert(o->error == 0 && o->size >= sizeof(e), "%d", o->error);
	memcpy(&e, o->reply, sizeof(e));
	return e.nodeid;
}

static inline uint64_t lookup(const char *name)
{
	uint64_t keep = unique;
	struct outcome o;

	unique = 1;
	o = send_names(FUSE_LOOKUP, NULL, 0, name, NULL);
	unique = keep;
	return entry_id(&o);
}

static inline uint64_t count(uint64_t id)
{
	struct node *n = node_get(session.fs, id);

	return n ? n->rec->nlookup : 0;
}

static inline struct outcome send_rename(const char *name, const char *newname, unsigned flags)
{
	struct fuse_rename2_in in = {.newdir = FUSE_ROOT_ID, .flags = flags};

	return send_names(FUSE_RENAME2, &in, sizeof(in), name, newname);
}

#endif
