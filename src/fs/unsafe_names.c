/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * By which names the crash marker knows a file, and what becomes of that when names change.
 *
 * Where a rule drops a file's flushes the marker has the rule's pattern, which says nothing of the
 * file under another name. So a file that may have unflushed data is entered by itself before it
 * gets a name that no pattern matches. Who opens a file while it is renamed cannot know under which
 * name it will be found: it enters the file as well.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "config/rules.h"
#include "fs/internal.h"
#include "fs/unsafe_internal.h"

/* ---- what is said of a file that is opened ---- */

/*
 * By its handle, so by all its names; else by PATHS, and SEVERAL: it may have others, which only
 * all paths together are sure to have.
 */
static int say_file(struct unsafe *u, const struct node *n, const char *paths, bool several)
{
	static const struct concerned all = {.kind = MARKER_PATTERN, .text = "**"};
	struct concerned c;
	int err = 0;

	unsafe_concern(n, paths, &c);
	do {
		c.text = paths;
		err = marker_begin(u->marker, &c);
		paths += strlen(paths) + 1;
	} while (!err && !c.id.len && c.text[0] && *paths);
	return err || c.id.len || !several ? err : marker_begin(u->marker, &all);
}

static bool has_links(const struct file *f)
{
	struct stat st;

	return fstat(f->path.fd, &st) == 0 && st.st_nlink > 1;
}

/*
 * The rules that drop its flushes, so that many files by one rule are one line of the marker.
 * *ALONE: they are not all there is to say of the file.
 */
static int say_rules(struct unsafe *u, const char *paths, bool *alone)
{
	struct rules *rules = fs_rules(u->fs);
	int err = 0;

	*alone = *alone || !*paths;
	for (const char *path = paths; *path && !err; path += strlen(path) + 1) {
		const struct rule *rule = rules_match(rules, path);
		struct concerned c = {.kind = MARKER_PATTERN};

		if (!rule || !rule->switches.no_flush) {
			*alone = true;
			continue;
		}
		c.text = rule->pattern;
		err = marker_begin(u->marker, &c);
	}
	rules_unref(rules);
	return err;
}

/* Is N, or may a directory above it be, renamed now? *MOVED: how many directories ever were. */
static bool being_renamed(struct unsafe *u, const struct node *n, unsigned *moved)
{
	bool is;

	pthread_mutex_lock(&u->lock);
	is = n->naming || u->moving;
	*moved = u->moved;
	pthread_mutex_unlock(&u->lock);
	return is;
}

static int say_names(struct unsafe *u, struct file *f, bool by_rule)
{
	unsigned moved, moved_since;
	/* asked before the names are, which are the new ones if it is over then */
	bool renamed = being_renamed(u, f->node, &moved), links = has_links(f);
	_cleanup_free_ char *paths = node_paths(u->fs, f->node);
	bool alone = renamed || links || !by_rule;
	int err = 0;

	if (!paths)
		return -ENOMEM;
	if (by_rule)
		err = say_rules(u, paths, &alone);
	/* what was not said yet a directory has not taken with it */
	renamed = being_renamed(u, f->node, &moved_since) || renamed || moved != moved_since;
	return err || !(alone || renamed) ? err : say_file(u, f->node, paths, links || renamed);
}

int unsafe_say(struct unsafe *u, struct file *f, enum cachefs_origin origin)
{
	static const struct concerned mount = {.kind = MARKER_MOUNT};
	int err = origin == CACHEFS_ORIGIN_MOUNT ? marker_begin(u->marker, &mount)
						 : say_names(u, f, origin == CACHEFS_ORIGIN_RULE);

	if (err)
		log_error("the crash marker could not be written to %s in the backing directory: "
			  "%s; without it a file whose flushes are dropped is not opened for "
			  "writing: %s",
			  PRIVATE_DIR, strerror(-err),
			  err == -EBUSY
			      ? "another mount of the same SOURCE owns it: unmount that one"
			      : "mend that, or use a mode that honours flushes");
	return err;
}

/* ---- what may be unflushed ---- */

/* Also where nobody knows which files are. */
static bool any_left(struct unsafe *u)
{
	bool left;

	pthread_mutex_lock(&u->lock);
	left = u->left;
	pthread_mutex_unlock(&u->lock);
	return left || marker_inherited(u->marker);
}

static bool file_unflushed(struct unsafe *u, struct file *f)
{
	bool unflushed;

	pthread_mutex_lock(&u->lock);
	unflushed = f->unsafe_writers || atomic_load(&f->flushing);
	pthread_mutex_unlock(&u->lock);
	return unflushed;
}

static bool node_unflushed(struct unsafe *u, struct node *n, const struct file_id *id)
{
	struct file *f = file_find(u->fs, n);
	bool unflushed = f && file_unflushed(u, f);

	if (f)
		file_put(u->fs, f);
	if (!unflushed && any_left(u)) {
		_cleanup_free_ char *paths = node_paths(u->fs, n);

		unflushed = !paths || marker_names(u->marker, id, paths);
	}
	return unflushed;
}

static bool is_below(struct fs *fs, struct node *n, const char *dir)
{
	_cleanup_free_ char *paths = node_paths(fs, n);
	size_t len = strlen(dir);
	bool below = !paths;

	for (const char *path = paths; path && *path && !below; path += strlen(path) + 1)
		below = !strncmp(path, dir, len) && path[len] == '/';
	return below;
}

