/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files that go back to their last checkpoint. */
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/log.h"
#include "fs/checkpointer_internal.h"
#include "fs/internal.h"

int checkpointer_rollback(struct checkpointer *c, int dir_fd, const char *name, int fd,
			  bool dry_run, struct fs_rollback *out)
{
	struct checkpoint_info info;
	struct checkpoints *store;
	struct file_id id, fresh;
	int err = !c->any || !file_id_of(fd, &id) ? -ENOENT : checkpointer_store(c, &store);

	if (!err)
		err = (dry_run ? checkpoint_info(store, &id, 0, &info)
			       : checkpoint_peek(store, &id, &info));
	if (!err)
		err = checkpoint_rollback(store, &id, dir_fd, name, dry_run, out->kept, &fresh);
	if (err)
		return err;
	out->taken = info.taken;
	out->own_bytes = info.unique;
	out->id = dry_run ? id : fresh;
	return 0;
}

int checkpointer_rolled_back(struct checkpointer *c, int dir_fd, int fd, struct fs_rollback *out)
{
	struct checkpoint_info info = {0};
	struct checkpoints *store;
	int err = file_id_of(fd, &out->id) ? checkpointer_store(c, &store) : -EOPNOTSUPP;

	if (!err)
		err = checkpoint_peek(store, &out->id, &info);
	out->taken = info.taken;
	out->own_bytes = UINT64_MAX;
	/* it may have been killed before it did that */
	return err ? err : sysret(syncfs(dir_fd));
}

struct rolling_back {
	struct checkpointer *c;
	bool (*concerned)(void *arg, int fd, const char *path);
	void (*done)(void *arg, const char *path, int err, const struct fs_rollback *r);
	void *arg;
	unsigned count;
};

static int open_strictly_beneath(int dir_fd, const char *path, uint64_t flags)
{
	struct open_how how = {.flags = flags | O_CLOEXEC | O_NOFOLLOW,
			       .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV};

	return sysret((int)syscall(SYS_openat2, dir_fd, path, &how, sizeof(how)));
}

static void rollback_one(void *arg, const struct file_id *id, const char *path,
			 const struct checkpoint_info *info)
{
	struct rolling_back *r = arg;
	_cleanup_fd_ int fd = open_strictly_beneath(r->c->fs->root_fd, path, O_PATH), dir = -1;
	_cleanup_free_ char *parent = strdup(path);
	struct fs_rollback result = {0};
	char *slash = parent ? strrchr(parent, '/') : NULL;
	struct file_id there;
	int err;

	(void)info;
	/* moved or replaced meanwhile: cachefsctl rollback finds it under its new name */
	if (fd < 0 || !file_id_of(fd, &there) || !file_id_equal(&there, id) ||
	    !r->concerned(r->arg, fd, path))
		return;
	if (slash)
		*slash = 0;
	dir =
	    open_strictly_beneath(r->c->fs->root_fd, slash ? parent : ".", O_RDONLY | O_DIRECTORY);
	err = dir < 0
		  ? dir
		  : checkpointer_rollback(r->c, dir, slash ? slash + 1 : path, fd, false, &result);
	r->done(r->arg, path, err, &result);
	r->count += !err;
}

unsigned checkpointer_rollback_all(
    struct checkpointer *c, bool (*concerned)(void *arg, int fd, const char *path),
    void (*done)(void *arg, const char *path, int err, const struct fs_rollback *r), void *arg)
{
	struct rolling_back r = {.c = c, .concerned = concerned, .done = done, .arg = arg};
	struct checkpoints *store;

	if (c->any && !checkpointer_store(c, &store))
		checkpoint_each(store, rollback_one, &r);
	return r.count;
}
