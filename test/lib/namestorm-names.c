/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operations on names. See namestorm.h. Each begins with what the model says of its outcome. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "namestorm.h"

static const char *const kinds[] = {"file", "directory", "symlink", "fifo"};

/* What stands at a place, for the history. */
static const char *what(const struct inode *inode, char *buf, size_t len)
{
	if (!inode)
		return "none";
	snprintf(buf, len, "#%lu %s", (unsigned long)inode->id, kinds[inode->kind]);
	return buf;
}

static void say_at(struct worker *w, const char *op, const struct place *p)
{
	char buf[64];

	say(w, "%s %s%s (%s)", op, p->at == set.root_fd ? "" : "at ", p->path,
	    what(p->inode, buf, sizeof(buf)));
}

static mode_t pick_mode(struct worker *w)
{
	return (mode_t)rnd(w, 01000);
}

/* A new inode has its name: look at it at once, sometimes. */
static void made(struct worker *w, const struct place *p, enum kind kind, mode_t mode)
{
	struct inode *inode = inode_new(w, kind, mode);

	entry_set(w, p, inode);
	if (!rnd(w, 4))
		compare_stat(w, inode, p->at, p->path);
}

static bool op_mkdir(struct worker *w)
{
	mode_t mode = pick_mode(w);
	struct place p;

	if (w->n_dirs >= MAX_DIRS + 2)
		return false;
	pick_place(w, &p, WISH_ABSENT);
	say_at(w, "mkdir", &p);
	if (!expect(w, mkdirat(p.at, p.path, mode), p.inode ? EEXIST : 0))
		made(w, &p, KIND_DIR, mode);
	return true;
}

static bool op_mknod(struct worker *w)
{
	mode_t mode = pick_mode(w);
	struct place p;

	pick_place(w, &p, WISH_ABSENT);
	say_at(w, "mknod", &p);
	if (!expect(w, mknodat(p.at, p.path, S_IFIFO | mode, 0), p.inode ? EEXIST : 0))
		made(w, &p, KIND_FIFO, mode);
	return true;
}

static bool op_symlink(struct worker *w)
{
	char target[32];
	struct place p;

	snprintf(target, sizeof(target), "to-%u-%lu", w->id, (unsigned long)w->serial);
	pick_place(w, &p, WISH_ABSENT);
	say_at(w, "symlink", &p);
	if (expect(w, symlinkat(target, p.at, p.path), p.inode ? EEXIST : 0))
		return true;
	made(w, &p, KIND_SYMLINK, 0777);
	memcpy(p.dir->entry[p.slot]->target, target, sizeof(target));
	return true;
}

static bool op_readlink(struct worker *w)
{
	char buf[64] = "";
	struct place p;
	int want = 0;

	pick_place(w, &p, WISH_PRESENT);
	if (!p.inode || p.inode->kind != KIND_SYMLINK)
		want = p.inode ? EINVAL : ENOENT;
	say_at(w, "readlink", &p);
	if (!expect(w, readlinkat(p.at, p.path, buf, sizeof(buf) - 1), want) &&
	    strcmp(buf, p.inode->target))
		wrong(w, "the link is to '%s', not to '%s'", buf, p.inode->target);
	return true;
}

/* An inode has lost a name. */
static void lost(struct worker *w, struct inode *inode)
{
	for (unsigned int i = 0; i < HANDLES && inode->opens; i++)
		if (w->handles[i].inode == inode && !rnd(w, 4))
			compare_stat(w, inode, w->handles[i].fd, "");
	inode_put(w, inode);
}

static bool op_unlink(struct worker *w)
{
	struct place p;
	int want = 0;

	pick_place(w, &p, rnd(w, 4) ? WISH_FILE : WISH_PRESENT);
	if (!p.inode || p.inode->kind == KIND_DIR)
		want = p.inode ? EISDIR : ENOENT;
	say_at(w, "unlink", &p);
	if (expect(w, unlinkat(p.at, p.path, 0), want))
		return true;
	entry_clear(w, &p);
	lost(w, p.inode);
	return true;
}

static bool op_rmdir(struct worker *w)
{
	struct place p;
	int want = 0;

	pick_place(w, &p, WISH_DIR);
	if (!p.inode || p.inode->kind != KIND_DIR)
		want = p.inode ? ENOTDIR : ENOENT;
	else if (dir_count(p.inode, false))
		want = ENOTEMPTY;
	say_at(w, "rmdir", &p);
	if (expect(w, unlinkat(p.at, p.path, AT_REMOVEDIR), want))
		return true;
	entry_clear(w, &p);
	inode_put(w, p.inode);
	return true;
}

