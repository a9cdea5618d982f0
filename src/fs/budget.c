/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Limits of unflushed data: which ones hold for a file, and from when to when. What they do stands
 * in durability/budget.h.
 */
#include <string.h>

#include "base/log.h"
#include "config/rules.h"
#include "fs/internal.h"

/* What the rules say of N's names besides what the mount says: of several names, the strictest. */
static void limits_by_rules(struct fs *fs, const struct rules *rules, struct node *n,
			    struct budget_limits *out)
{
	_cleanup_free_ char *paths = node_paths(fs, n);
	struct budget_limits mount = *out;
	bool first = true;

	for (const char *path = paths; path && *path; path += strlen(path) + 1) {
		const struct rule *rule = rules_match(rules, path);
		struct budget_limits l = mount;

		if (rule)
			limits_replace(&l, &rule->limits, rule->limits_given);
		if (first)
			*out = l;
		else
			limits_strictest(out, &l);
		first = false;
	}
}

void fs_limits_of(struct fs *fs, struct node *n, struct budget_limits *out)
{
	struct rules *rules;

	pthread_mutex_lock(&fs->rules_lock);
	*out = fs->limits;
	rules = rules_ref(fs->rules);
	pthread_mutex_unlock(&fs->rules_lock);
	if (rules_limit(rules) && n->rec->type == S_IFREG)
		limits_by_rules(fs, rules, n, out);
	rules_unref(rules);
}

bool file_holds_writers(const struct file *f)
{
	return f->limits.dirty_max && !f->mode.switches.direct;
}

struct plan file_plan_open(const struct fs *fs, const struct file *f, struct switches sw,
			   int client_flags)
{
	if (file_holds_writers(f))
		return plan_open(sw, KERNEL_PATH_NEVER, client_flags, &fs->config.caps);
	return fs_plan(fs, sw, client_flags);
}

/* With F->lock held. */
static bool has_writer(const struct file *f, bool unseen)
{
	const struct handle *h;

	for (h = f->handles; h; h = h->next)
		if (h->can_write && (h->plan.kernel || !unseen))
			return true;
	return false;
}

/* With F->lock held: what is to be watched now. */
static struct budget_limits limits_now(const struct file *f)
{
	if (f->mode.switches.direct || !has_writer(f, false))
		return (struct budget_limits){0};
	return f->limits;
}

static void budget_new(struct fs *fs, struct file *f)
{
	/* the clients' own may be closed while the monitor looks; nobody's lease is waited for */
	int fd = fs_reopen(fs, f->path.fd, O_RDONLY | O_NONBLOCK);
	struct budget_file *fresh, *none = NULL;
	int err;

	if (fd < 0)
		fd = fs_reopen(fs, f->path.fd, O_WRONLY | O_NONBLOCK);
	err = fd < 0 ? fd : budget_file_create(fs->budget, fd, f->node->index, &f->flush, &fresh);
	if (err)
		log_warn("limits of unflushed data do not hold for inode %llu: %s",
			 (unsigned long long)f->node->key.ino, strerror(-err));
	else if (!atomic_compare_exchange_strong(&f->budget, &none, fresh))
		budget_file_destroy(fresh);
}

void file_limits_apply(struct fs *fs, struct file *f)
{
	struct budget_limits l;
	struct budget_file *b;

	pthread_mutex_lock(&f->lock);
	l = limits_now(f);
	pthread_mutex_unlock(&f->lock);
	if (fs->config.engine->null)
		return;
	if (limits_any(&l) && !atomic_load(&f->budget))
		budget_new(fs, f);
	b = atomic_load(&f->budget);
	if (!b)
		return;
	/* with the lock, so that what is applied last is what holds; nothing here blocks */
	pthread_mutex_lock(&f->lock);
	l = limits_now(f);
	budget_file_set(b, &l, !limits_any(&f->applied) && l.dirty_max);
	f->applied = l;
	pthread_mutex_unlock(&f->lock);
}

void file_limits_update(struct fs *fs, struct file *f)
{
	struct budget_limits l;
	bool late;

	fs_limits_of(fs, f->node, &l);
	pthread_mutex_lock(&f->lock);
	late = l.dirty_max && !f->limits.dirty_max && has_writer(f, true);
	f->limits = l;
	pthread_mutex_unlock(&f->lock);
	if (late)
		log_warn("dirty-max cannot hold up the writers of inode %llu, which is on the "
			 "kernel path, before all have closed it; write-back starts at half of it "
			 "until then",
			 (unsigned long long)f->node->key.ino);
	file_limits_apply(fs, f);
}

void fs_set_limits(struct fs *fs, const struct budget_limits *limits)
{
	struct open_files all;
	bool same;

	pthread_mutex_lock(&fs->rules_lock);
	same = limits_equal(&fs->limits, limits);
	fs->limits = *limits;
	pthread_mutex_unlock(&fs->rules_lock);
	if (same)
		return;
	atomic_fetch_add(&fs->mode_epoch, 1);
	if (fs_open_files(fs, &all)) {
		log_warn(
		    "out of memory: the new limits hold for files that are opened from now on");
		return;
	}
	for (size_t i = 0; i < all.count; i++)
		file_limits_update(fs, all.files[i]);
	fs_open_files_put(fs, &all);
}
