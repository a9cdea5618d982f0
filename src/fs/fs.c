/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The mount's state, and what the other files of fs/ share. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysmacros.h>

#include "base/log.h"
#include "config/rules.h"
#include "fs/internal.h"
#include "fs/once.h"
#include "fs/shared.h"
#include "fs/resume.h"
#include "fs/sweep.h"
#include "fs/witness.h"
#include "supervisor/arena.h"

#define PATH_FDS_MAX 32768u

struct switches fs_switches(struct fs *fs)
{
	return switches_unpack(atomic_load(&fs->switches));
}

bool fs_holds_up(struct fs *fs)
{
	return budget_holds_up(fs->budget);
}

bool fs_direct_possible(struct fs *fs)
{
	return fs->config.caps.backing_direct_io;
}

struct plan fs_plan(const struct fs *fs, struct switches sw, int client_flags)
{
	return plan_open(sw, fs->config.kernel_path, client_flags, &fs->config.caps);
}

struct fd_path fs_fd_path(int fd)
{
	struct fd_path p;

	snprintf(p.s, sizeof(p.s), "/proc/self/fd/%d", fd);
	return p;
}

int fs_reopen(struct fs *fs, int path_fd, int flags)
{
	char name[16];

	snprintf(name, sizeof(name), "%d", path_fd);
	/* the name is a magic link, which O_NOFOLLOW would refuse */
	return sysret(openat(fs->proc_fd, name, (flags & ~O_NOFOLLOW) | O_CLOEXEC));
}

int fs_statx_fd(int fd, struct statx *st)
{
	return sysret(statx(fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_WANTED, st));
}

void fs_fix_ino(struct fs *fs, struct statx *st)
{
	uint64_t dev = (uint64_t)st->stx_dev_major << 32 | st->stx_dev_minor;

	if (dev != fs->root_dev)
		st->stx_ino ^= (dev ^ fs->root_dev) << 40;
}

bool fs_names_sync(struct fs *fs, struct node *n)
{
	if (!fs_switches(fs).writeback)
		return true;
	return n && n->rec->type == S_IFREG && !fs_mode_of(fs, n).switches.writeback;
}

int fs_sync_dir(struct fs *fs, int dir_fd, bool sync)
{
	_cleanup_fd_ int fd = -1;

	atomic_store_explicit(&fs->written, true, memory_order_relaxed);
	if (!sync || fs->config.engine->null)
		return 0;
	fd = fs_reopen(fs, dir_fd, O_RDONLY | O_DIRECTORY);
	return fd < 0 ? fd : sysret(fsync(fd));
}

int fs_sync_again(struct fs *fs, bool owed)
{
	if (!owed || fs->config.engine->null || !once_resent())
		return 0;
	return fs_sync_backing(fs);
}

int fs_sync_dir_once(struct fs *fs, int dir_fd, bool sync)
{
	int err = fs_sync_dir(fs, dir_fd, sync);

	if (!err)
		err = fs_sync_again(fs, sync);
	return err ? once_end(err) : 0;
}

int fs_sync_attr(struct fs *fs, struct sync_attr **out)
{
	struct claim turn = {.kind = CLAIM_GATE, .start = 0, .end = UINT64_MAX};
	struct sync_attr *s = atomic_load(&fs->sync_attr);
	int err = 0;

	if (!s && !fs->config.privileged)
		return -EPERM;
	if (!s) {
		iolock_acquire_wait(&fs->sync_attr_turn, &turn);
		s = atomic_load(&fs->sync_attr);
		if (!s)
			err = sync_attr_create(fs->own, fs->root_fd, true, NULL, &s);
		if (!err)
			atomic_store(&fs->sync_attr, s);
		iolock_release(&fs->sync_attr_turn, &turn);
	}
	*out = s;
	return err;
}

/* As many descriptors as allowed; half of them at most for nodes, the rest for open files. */
static uint32_t fd_budget(void)
{
	struct rlimit r = {1024, 1024};

	getrlimit(RLIMIT_NOFILE, &r);
	return (uint32_t)MIN(r.rlim_cur / 2, PATH_FDS_MAX);
}

