/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cachefs's own directory in the backing directory, for what must outlive the process: never
 * visible through the mount, mode 0700, made when it is first needed. Whoever has the lock in it
 * owns what is kept there; there is one owner at a time. The lock is flock(2)'s, of a descriptor:
 * a process has one private_dir for each backing directory, or it would exclude itself.
 *
 * The backing directory may be anybody's. No symbolic link is followed, and a directory of this
 * name that belongs to another user than ours, or that others may write to, is refused with -EPERM
 * and what is no directory with -ENOTDIR, in all that follows; the log says what to do, once.
 *
 * Any thread; all of it may block. What is made belongs to the thread's fsuid.
 */
#ifndef CACHEFS_DURABILITY_PRIVATE_DIR_H
#define CACHEFS_DURABILITY_PRIVATE_DIR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PRIVATE_DIR ".cachefs"

struct private_dir;

/* ROOT_FD: the backing directory, readable; borrowed until private_dir_destroy(). Touches nothing.
 */
int private_dir_create(int root_fd, struct private_dir **out);
/* Gives the ownership up, too. NULL does nothing. */
void private_dir_destroy(struct private_dir *p);

/*
 * For an owner whose descriptors outlive it: while somebody has the lock, *LOCK_FD (borrowed until
 * private_dir_destroy()) is its descriptor + 1, else 0. The lock of a process before us, if it is
 * there already, is ours from now on, whoever calls private_dir_disown(); private_dir_settle() lets
 * it go when nobody is an owner then. Once, after private_dir_create(). 0, or why the directory
 * that the lock is in could not be opened: the lock is lost then.
 */
int private_dir_record(struct private_dir *p, atomic_int *lock_fd);
void private_dir_settle(struct private_dir *p);

/*
 * Makes us the owner, and the directory where there is none, both durably. 0 (also when we are it
 * already); -EBUSY: another daemon is, after a wait of 5 s for one that is about to end; or the
 * errors of mkdir(2), open(2), fsync(2): -EROFS on a read-only backing.
 */
int private_dir_own(struct private_dir *p);
/* The same where the directory is there; -ENOENT where it is not. */
int private_dir_own_existing(struct private_dir *p);
/* The same without the wait. */
int private_dir_try_own_existing(struct private_dir *p);
/* Once for each of these that returned 0: after the last one, others may be the owner. */
void private_dir_disown(struct private_dir *p);

/* Of the directory (readable), or -ENOENT; borrowed. Not the owner: only look. */
int private_dir_fd(struct private_dir *p);
/*
 * Of a directory NAME in it, made durably where it is missing; the caller closes it. This and what
 * changes files is the owner's: -EPERM for others.
 */
int private_dir_sub(struct private_dir *p, const char *name);

/*
 * Replaces (or makes) the file NAME (59 bytes at most) with TEXT, atomically and durably. One call
 * for a NAME at a time. On errors the old text is intact, but after one of the last sync (-EIO) it
 * may be either.
 */
int private_dir_write(struct private_dir *p, const char *name, const char *text, size_t len);
/* Removes it, durably. 0 where there is none. */
int private_dir_remove(struct private_dir *p, const char *name);
/*
 * Reads it whole (a NUL behind it, LIMIT bytes at most: -EFBIG), to be freed. -ENOENT; -EINVAL: no
 * regular file; -ELOOP: a symbolic link; the errors of read(2). The owner's or not.
 */
int private_dir_read(struct private_dir *p, const char *name, size_t limit, char **text,
		     size_t *len);

/* What names a file for good, over reboots: its file handle. len 0: it has none. file_id.c */
#define FILE_ID_MAX 64
struct file_id {
	int32_t type;
	uint32_t len;
	uint8_t bytes[FILE_ID_MAX]; /* zeros behind LEN */
};
#define FILE_ID_TEXT (2 * FILE_ID_MAX + 16)

/* Of the file that FD (any descriptor) is open on. False: its filesystem has no file handles, or
 * longer ones; *ID has len 0 then. */
bool file_id_of(int fd, struct file_id *id);
bool file_id_equal(const struct file_id *a, const struct file_id *b);
/* As text, fit for a file's name: TYPE-HEX. */
void file_id_text(const struct file_id *id, char text[FILE_ID_TEXT]);
/* False: no such text. One id has one text. */
bool file_id_parse(const char *text, size_t len, struct file_id *id);

#endif