static bool unflushed_below(struct unsafe *u, const char *dir)
{
	struct open_files all;
	bool unflushed = false;

	if (any_left(u) || fs_open_files(u->fs, &all))
		return true;
	for (size_t i = 0; i < all.count && !unflushed; i++)
		unflushed =
		    file_unflushed(u, all.files[i]) && is_below(u->fs, all.files[i]->node, dir);
	fs_open_files_put(u->fs, &all);
	return unflushed;
}

/* ---- names change ---- */

static bool may_be_tainted(struct unsafe *u)
{
	return !atomic_load(&u->trust_all) &&
	       (marker_tainted(u->marker) || atomic_load(&u->refuse_all));
}

/* The path of NAME in DIR, to be freed. */
static char *path_in(struct fs *fs, struct node *dir, const char *name)
{
	_cleanup_free_ char *paths = dir == fs->root ? NULL : node_paths(fs, dir);
	size_t len = paths ? strlen(paths) : 0, size = len + strlen(name) + 2;
	char *path = paths || dir == fs->root ? malloc(size) : NULL;

	if (path)
		snprintf(path, size, "%s%s%s", len ? paths : "", len ? "/" : "", name);
	return path;
}

static void begin_naming(struct unsafe *u, struct node *n)
{
	pthread_mutex_lock(&u->lock);
	if (n->rec->type == S_IFDIR) {
		u->moving++;
		u->moved++;
	} else {
		n->naming++;
	}
	pthread_mutex_unlock(&u->lock);
}

void unsafe_named(struct fs *fs, struct node *n)
{
	struct unsafe *u = fs->unsafe;

	if (!n)
		return;
	pthread_mutex_lock(&u->lock);
	if (n->rec->type == S_IFDIR)
		u->moving--;
	else
		n->naming--;
	pthread_mutex_unlock(&u->lock);
}

/* The file N will be PATH (NULL: nobody has told us) as well. */
static int taint_follows(struct unsafe *u, struct node *n, const char *path)
{
	_cleanup_path_ struct path_fd p = PATH_FD_NONE;
	_cleanup_free_ char *paths = node_paths(u->fs, n);
	struct file_id id;
	struct statx st;
	int err = paths ? path_fd_get(u->fs, n, &p) : -ENOMEM;

	if (!err)
		err = fs_statx_fd(p.fd, &st);
	if (err || (!path && st.stx_nlink < 2))
		return err;
	node_file_id(n, &id);
	return marker_keep(u->marker, &id, paths, &st, path);
}

static int naming_file(struct unsafe *u, struct node *n, struct node *parent, const char *name)
{
	_cleanup_free_ char *path = NULL;
	struct file_id id;
	bool unflushed, tainted = may_be_tainted(u);
	int err = 0;

	node_file_id(n, &id);
	unflushed = node_unflushed(u, n, &id);
	if (!unflushed && !tainted)
		return 0;
	path = path_in(u->fs, parent, name);
	if (!path)
		return -ENOMEM;
	if (unflushed) {
		unsafe_hold(u);
		err = marker_begin_name(u->marker, &id, path);
		unsafe_release(u);
	}
	return err || !tainted ? err : taint_follows(u, n, path);
}

static int naming_dir(struct unsafe *u, struct node *n, struct node *parent, const char *name)
{
	bool active, tainted = may_be_tainted(u);
	_cleanup_free_ char *from = NULL, *to = NULL;
	int err = 0;

	pthread_mutex_lock(&u->lock);
	active = u->writers || u->waiting || u->flushing || u->left || marker_inherited(u->marker);
	pthread_mutex_unlock(&u->lock);
	if (!active && !tainted)
		return 0;
	from = node_paths(u->fs, n);
	to = path_in(u->fs, parent, name);
	if (!from || !to)
		return -ENOMEM;
	if (active && unflushed_below(u, from)) {
		unsafe_hold(u);
		err = marker_begin_below(u->marker, from, to);
		unsafe_release(u);
	}
	return err || !tainted ? err : marker_keep_below(u->marker, from, to);
}

static int complain(int err)
{
	if (err)
		log_error("the crash marker could not be written to %s in the backing directory: "
			  "%s; without it a file that has unflushed data, or lost some, gets and "
			  "loses no name: mend that",
			  PRIVATE_DIR, strerror(-err));
	return err;
}

int unsafe_naming(struct fs *fs, struct node *n, struct node *parent, const char *name)
{
	struct unsafe *u = fs->unsafe;
	bool dir = n && n->rec->type == S_IFDIR;
	int err;

	if (!n)
		return 0;
	begin_naming(u, n);
	if (!dir && n->rec->type != S_IFREG)
		return 0;
	err = dir ? naming_dir(u, n, parent, name) : naming_file(u, n, parent, name);
	if (err)
		unsafe_named(fs, n);
	return complain(err);
}

int unsafe_unnaming(struct fs *fs, struct node *n)
{
	if (!n || n->rec->type != S_IFREG || !may_be_tainted(fs->unsafe))
		return 0;
	return complain(taint_follows(fs->unsafe, n, NULL));
}

int unsafe_kept(struct fs *fs, int fd, struct node *parent, const char *name)
{
	struct unsafe *u = fs->unsafe;
	_cleanup_free_ char *path = NULL, *paths = NULL;
	struct file_id id;
	struct statx st;
	int err;

	if (!may_be_tainted(u))
		return 0;
	path = path_in(fs, parent, name);
	paths = path ? calloc(1, strlen(path) + 2) : NULL; /* a list of one */
	err = paths ? fs_statx_fd(fd, &st) : -ENOMEM;
	if (err || !file_id_of(fd, &id))
		return err;
	strcpy(paths, path);
	return complain(marker_keep(u->marker, &id, paths, &st, NULL));
}