/* The readable one outlives us: it has been told of errors that another would not be told of. */
static int open_root(struct fs *fs)
{
	atomic_int *recorded = &fs->shared->state->root_fd;
	int fd = fs->config.resumed ? atomic_load(recorded) - 1 : -1;

	if (fd < 0)
		fd = fs_reopen(fs, fs->config.source_fd, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fd;
	fs->root_fd = fd;
	atomic_store(recorded, fd + 1);
	atomic_store(&fs->ask_witness, fs->config.resumed);
	witness_sync_open(fs);
	return 0;
}

static bool node_in_use(void *record)
{
	return node_record_in_use(record);
}

static bool handle_published(void *record)
{
	struct handle_record *r = record;

	if (handle_record_published(r))
		return true;
	r->state = HANDLE_FREE; /* its open comes again, and is another one */
	return false;
}

/* Names are in use as far as nodes lead to them: nodes_rebuild(). */
static int make_arenas(struct fs *fs)
{
	struct fs_shared *s = fs->config.shared;
	bool resumed = fs->config.resumed;
	int err = 0;

	if (!s) {
		err = fs_shared_create(&s);
		fs->own_shared = !err;
	}
	fs->shared = s;
	fs->owes = err ? NULL : &s->state->owes;
	if (!err)
		err = arena_create(s->nodes, sizeof(struct node), resumed ? node_in_use : NULL,
				   &fs->nodes);
	if (!err)
		err = arena_create(s->names, 0, NULL, &fs->names);
	if (!err)
		err = arena_create(s->handles, sizeof(struct handle),
				   resumed ? handle_published : NULL, &fs->handles);
	return err;
}

static int fs_open_root(struct fs *fs)
{
	int err;

	fs->proc_fd = sysret(open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC));
	if (fs->proc_fd < 0)
		return fs->proc_fd;
	err = open_root(fs);
	if (err)
		return err;
	if (!fs->config.resumed)
		return node_root_create(fs, steal_fd(&fs->config.source_fd));
	atomic_store(&fs->written, true);
	/* what a remount has changed since the options were read */
	if (atomic_load(&fs->owes->switches))
		atomic_store(&fs->switches, atomic_load(&fs->owes->switches) & 7);
	err = nodes_rebuild(fs, steal_fd(&fs->config.source_fd));
	if (!err)
		err = handles_rebuild(fs);
	if (!err)
		nodes_rebuild_end(fs);
	return err;
}

/* What an earlier mount left is cleared, and what kernel-path=always needs is taken. */
static int find_sync_attr(struct fs *fs)
{
	bool needed = fs->config.caps.kernel_path && fs->config.kernel_path == KERNEL_PATH_ALWAYS;
	struct sync_attr_kept kept = {0};
	struct sync_attr *s = NULL;
	int err = fs->config.resumed ? resume_attrs(fs, &kept) : 0;

	if (!err)
		err = sync_attr_create(fs->own, fs->root_fd, needed || kept.count, &kept, &s);
	free(kept.names);
	atomic_store(&fs->sync_attr, s);
	/* a read-only backing has no writers */
	return err == -EROFS ? 0 : err;
}

