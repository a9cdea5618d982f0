/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The request that a thread executes, for what must happen exactly once although the request may
 * come again: a worker that was killed may have executed it before (FUSE_NOTIFY_RESEND).
 *
 * An operation says what it finds (once_begin()), makes its system call, and says what that came to
 * (once_end()). When the request comes again:
 *
 *	once_done()	the system call is over; its result is known. After a success the rest (the
 *			entry, syncing the directory) is done again
 *	once_begun()	it may have been made or not: the operation looks, by what it had found
 *	neither		nothing was done
 *
 * What makes that certain is the kernel: while a request is unanswered it holds the lock of the
 * directory (mkdir, mknod, symlink, link, unlink, rmdir, rename, and creating opens: i_rwsem,
 * exclusive) or of the inode (setxattr, removexattr), so no other client of the mount can have
 * changed that name or attribute since. What is changed behind the mount in that very moment may be
 * taken for the request's own doing. doc/recovery.md has it for each operation.
 *
 * Without a journal (no recovery) all of it does nothing. Of the thread's own request only.
 */
#ifndef CACHEFS_FS_ONCE_H
#define CACHEFS_FS_ONCE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct fs;
struct journal_entry;
struct node_key;

struct once {
	uint64_t unique;  /* the kernel's number of it, without the resend bit; never 0 */
	bool resent;	  /* it was read before by a worker that is dead */
	bool begun, done; /* by that worker */
	struct journal_entry *entry; /* of this request, also from before; NULL: no journal */
};

/* What this thread executes from now on; NULL: no request, or one that may be executed twice. */
void fs_thread_once(struct once *o);
/* The same, or NULL. */
struct once *fs_once(void);

/* E (or NULL: nothing) is what a dead worker has left of O. */
void once_found(struct once *o, struct journal_entry *e);

/* A dead worker read it before, and may have executed it. */
bool once_resent(void);
/* The dead worker made the system call: *RESULT (0 or a negative errno) is what it came to. */
bool once_done(int *result);
/* It was about to, and may have. */
bool once_begun(void);
/* What the dead worker found at the name (I 0) or the new name (I 1), ino 0: nothing. False, and
 * *KEY is untouched, where it did not get so far. */
bool once_before(unsigned i, struct node_key *key);

/*
 * The system call follows. NAME and NEWNAME are what is there now, or NULL; what a dead worker had
 * found stays, since what is there now may be its doing.
 */
void once_begin(const struct node_key *name, const struct node_key *newname);
/* ERR, which the system call came to (or later, a step after it). Returns ERR. */
int once_end(int err);

/* once_begin() of what makes a name in DIR_FD (O_PATH). */
void once_making(int dir_fd);
/*
 * That came to -EEXIST: was NAME (of type TYPE, S_IFMT bits) made by this very request, when a dead
 * worker executed it? As far as birth times tell, where there are any.
 */
bool once_made(int dir_fd, const char *name, mode_t type);

/* VALUE, or what it was when a dead worker asked the same for this request. Is a once_begin(). */
uint64_t once_remember(uint64_t value);

/*
 * A lookup of node ID was counted for the reply (fs_entry_from_fd() says so): a count by a dead
 * worker, for the same reply, is given back. A kill can leak a count, never lose one.
 */
void once_counted(struct fs *fs, uint64_t id);
/* It will be given back, since the request fails. */
void once_uncounted(uint64_t id);

#endif