/* The place of an entry by its number. */
static void place_of(struct inode *dir, unsigned int slot, struct place *p)
{
	char path[PATH_LEN - 32], name[32];

	*p = (struct place){.dir = dir, .slot = slot, .inode = dir->entry[slot], .at = set.root_fd};
	dir_path(dir, path, sizeof(path));
	entry_name(dir, slot, name, sizeof(name));
	snprintf(p->path, sizeof(p->path), "%s/%s", path, name);
}

/* A whole directory, as rm -r does it; without this all would soon be full. */
static bool op_remove_all(struct worker *w)
{
	struct inode *dir = w->dirs[rnd(w, w->n_dirs)];
	struct place p;

	if (!dir->parent || dir_count(dir, true))
		return false;
	for (unsigned int i = 0; i < NAMES; i++) {
		place_of(dir, i, &p);
		if (!p.inode)
			continue;
		say_at(w, "unlink", &p);
		expect(w, unlinkat(p.at, p.path, 0), 0);
		entry_clear(w, &p);
		lost(w, p.inode);
	}
	place_of(dir->parent, dir->slot, &p);
	say_at(w, "rmdir", &p);
	expect(w, unlinkat(p.at, p.path, AT_REMOVEDIR), 0);
	entry_clear(w, &p);
	inode_put(w, dir);
	return true;
}

/*
 * The kernel itself refuses to link what it believes to have no name any more, and a count that
 * another thread's READDIRPLUS brought from before is believed for attr-timeout
 * (namestorm-compare.c): a name that is gone in this moment may have been the last one by that
 * count. A real loss is one for good.
 */
int link_patiently(int at, const char *path, int flags, const struct place *to, bool named)
{
	int err = linkat(at, path, to->at, to->path, flags);
	struct stat st;

	for (int i = 0; i < 100 && err && errno == ENOENT && named; i++) {
		usleep(100000);
		/* of an open file no name is looked up, which would tell the kernel the count */
		if (flags & AT_SYMLINK_FOLLOW)
			fstatat(at, path, &st, 0);
		err = linkat(at, path, to->at, to->path, flags);
	}
	return err;
}

static bool op_link(struct worker *w)
{
	char buf[64];
	struct place from, to;
	int want = 0;

	pick_place(w, &from, WISH_FILE);
	pick_place(w, &to, WISH_ABSENT);
	if (!from.inode)
		want = ENOENT;
	else if (to.inode)
		want = EEXIST;
	else if (from.inode->kind == KIND_DIR)
		want = EPERM;
	say(w, "link %s (%s) to %s (%s)", from.path, what(from.inode, buf, sizeof(buf)), to.path,
	    to.inode ? "there" : "none");
	if (expect(w, link_patiently(from.at, from.path, 0, &to, !want), want))
		return true;
	entry_set(w, &to, from.inode);
	compare_stat(w, from.inode, to.at, to.path);
	return true;
}

/* In the order in which Linux looks (do_renameat2, vfs_rename, the filesystem). */
static int rename_errno(const struct place *from, const struct place *to, unsigned int flags)
{
	const struct inode *old = from->inode, *new = to->inode;

	if (!old)
		return ENOENT;
	if (new &&flags & RENAME_NOREPLACE)
		return EEXIST;
	if (!new &&flags & RENAME_EXCHANGE)
		return ENOENT;
	if (old->kind == KIND_DIR && is_below(to->dir, old))
		return EINVAL;
	if (new &&new->kind == KIND_DIR && is_below(from->dir, new))
		return flags & RENAME_EXCHANGE ? EINVAL : ENOTEMPTY;
	if (!new || old == new || flags & RENAME_EXCHANGE)
		return 0;
	if (old->kind == KIND_DIR && new->kind != KIND_DIR)
		return ENOTDIR;
	if (old->kind != KIND_DIR && new->kind == KIND_DIR)
		return EISDIR;
	return new->kind == KIND_DIR &&dir_count(new, false) ? ENOTEMPTY : 0;
}

