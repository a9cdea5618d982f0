/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which mode a file has: the first of one set at run time, one stored with it, a rule (of several
 * names of one inode the strongest), the mount's.
 */
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#include "base/log.h"
#include "config/rules.h"
#include "fs/internal.h"
#include "fs/once.h"

#define STORED_MAX 128 /* bytes; the longest that mode_describe() writes is shorter */

static bool mode_stored(struct fs *fs, struct node *n, struct switches *sw)
{
	_cleanup_path_ struct path_fd p = PATH_FD_NONE;
	char text[STORED_MAX];
	ssize_t len = path_fd_get(fs, n, &p);

	if (len == 0)
		len =
		    sysret(getxattr(fs_fd_path(p.fd).s, CACHEFS_XATTR_STORED, text, sizeof(text)));
	if (len == -ENODATA || len == -EOPNOTSUPP)
		return false;
	if (len < 0 && len != -ERANGE) {
		log_warn("inode %llu: its attribute %s could not be read: %s: its mode is that of "
			 "rules and mount until cachefsctl reload",
			 (unsigned long long)n->key.ino, CACHEFS_XATTR_STORED, strerror((int)-len));
		return false;
	}
	if (len >= 0 && !mode_parse(text, (size_t)len, sw))
		return true;
	log_warn("inode %llu: its attribute %s is no cache mode: ignored, set it anew with "
		 "cachefsctl mode --persist",
		 (unsigned long long)n->key.ino, CACHEFS_XATTR_STORED);
	return false;
}

struct rules *fs_rules(struct fs *fs)
{
	struct rules *r;

	pthread_mutex_lock(&fs->rules_lock);
	r = rules_ref(fs->rules);
	pthread_mutex_unlock(&fs->rules_lock);
	return r;
}

/* The strongest of what the rules say of N's names; a name without a rule has M already. */
static void mode_by_rules(struct fs *fs, struct node *n, struct file_mode *m)
{
	struct rules *rules = fs_rules(fs);
	_cleanup_free_ char *paths = rules_count(rules) ? node_paths(fs, n) : NULL;
	bool first = true;

	for (const char *path = paths; path && *path; path += strlen(path) + 1) {
		const struct rule *rule = rules_match(rules, path);
		struct file_mode found = {fs_switches(fs), CACHEFS_ORIGIN_MOUNT};

		if (rule)
			found = (struct file_mode){rule->switches, CACHEFS_ORIGIN_RULE};
		if (first || switches_strength(found.switches) > switches_strength(m->switches))
			*m = found;
		first = false;
	}
	rules_unref(rules);
}

struct file_mode fs_mode_of(struct fs *fs, struct node *n)
{
	struct file_mode m = {fs_switches(fs), CACHEFS_ORIGIN_MOUNT};
	uint8_t runtime = __atomic_load_n(&n->rec->runtime, __ATOMIC_ACQUIRE);

	if (n->rec->type != S_IFREG)
		return m;
	if (runtime)
		return (struct file_mode){switches_unpack(runtime), CACHEFS_ORIGIN_RUNTIME};
	if (mode_stored(fs, n, &m.switches))
		m.origin = CACHEFS_ORIGIN_STORED;
	else
		mode_by_rules(fs, n, &m);
	return m;
}

/* ---- who may change it, and how ---- */

void fs_set_modes_by(struct fs *fs, bool root_only)
{
	atomic_store(&fs->modes_by_root, root_only);
}

bool fs_may_set_modes(struct fs *fs, uid_t uid, uid_t owner)
{
	return uid == 0 || (uid == owner && !atomic_load(&fs->modes_by_root));
}

int fs_may_set_mode(struct fs *fs, uint64_t id, uid_t uid)
{
	struct statx st;
	int err = fs_getattr(fs, id, FS_NO_HANDLE, &st);

	return err ? err : fs_may_set_modes(fs, uid, st.stx_uid) ? 0 : -EPERM;
}

