/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What there is, beside what there should be. See namestorm.h. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "namestorm.h"

static const mode_t types[] = {S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO};

static void look(struct worker *w, const struct inode *inode, int at, const char *path,
		 struct stat *st)
{
	if (fstatat(at, path, st, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		wrong(w, "stat of %s (#%lu): %s", path, (unsigned long)inode->id, strerror(errno));
}

/*
 * Another thread's READDIRPLUS of the shared directory may bring a link count from before an
 * operation of ours to the kernel after it: the kernel numbers changes of sizes and modes, not
 * these. So it is believed for attr-timeout, which is a second.
 */
static void compare_nlink(struct worker *w, const struct inode *inode, int at, const char *path,
			  struct stat *st)
{
	unsigned int nlink = inode->nlink;

	if (inode == w->shared || (inode->kind == KIND_DIR && nlink && !set.dir_nlink))
		return;
	if (inode->kind == KIND_DIR && nlink)
		nlink = 2 + dir_count(inode, true);
	for (int tries = 0; st->st_nlink != nlink && tries < 100; tries++) {
		usleep(100000);
		look(w, inode, at, path, st);
	}
	if (st->st_nlink != nlink)
		wrong(w, "#%lu has link count %lu, not %u", (unsigned long)inode->id,
		      (unsigned long)st->st_nlink, nlink);
}

void compare_stat(struct worker *w, struct inode *inode, int at, const char *path)
{
	unsigned long id = (unsigned long)inode->id;
	struct stat st;

	look(w, inode, at, path, &st);
	compare_nlink(w, inode, at, path, &st);
	if (!inode->ino)
		inode->ino = st.st_ino;
	if (st.st_ino != inode->ino)
		wrong(w, "#%lu has inode number %lu, had %lu", id, (unsigned long)st.st_ino,
		      (unsigned long)inode->ino);
	if (st.st_mode != (types[inode->kind] | inode->mode))
		wrong(w, "#%lu has mode %o, not %o", id, st.st_mode,
		      types[inode->kind] | inode->mode);
	if (inode->kind == KIND_FILE && (size_t)st.st_size != inode->size)
		wrong(w, "#%lu has %lu bytes, not %zu", id, (unsigned long)st.st_size, inode->size);
}

void compare_data(struct worker *w, struct inode *inode, int fd)
{
	ssize_t n = pread(fd, w->buf, MAX_SIZE + 1, 0);
	unsigned long id = (unsigned long)inode->id;

	if (n < 0)
		wrong(w, "read of #%lu: %s", id, strerror(errno));
	for (size_t i = 0; i < (size_t)n && i < inode->size; i++)
		if (w->buf[i] != inode->data[i])
			wrong(w, "#%lu has %02x at offset %zu, not %02x", id, w->buf[i], i,
			      inode->data[i]);
	if ((size_t)n != inode->size)
		wrong(w, "read of #%lu gives %zd bytes, not %zu", id, n, inode->size);
}

void compare_xattrs(struct worker *w, const struct inode *inode, const char *path)
{
	char list[1024], value[VALUE_LEN + 1], name[32];
	ssize_t len = llistxattr(path, list, sizeof(list));
	unsigned int listed = 0, have = 0;

	if (len < 0)
		wrong(w, "listxattr of %s: %s", path, strerror(errno));
	for (const char *p = list; p < list + len; p += strlen(p) + 1)
		listed += !strncmp(p, "user.a", 6);
	for (unsigned int i = 0; i < XATTRS; i++) {
		snprintf(name, sizeof(name), "user.a%u", i);
		len = lgetxattr(path, name, value, VALUE_LEN);
		if (len < 0 && errno != ENODATA)
			wrong(w, "getxattr %s of %s: %s", name, path, strerror(errno));
		value[len < 0 ? 0 : len] = '\0';
		have += inode->xattr[i][0] != '\0';
		if (strcmp(value, inode->xattr[i]))
			wrong(w, "#%lu: %s is '%.20s', not '%.20s'", (unsigned long)inode->id, name,
			      value, inode->xattr[i]);
	}
	if (listed != have)
		wrong(w, "#%lu lists %u attributes, not %u", (unsigned long)inode->id, listed,
		      have);
}

/* The slot of a name in dir; -1: it belongs to somebody else. */
static int slot_of(const struct inode *dir, const char *name)
{
	char mine[32];

	for (unsigned int i = 0; i < NAMES; i++) {
		entry_name(dir, i, mine, sizeof(mine));
		if (!strcmp(name, mine))
			return (int)i;
	}
	return -1;
}

/* Names of other threads are looked at by these; those of tokens at the end. */
static bool is_foreign(const struct worker *w, const struct inode *dir, const char *name)
{
	unsigned int thread;

	if (dir == w->own)
		return !strcmp(name, "own");
	return dir == w->shared &&
	       (shared_has_name(name) ||
		(sscanf(name, "t%u.n", &thread) == 1 && thread < set.threads && thread != w->id));
}

void compare_names(struct worker *w, const struct inode *dir, int fd)
{
	unsigned int seen[NAMES] = {0};
	unsigned long id = (unsigned long)dir->id;
	struct dirent64 *d;
	char buf[1024]; /* several calls for most directories */
	ssize_t n;

	if (lseek(fd, 0, SEEK_SET))
		wrong(w, "rewind of directory #%lu: %s", id, strerror(errno));
	while ((n = getdents64(fd, buf, sizeof(buf))) > 0) {
		for (ssize_t at = 0; at < n; at += d->d_reclen) {
			int slot;

			d = (struct dirent64 *)(void *)(buf + at);
			if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
				continue;
			slot = slot_of(dir, d->d_name);
			if (slot < 0 && is_foreign(w, dir, d->d_name))
				continue;
			if (slot < 0 || !dir->entry[slot])
				wrong(w, "directory #%lu lists %s, which is not there", id,
				      d->d_name);
			if (seen[slot]++)
				wrong(w, "directory #%lu lists %s twice", id, d->d_name);
		}
	}
	if (n < 0)
		wrong(w, "readdir of directory #%lu: %s", id, strerror(errno));
	for (unsigned int i = 0; i < NAMES; i++)
		if (dir->entry[i] && !seen[i])
			wrong(w, "directory #%lu does not list %sn%u", id, dir->prefix, i);
}

static void compare_inode(struct worker *w, struct inode *inode, const char *path)
{
	char buf[64] = "";
	int fd;

	compare_stat(w, inode, AT_FDCWD, path);
	if (inode->kind == KIND_SYMLINK &&
	    (readlink(path, buf, sizeof(buf) - 1) < 0 || strcmp(buf, inode->target)))
		wrong(w, "%s (#%lu) is a link to '%s', not '%s'", path, (unsigned long)inode->id,
		      buf, inode->target);
	if (inode->kind != KIND_FILE && inode->kind != KIND_DIR)
		return;
	compare_xattrs(w, inode, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		wrong(w, "open of %s (#%lu): %s", path, (unsigned long)inode->id, strerror(errno));
	if (inode->kind == KIND_FILE)
		compare_data(w, inode, fd);
	else
		compare_names(w, inode, fd);
	close(fd);
}

void compare_all(struct worker *w, const char *root)
{
	char dir[PATH_LEN], path[2 * PATH_LEN], name[32];

	for (unsigned int i = 0; i < w->n_dirs; i++) {
		struct inode *d = w->dirs[i];

		dir_path(d, dir, sizeof(dir));
		snprintf(path, sizeof(path), "%s/%s", root, dir);
		say(w, "compare %s (#%lu)", path, (unsigned long)d->id);
		compare_inode(w, d, path);
		for (unsigned int n = 0; n < NAMES; n++) {
			if (!d->entry[n])
				continue;
			entry_name(d, n, name, sizeof(name));
			snprintf(path, sizeof(path), "%s/%s/%s", root, dir, name);
			say(w, "compare %s (#%lu)", path, (unsigned long)d->entry[n]->id);
			compare_inode(w, d->entry[n], path);
		}
	}
	for (unsigned int i = 0; i < HANDLES; i++) {
		if (!w->handles[i].inode)
			continue;
		compare_stat(w, w->handles[i].inode, w->handles[i].fd, "");
		if (w->handles[i].reads)
			compare_data(w, w->handles[i].inode, w->handles[i].fd);
	}
}