static void renamed(struct worker *w, const struct place *from, const struct place *to,
		    unsigned int flags)
{
	struct inode *old = from->inode, *new = to->inode;

	if (old == new)
		return;
	entry_clear(w, from);
	if (new)
		entry_clear(w, to);
	entry_set(w, to, old);
	if (new &&flags & RENAME_EXCHANGE)
		entry_set(w, from, new);
	else if (new)
		lost(w, new);
}

static bool op_rename(struct worker *w)
{
	static const unsigned int choice[] = {0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE};
	unsigned int flags = choice[rnd(w, set.exchange ? 5 : 3)];
	char buf[2][64];
	struct place from, to;

	pick_place(w, &from, WISH_PRESENT);
	pick_place(w, &to, flags & RENAME_EXCHANGE ? WISH_PRESENT : WISH_ANY);
	say(w, "rename%s %s (%s) to %s (%s)",
	    flags & RENAME_NOREPLACE  ? " noreplace"
	    : flags & RENAME_EXCHANGE ? " exchange"
				      : "",
	    from.path, what(from.inode, buf[0], sizeof(buf[0])), to.path,
	    what(to.inode, buf[1], sizeof(buf[1])));
	if (expect(w, renameat2(from.at, from.path, to.at, to.path, flags),
		   rename_errno(&from, &to, flags)))
		return true;
	renamed(w, &from, &to, flags);
	return true;
}

static bool op_stat(struct worker *w)
{
	struct place p;
	struct stat st;

	pick_place(w, &p, rnd(w, 4) ? WISH_PRESENT : WISH_ABSENT);
	say_at(w, "stat", &p);
	if (p.inode)
		compare_stat(w, p.inode, p.at, p.path);
	else
		expect(w, fstatat(p.at, p.path, &st, AT_SYMLINK_NOFOLLOW), ENOENT);
	return true;
}

static bool op_chmod(struct worker *w)
{
	mode_t mode = pick_mode(w);
	struct place p;

	pick_place(w, &p, WISH_PRESENT);
	if (p.inode && p.inode->kind == KIND_SYMLINK) /* would be followed */
		return false;
	say_at(w, "chmod", &p);
	if (!expect(w, fchmodat(p.at, p.path, mode, 0), p.inode ? 0 : ENOENT)) {
		p.inode->mode = mode;
		compare_stat(w, p.inode, p.at, p.path);
	}
	return true;
}

/* Opens a directory to keep, or reads the names of one that is open, perhaps removed since. */
static bool op_opendir(struct worker *w)
{
	struct inode *dir = w->dirs[rnd(w, w->n_dirs)];
	char path[PATH_LEN];
	int fd;

	dir_path(dir, path, sizeof(path));
	say(w, "opendir %s (#%lu)", path, (unsigned long)dir->id);
	fd = openat(set.root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	expect(w, fd, 0);
	compare_stat(w, dir, fd, "");
	compare_names(w, dir, fd);
	handle_new(w, dir, fd, O_RDONLY);
	return true;
}

static bool op_readdir(struct worker *w)
{
	struct handle *h = &w->dir_handles[rnd(w, DIR_HANDLES)];
	char buf[256];

	if (!h->inode)
		return false;
	say(w, "readdir of #%lu%s", (unsigned long)h->inode->id,
	    h->inode->nlink ? "" : ", removed");
	if (h->inode->nlink)
		compare_names(w, h->inode, h->fd);
	else
		expect(w, getdents64(h->fd, buf, sizeof(buf)), ENOENT);
	return true;
}

static bool op_fsyncdir(struct worker *w)
{
	struct handle *h = &w->dir_handles[rnd(w, DIR_HANDLES)];

	if (!h->inode)
		return false;
	say(w, "fsync of directory #%lu", (unsigned long)h->inode->id);
	expect(w, fsync(h->fd), 0);
	return true;
}

const struct op_type name_ops[] = {
    {"mkdir", 20, op_mkdir},
    {"mknod", 8, op_mknod},
    {"symlink", 12, op_symlink},
    {"readlink", 6, op_readlink},
    {"unlink", 30, op_unlink},
    {"rmdir", 18, op_rmdir},
    {"remove-all", 8, op_remove_all},
    {"link", 20, op_link},
    {"rename", 40, op_rename},
    {"stat", 15, op_stat},
    {"chmod", 8, op_chmod},
    {"opendir", 8, op_opendir},
    {"readdir", 8, op_readdir},
    {"fsyncdir", 2, op_fsyncdir},
    {NULL, 0, NULL},
};
