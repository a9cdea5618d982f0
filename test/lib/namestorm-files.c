/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operations on files, their contents and their attributes; files that are open keep theirs when
 * they have no name any more. See namestorm.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "namestorm.h"

/* What open(2) says for an entry, which is not followed. */
static int open_errno(const struct inode *inode, int flags)
{
	if (!inode)
		return flags & O_CREAT ? 0 : ENOENT;
	if (flags & O_EXCL)
		return EEXIST;
	if (inode->kind == KIND_SYMLINK)
		return ELOOP;
	if (inode->kind == KIND_DIR && (flags & O_ACCMODE || flags & (O_CREAT | O_TRUNC)))
		return EISDIR;
	return 0;
}

static void set_size(struct inode *inode, size_t size)
{
	if (size < inode->size)
		memset(inode->data + size, 0, inode->size - size);
	inode->size = size;
}

/* Writes through fd, at the end with append; what is written nobody has written before. */
static void write_some(struct worker *w, struct inode *inode, int fd, bool append)
{
	size_t off = append ? inode->size : rnd(w, MAX_SIZE), len = 1 + rnd(w, 9000);
	uint64_t salt = rnd(w, UINT64_MAX);

	if (off + len > MAX_SIZE)
		len = MAX_SIZE - off;
	if (!len)
		return;
	for (size_t i = 0; i < len; i++)
		w->buf[i] = (unsigned char)(salt >> i % 8 * 8 ^ i);
	say(w, "%s to #%lu: %zu bytes at %zu, begin with %02x", append ? "append" : "write",
	    (unsigned long)inode->id, len, off, w->buf[0]);
	expect(w, append ? write(fd, w->buf, len) : pwrite(fd, w->buf, len, (off_t)off), 0);
	memcpy(inode->data + off, w->buf, len);
	if (off + len > inode->size)
		inode->size = off + len;
}

static bool open_at(struct worker *w, const char *op, int flags, enum wish wish)
{
	struct place p;
	int fd;

	pick_place(w, &p, wish);
	if (p.inode && !open_errno(p.inode, flags) && p.inode->kind != KIND_FILE)
		return false; /* a fifo or a directory would be opened */
	say(w, "%s %s (#%lu)%s", op, p.path, p.inode ? (unsigned long)p.inode->id : 0,
	    flags & O_APPEND ? " to append" : "");
	fd = openat(p.at, p.path, flags | O_NOFOLLOW | O_CLOEXEC, 0640);
	if (expect(w, fd, open_errno(p.inode, flags)))
		return true;
	if (!p.inode) {
		p.inode = inode_new(w, KIND_FILE, 0640);
		entry_set(w, &p, p.inode);
	}
	if (flags & O_TRUNC)
		set_size(p.inode, 0);
	if (rnd(w, 2))
		compare_stat(w, p.inode, fd, "");
	handle_new(w, p.inode, fd, flags);
	if (flags & O_CREAT && rnd(w, 4))
		write_some(w, p.inode, fd, flags & O_APPEND);
	return true;
}

static bool op_create(struct worker *w)
{
	return open_at(w, "create exclusively", O_RDWR | O_CREAT | O_EXCL, WISH_ABSENT);
}

static bool op_create_trunc(struct worker *w)
{
	return open_at(w, "create or truncate", O_RDWR | O_CREAT | O_TRUNC, WISH_ANY);
}

static bool op_open(struct worker *w)
{
	static const int flags[] = {O_RDWR, O_RDONLY, O_WRONLY | O_APPEND, O_RDWR | O_APPEND,
				    O_RDWR | O_TRUNC};

	return open_at(w, "open", flags[rnd(w, 5)], WISH_FILE);
}