int fs_create(const struct fs_config *config, struct fs **out)
{
	struct fs *fs = calloc(1, sizeof(*fs));
	int err;

	if (!fs)
		return -ENOMEM;
	fs->config = *config;
	fs->root_fd = fs->proc_fd = -1;
	fs->fds.budget = fd_budget();
	pthread_mutex_init(&fs->fds.lock, NULL);
	pthread_mutex_init(&fs->tree, NULL);
	pthread_mutex_init(&fs->backing_lock, NULL);
	node_table_init(fs);
	reports_init(fs);
	pthread_mutex_init(&fs->rules_lock, NULL);
	iolock_init(&fs->changes);
	iolock_init(&fs->sync_attr_turn);
	atomic_store(&fs->switches, switches_pack(config->switches));
	atomic_store(&fs->modes_by_root, config->modes_by_root);
	atomic_store(&fs->flush_on_close, config->flush_on_close);
	fs->rules = config->rules;
	fs->limits = config->limits;
	err = budget_create(&fs->budget, config->pool, config->caps.cachestat);
	if (!err)
		err = make_arenas(fs);
	if (!err)
		err = fs_open_root(fs);
	if (!err)
		err = private_dir_create(fs->root_fd, &fs->own);
	if (!err && private_dir_record(fs->own, &fs->shared->state->private_lock_fd))
		log_warn("the lock of %s was lost: somebody has replaced it in the backing "
			 "directory",
			 PRIVATE_DIR);
	if (!err && config->privileged)
		err = find_sync_attr(fs);
	if (!err)
		err = checkpointer_create(fs, config->checkpoint, &fs->checkpointer);
	if (!err)
		err = unsafe_create(fs, &fs->unsafe);
	if (!err && config->resumed)
		handles_resume(fs);
	if (!err && config->page_timeout >= 0)
		err = sweep_create(fs, config->page_timeout, &fs->sweep);
	if (!err && config->resumed)
		err = fs_resume(fs);
	if (err && config->resumed)
		return err; /* another process may do better: what was recorded stays */
	if (err) {
		fs_destroy(fs);
		return err;
	}
	*out = fs;
	return 0;
}

/* Handles whose RELEASE never came, as after an unmount. */
static void release_handles(struct fs *fs)
{
	uint32_t next;

	for (uint32_t i = arena_next(fs->handles, 0); i; i = next) {
		next = arena_next(fs->handles, i);
		handle_destroy(fs, arena_private(fs->handles, i));
	}
}

void fs_destroy(struct fs *fs)
{
	if (!fs)
		return;
	sweep_destroy(fs->sweep);
	unsafe_stop(fs->unsafe);
	fs->ending = true;
	if (fs->handles)
		release_handles(fs);
	unsafe_destroy(fs->unsafe);
	checkpointer_destroy(fs->checkpointer);
	fs->unsafe = NULL;
	sync_attr_destroy(atomic_load(&fs->sync_attr));
	private_dir_destroy(fs->own);
	rules_unref(fs->rules);
	budget_destroy(fs->budget);
	if (fs->nodes)
		node_table_destroy(fs);
	arena_destroy(fs->handles);
	arena_destroy(fs->names);
	arena_destroy(fs->nodes);
	if (fs->shared) {
		witness_sync_close(fs);
		atomic_store(&fs->shared->state->root_fd, 0);
	}
	if (fs->own_shared)
		fs_shared_destroy(fs->shared);
	cleanup_fd(&fs->config.source_fd);
	cleanup_fd(&fs->root_fd);
	cleanup_fd(&fs->proc_fd);
	iolock_destroy(&fs->sync_attr_turn);
	iolock_destroy(&fs->changes);
	pthread_mutex_destroy(&fs->rules_lock);
	pthread_mutex_destroy(&fs->backing_lock);
	pthread_mutex_destroy(&fs->tree);
	pthread_mutex_destroy(&fs->fds.lock);
	free(fs);
}

void fs_stop(struct fs *fs)
{
	budget_stop(fs->budget); /* no writer is held up any more */
	checkpointer_stop(fs->checkpointer);
	unsafe_stop(fs->unsafe);
}

int fs_finish(struct fs *fs, bool still_used)
{
	int err = fs_flush_all(fs);

	unsafe_finish(fs->unsafe, !err, still_used);
	return err;
}

int fs_flush_all(struct fs *fs)
{
	/* stays set: the kernel path goes on writing unseen */
	if (!atomic_load(&fs->written) || fs->config.engine->null)
		return 0;
	return fs_sync_backing(fs);
}

int fs_sync_backing(struct fs *fs)
{
	atomic_int *first = &fs->shared->state->sync_error;
	int none = 0, err = -sysret(syncfs(fs->root_fd));

	if (!err && atomic_load(&fs->ask_witness))
		err = witness_sync_ask(fs);
	/* reported once per descriptor by the kernel, and never forgotten by us */
	if (err)
		atomic_compare_exchange_strong(first, &none, err);
	return -atomic_load(first);
}
