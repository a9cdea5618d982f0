/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What there should be: inodes, names and open files of one thread. See namestorm.h. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "namestorm.h"

struct inode *inode_new(struct worker *w, enum kind kind, mode_t mode)
{
	struct inode *i = calloc(1, sizeof(*i));

	if (!i)
		die("no memory", "");
	i->id = ++w->serial;
	i->kind = kind;
	i->mode = mode;
	i->prefix = "";
	if (kind == KIND_FILE && !(i->data = calloc(1, MAX_SIZE)))
		die("no memory", "");
	return i;
}

void inode_put(struct worker *w, struct inode *inode)
{
	if (inode->nlink || inode->opens || inode == w->own || inode == w->shared)
		return;
	free(inode->data);
	free(inode);
}

static void dirs_remove(struct worker *w, const struct inode *dir)
{
	for (unsigned int i = 0; i < w->n_dirs; i++)
		if (w->dirs[i] == dir)
			w->dirs[i--] = w->dirs[--w->n_dirs];
}

void entry_set(struct worker *w, const struct place *p, struct inode *inode)
{
	p->dir->entry[p->slot] = inode;
	inode->linkable = false;
	if (inode->kind != KIND_DIR) {
		inode->nlink++;
		return;
	}
	inode->nlink = 1;
	inode->parent = p->dir;
	inode->slot = p->slot;
	dirs_remove(w, inode);
	w->dirs[w->n_dirs++] = inode;
}

void entry_clear(struct worker *w, const struct place *p)
{
	struct inode *inode = p->dir->entry[p->slot];

	p->dir->entry[p->slot] = NULL;
	inode->nlink--;
	if (inode->kind == KIND_DIR) {
		inode->parent = NULL;
		dirs_remove(w, inode);
	}
}

void entry_name(const struct inode *dir, unsigned int slot, char *name, size_t len)
{
	snprintf(name, len, "%sn%u", dir->prefix, slot);
}

void dir_path(const struct inode *dir, char *path, size_t len)
{
	char parent[PATH_LEN], name[32];

	if (!dir->parent) {
		snprintf(path, len, "%s", dir->top);
		return;
	}
	dir_path(dir->parent, parent, sizeof(parent));
	entry_name(dir->parent, dir->slot, name, sizeof(name));
	if ((size_t)snprintf(path, len, "%s/%s", parent, name) >= len)
		die("the path is too long", parent);
}

unsigned int dir_count(const struct inode *dir, bool only_dirs)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < NAMES; i++)
		n += dir->entry[i] && (!only_dirs || dir->entry[i]->kind == KIND_DIR);
	return n;
}

bool is_below(const struct inode *dir, const struct inode *ancestor)
{
	for (; dir; dir = dir->parent)
		if (dir == ancestor)
			return true;
	return false;
}

static bool fulfils(const struct inode *inode, enum wish wish)
{
	switch (wish) {
	case WISH_ABSENT:
		return !inode;
	case WISH_PRESENT:
		return inode;
	case WISH_FILE:
		return inode && inode->kind == KIND_FILE;
	case WISH_DIR:
		return inode && inode->kind == KIND_DIR;
	case WISH_ANY:
		break;
	}
	return true;
}

/* The descriptor of an open directory, when there is one. */
static int open_dir_of(struct worker *w, const struct inode *dir)
{
	for (unsigned int i = 0; i < DIR_HANDLES; i++)
		if (w->dir_handles[i].inode == dir)
			return w->dir_handles[i].fd;
	return -1;
}

void pick_place(struct worker *w, struct place *p, enum wish wish)
{
	char dir[PATH_LEN], name[32];

	/* one in eight tries is for the errors */
	for (int tries = rnd(w, 8) ? 12 : 1; tries > 0; tries--) {
		p->dir = rnd(w, 4) ? w->dirs[rnd(w, w->n_dirs)] : w->shared;
		p->slot = (unsigned int)rnd(w, NAMES);
		p->inode = p->dir->entry[p->slot];
		if (fulfils(p->inode, wish))
			break;
	}
	entry_name(p->dir, p->slot, name, sizeof(name));
	p->at = rnd(w, 2) ? open_dir_of(w, p->dir) : -1;
	if (p->at >= 0) {
		snprintf(p->path, sizeof(p->path), "%s", name);
		return;
	}
	p->at = set.root_fd;
	dir_path(p->dir, dir, sizeof(dir));
	if ((size_t)snprintf(p->path, sizeof(p->path), "%s/%s", dir, name) >= sizeof(p->path))
		die("the path is too long", dir);
}

struct handle *pick_handle(struct worker *w, bool writes)
{
	for (int tries = 0; tries < 8; tries++) {
		struct handle *h = &w->handles[rnd(w, HANDLES)];

		if (h->inode && (!writes || h->writes))
			return h;
	}
	return NULL;
}

/* Takes the descriptor; closes another one when there are too many. */
struct handle *handle_new(struct worker *w, struct inode *inode, int fd, int flags)
{
	struct handle *all = inode->kind == KIND_DIR ? w->dir_handles : w->handles;
	unsigned int n = inode->kind == KIND_DIR ? DIR_HANDLES : HANDLES;
	struct handle *h = &all[rnd(w, n)];

	if (h->inode)
		handle_close(w, h);
	inode->opens++;
	*h = (struct handle){.inode = inode,
			     .fd = fd,
			     .append = flags & O_APPEND,
			     .reads = (flags & O_ACCMODE) != O_WRONLY,
			     .writes = (flags & O_ACCMODE) != O_RDONLY};
	return h;
}

void handle_close(struct worker *w, struct handle *h)
{
	struct inode *inode = h->inode;

	if (close(h->fd))
		wrong(w, "close of #%lu failed", (unsigned long)inode->id);
	if (inode->locker == h)
		inode->locker = NULL;
	inode->opens--;
	h->inode = NULL;
	inode_put(w, inode);
}