static bool op_tmpfile(struct worker *w)
{
	const struct inode *dir = w->dirs[rnd(w, w->n_dirs)];
	char path[PATH_LEN];
	struct inode *inode;
	int fd;

	if (!set.tmpfile)
		return false;
	dir_path(dir, path, sizeof(path));
	say(w, "O_TMPFILE in %s", path);
	fd = openat(set.root_fd, path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	expect(w, fd, 0);
	inode = inode_new(w, KIND_FILE, 0600);
	inode->linkable = true;
	handle_new(w, inode, fd, O_RDWR);
	write_some(w, inode, fd, false);
	return true;
}

/* An O_TMPFILE gets its first name; a file that lost its last one cannot have another. */
static bool op_link_open(struct worker *w)
{
	struct handle *h = pick_handle(w, false);
	struct place to;
	char proc[64];
	int err, want = 0;

	if (!h || (h->inode->nlink && rnd(w, 4)))
		return false;
	pick_place(w, &to, WISH_ABSENT);
	if (to.inode)
		want = EEXIST;
	else if (!h->inode->nlink && !h->inode->linkable)
		want = ENOENT;
	say(w, "link of the open #%lu to %s (%s)", (unsigned long)h->inode->id, to.path,
	    to.inode ? "there" : "none");
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", h->fd);
	err = link_patiently(AT_FDCWD, proc, AT_SYMLINK_FOLLOW, &to, !want && h->inode->nlink);
	if (expect(w, err, want))
		return true;
	entry_set(w, &to, h->inode);
	compare_stat(w, h->inode, to.at, to.path);
	return true;
}

static bool op_write(struct worker *w)
{
	struct handle *h = pick_handle(w, true);

	if (!h)
		return false;
	write_some(w, h->inode, h->fd, h->append);
	return true;
}

/* All of an open file: that it still has what was written, with a name or without. */
static bool op_read(struct worker *w)
{
	struct handle *h = pick_handle(w, false);

	if (!h || !h->reads)
		return false;
	say(w, "read #%lu, %s", (unsigned long)h->inode->id,
	    h->inode->nlink ? "named" : "unlinked");
	compare_stat(w, h->inode, h->fd, "");
	compare_data(w, h->inode, h->fd);
	return true;
}

static bool op_fsync(struct worker *w)
{
	struct handle *h = pick_handle(w, false);

	if (!h)
		return false;
	say(w, "fsync #%lu", (unsigned long)h->inode->id);
	expect(w, rnd(w, 2) ? fsync(h->fd) : fdatasync(h->fd), 0);
	return true;
}

static bool op_ftruncate(struct worker *w)
{
	struct handle *h = pick_handle(w, true);
	size_t size = rnd(w, MAX_SIZE);

	if (!h)
		return false;
	say(w, "ftruncate #%lu from %zu to %zu", (unsigned long)h->inode->id, h->inode->size, size);
	expect(w, ftruncate(h->fd, (off_t)size), 0);
	set_size(h->inode, size);
	compare_stat(w, h->inode, h->fd, "");
	return true;
}

static bool op_truncate(struct worker *w)
{
	size_t size = rnd(w, MAX_SIZE);
	char path[PATH_LEN];
	struct place p;
	int want = 0;

	pick_place(w, &p, WISH_FILE);
	if (p.at != set.root_fd || (p.inode && p.inode->kind == KIND_SYMLINK))
		return false;
	if (!p.inode)
		want = ENOENT;
	else if (p.inode->kind != KIND_FILE)
		want = p.inode->kind == KIND_DIR ? EISDIR : EINVAL;
	say(w, "truncate %s (#%lu) to %zu", p.path, p.inode ? (unsigned long)p.inode->id : 0, size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%.*s", set.root_fd, 400, p.path);
	if (!expect(w, truncate(path, (off_t)size), want))
		set_size(p.inode, size);
	return true;
}

static bool op_close(struct worker *w)
{
	struct handle *h = rnd(w, 8) ? pick_handle(w, false) : &w->dir_handles[rnd(w, DIR_HANDLES)];

	if (!h || !h->inode)
		return false;
	say(w, "close #%lu", (unsigned long)h->inode->id);
	handle_close(w, h);
	expect(w, 0, 0);
	return true;
}

static bool op_flock(struct worker *w)
{
	struct handle *h = pick_handle(w, false);
	bool lock = rnd(w, 2);
	int want = 0;

	if (!h || !set.locks)
		return false;
	if (lock && h->inode->locker && h->inode->locker != h)
		want = EWOULDBLOCK;
	say(w, "%s #%lu by descriptor %d", lock ? "lock" : "unlock", (unsigned long)h->inode->id,
	    h->fd);
	if (expect(w, flock(h->fd, lock ? LOCK_EX | LOCK_NB : LOCK_UN), want))
		return true;
	if (lock)
		h->inode->locker = h;
	else if (h->inode->locker == h)
		h->inode->locker = NULL;
	return true;
}

/* A path for the system calls that take no descriptor of a directory. */
static bool pick_attr(struct worker *w, struct place *p, char *path, size_t len)
{
	pick_place(w, p, rnd(w, 4) ? WISH_FILE : WISH_PRESENT);
	if (p->at != set.root_fd ||
	    (p->inode && p->inode->kind != KIND_FILE && p->inode->kind != KIND_DIR))
		return false; /* user.* is for files and directories */
	snprintf(path, len, "/proc/self/fd/%d/%.*s", set.root_fd, 400, p->path);
	return true;
}

static bool op_setxattr(struct worker *w)
{
	static const char *const how[] = {"", " create", " replace"};
	static const int flags[] = {0, XATTR_CREATE, XATTR_REPLACE};
	char path[PATH_LEN], name[32], value[VALUE_LEN];
	unsigned int n = (unsigned int)rnd(w, XATTRS), f = (unsigned int)rnd(w, 3);
	struct place p;
	int want = 0;

	if (!pick_attr(w, &p, path, sizeof(path)))
		return false;
	if (!p.inode)
		want = ENOENT;
	else if (flags[f] == XATTR_CREATE && p.inode->xattr[n][0])
		want = EEXIST;
	else if (flags[f] == XATTR_REPLACE && !p.inode->xattr[n][0])
		want = ENODATA;
	snprintf(name, sizeof(name), "user.a%u", n);
	snprintf(value, sizeof(value), "%lu-%0*d", (unsigned long)++w->serial, (int)rnd(w, 90), 0);
	say(w, "setxattr%s %s of %s (#%lu) to %.10s", how[f], name, p.path,
	    p.inode ? (unsigned long)p.inode->id : 0, value);
	if (!expect(w, lsetxattr(path, name, value, strlen(value), flags[f]), want))
		memcpy(p.inode->xattr[n], value, sizeof(value));
	return true;
}

static bool op_removexattr(struct worker *w)
{
	unsigned int n = (unsigned int)rnd(w, XATTRS);
	char path[PATH_LEN], name[32];
	struct place p;
	int want = 0;

	if (!pick_attr(w, &p, path, sizeof(path)))
		return false;
	if (!p.inode || !p.inode->xattr[n][0])
		want = p.inode ? ENODATA : ENOENT;
	snprintf(name, sizeof(name), "user.a%u", n);
	say(w, "removexattr %s of %s (#%lu)", name, p.path,
	    p.inode ? (unsigned long)p.inode->id : 0);
	if (!expect(w, lremovexattr(path, name), want))
		p.inode->xattr[n][0] = '\0';
	return true;
}

static bool op_getxattr(struct worker *w)
{
	char path[PATH_LEN];
	struct place p;

	if (!pick_attr(w, &p, path, sizeof(path)) || !p.inode)
		return false;
	say(w, "getxattr of %s (#%lu)", p.path, (unsigned long)p.inode->id);
	compare_xattrs(w, p.inode, path);
	return true;
}

const struct op_type file_ops[] = {
    {"create", 25, op_create},	     {"create-trunc", 12, op_create_trunc},
    {"open", 20, op_open},	     {"tmpfile", 6, op_tmpfile},
    {"link-open", 10, op_link_open}, {"write", 30, op_write},
    {"read", 20, op_read},	     {"fsync", 3, op_fsync},
    {"ftruncate", 6, op_ftruncate},  {"truncate", 6, op_truncate},
    {"close", 6, op_close},	     {"flock", 8, op_flock},
    {"setxattr", 18, op_setxattr},   {"removexattr", 8, op_removexattr},
    {"getxattr", 8, op_getxattr},    {NULL, 0, NULL},
};