static int store(struct fs *fs, struct node *n, const struct fs_mode_change *c)
{
	_cleanup_path_ struct path_fd p = PATH_FD_NONE;
	int err = path_fd_get(fs, n, &p);
	struct fd_path path;
	char text[STORED_MAX];

	if (err)
		return err;
	path = fs_fd_path(p.fd);
	atomic_store_explicit(&fs->written, true, memory_order_relaxed);
	if (c->clear) {
		err = sysret(removexattr(path.s, CACHEFS_XATTR_STORED));
		return err == -ENODATA && c->again ? 0 : err;
	}
	mode_describe(c->switches, text, sizeof(text));
	return sysret(setxattr(path.s, CACHEFS_XATTR_STORED, text, strlen(text), c->xattr_flags));
}

static int change_stored(struct fs *fs, struct node *n, const struct fs_mode_change *c)
{
	int err = store(fs, n, c);

	if (err)
		return err;
	if (!c->clear && c->in_force)
		node_set_runtime(fs, n, 0);
	err = fs_mode_apply(fs, n);
	return err == -EBUSY ? 0 : err; /* pending: it describes the file, open or not */
}

static int change_runtime(struct fs *fs, struct node *n, const struct fs_mode_change *c)
{
	uint8_t before = (uint8_t)once_remember(n->rec->runtime);
	int err;

	node_set_runtime(fs, n,
			 c->clear ? 0 : (uint8_t)(NODE_RUNTIME | switches_pack(c->switches)));
	err = fs_mode_apply(fs, n);
	if (err == -EBUSY && !c->pending_ok) {
		node_set_runtime(fs, n, before);
		fs_mode_apply(fs, n);
	} else if (err == -EBUSY) {
		err = 0;
	}
	return err;
}

static int change_check(struct fs *fs, uint64_t id, const struct fs_mode_change *c)
{
	struct node *n = node_get(fs, id);
	int err = n ? 0 : -ESTALE;

	if (!err && n->rec->type != S_IFREG)
		err = -EOPNOTSUPP;
	if (!err)
		err = fs_may_set_mode(fs, id, c->uid);
	if (!err && !c->clear && !switches_valid(c->switches))
		err = -EINVAL;
	if (!err && !c->clear && c->switches.direct && !fs->config.caps.backing_direct_io)
		err = -EOPNOTSUPP;
	return err;
}

int fs_mode_change(struct fs *fs, uint64_t id, const struct fs_mode_change *change)
{
	struct claim turn = {.kind = CLAIM_GATE, .start = 0, .end = UINT64_MAX};
	int err = change_check(fs, id, change);
	struct node *n = node_get(fs, id);

	if (err)
		return err;
	iolock_acquire_wait(&fs->changes, &turn);
	err = change->persist ? change_stored(fs, n, change) : change_runtime(fs, n, change);
	iolock_release(&fs->changes, &turn);
	return err;
}

int fs_mode_show(struct fs *fs, uint64_t id, struct fs_mode_shown *out)
{
	struct node *n = node_get(fs, id);
	struct file_mode mode, wanted;
	struct file *f;

	if (!n)
		return -ESTALE;
	if (n != fs->root && n->rec->type != S_IFREG)
		return -EOPNOTSUPP;
	f = n == fs->root ? NULL : file_find(fs, n);
	if (f) {
		pthread_mutex_lock(&f->lock);
		mode = f->mode;
		wanted = f->wanted;
		pthread_mutex_unlock(&f->lock);
		file_put(fs, f);
	} else {
		mode = wanted = fs_mode_of(fs, n);
	}
	*out = (struct fs_mode_shown){.switches = mode.switches,
				      .origin = mode.origin,
				      .pending = !switches_equal(mode.switches, wanted.switches),
				      .pending_switches = wanted.switches,
				      .pending_origin = wanted.origin};
	return 0;
}
