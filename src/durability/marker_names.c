/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names change: what the crash marker says of a file by the pattern of a name goes with the file.
 */
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "config/pattern.h"
#include "durability/marker_internal.h"

/* So many files are named one by one; then all those in the directory that they come to are. */
#define MOVED_MAX 32

/* ---- one section ---- */

/* PATH as a list of names. */
static char *list_of(const char *path)
{
	size_t len = strlen(path);
	char *list = malloc(len + 2);

	if (list) {
		memcpy(list, path, len + 1);
		list[len + 1] = '\0';
	}
	return list;
}

/* Does S name the file of ID, whatever else it may be called, by PATHS (NULL: no name)? */
static bool section_names(const struct section *s, const struct file_id *id, const char *paths)
{
	return s->mount || s->every_path || files_have(s->files, id, paths) ||
	       (paths && *paths && section_matches(s, paths));
}

/* DIR ("": the root) and TAIL as a pattern; to be freed. */
static char *pattern_below(const char *dir, const char *tail)
{
	char *text = malloc(2 * strlen(dir) + strlen(tail) + 2), *end = text;

	if (!text)
		return NULL;
	for (; *dir; dir++) {
		if (strchr("*?[]\\", *dir))
			*end++ = '\\';
		*end++ = *dir;
	}
	*end++ = '/'; /* of the root, too: so the pattern is about paths, not names */
	strcpy(end, tail);
	return text;
}

static int add_below(struct section *s, const char *dir, const char *tail)
{
	_cleanup_free_ char *text = pattern_below(dir, tail);
	struct concerned c = {.kind = MARKER_PATTERN, .text = text};
	int err = text ? section_add(s, &c) : -ENOMEM;

	if (err != -EINVAL)
		return err;
	c.text = "**"; /* it would be too long */
	return section_add(s, &c);
}

/* The directory of PATH, to be freed. */
static char *directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return strndup(path, slash ? (size_t)(slash - path) : 0);
}

static int add_file(struct section *s, const struct concerned *c)
{
	_cleanup_free_ char *dir = NULL;
	int added;

	if (s->moved >= MOVED_MAX) {
		dir = directory_of(c->text);
		return dir ? add_below(s, dir, "*") : -ENOMEM;
	}
	added = section_add(s, c);
	s->moved += added > 0;
	return added;
}

static unsigned slashes(const char *s)
{
	unsigned n = 0;

	for (; *s; s++)
		n += *s == '/';
	return n;
}

/* May PATTERN, which has a slash, match a path below DIR? In doubt it may. */
static bool reaches_below(const char *pattern, const char *dir)
{
	pattern += *pattern == '/';
	if (!strstr(pattern, "**") && slashes(pattern) <= slashes(dir))
		return false;
	for (;; pattern++, dir++) {
		if (!*pattern || strchr("*?[", *pattern))
			return *pattern;
		pattern += *pattern == '\\' && pattern[1];
		if (!*dir)
			return *pattern == '/';
		if (*pattern != *dir)
			return false;
	}
}

/* Does P match all that is below DIR? In doubt it does not. */
static bool covers_below(const struct named_pattern *p, const char *dir)
{
	_cleanup_free_ char *child = NULL;
	size_t len = strlen(p->text), at = strlen(dir);

	if (len < 3 || strcmp(p->text + len - 3, "/**") != 0)
		return false;
	child = malloc(at + 3);
	if (!child)
		return false;
	/* the end of the pattern stands for "x", so it would for anything else */
	memcpy(child, dir, at);
	memcpy(child + at, "/x", 3);
	return pattern_matches(p->compiled, child, at + 2, at + 1);
}

/* Is there a file below FROM that S would not name when it is below TO instead? In doubt there is.
 */
static bool section_loses(const struct section *s, const char *from, const char *to)
{
	size_t len = strlen(from);
	bool any = false;

	if (s->mount || s->every_path)
		return false;
	for (const struct named_pattern *p = s->patterns; p; p = p->next) {
		if (covers_below(p, to))
			return false;
		/* the others go by the last component, which stays */
		any = any || (strchr(p->text, '/') && reaches_below(p->text, from));
	}
	for (const struct named_file *f = s->files; f && !any; f = f->hh.next)
		any = !f->id.len && !strncmp(f->path, from, len) && f->path[len] == '/';
	return any;
}

/* ---- this boot ---- */

struct naming {
	struct concerned c;
	const char *paths; /* of the same name, a list */
};

static int apply_name(struct marker *m, struct model *next, const void *arg)
{
	const struct naming *n = arg;
	struct section *s = marker_section(m, next);

	if (!s)
		return -ENOMEM;
	return section_names(s, &n->c.id, n->paths) ? 0 : add_file(s, &n->c);
}

int marker_begin_name(struct marker *m, const struct file_id *id, const char *path)
{
	_cleanup_free_ char *paths = list_of(path);
	struct naming n = {{.kind = MARKER_FILE, .text = path, .id = *id}, paths};
	bool covered;

	if (!paths)
		return -ENOMEM;
	atomic_fetch_add(&m->begun, 1);
	pthread_rwlock_rdlock(&m->lock);
	covered = m->covering && m->active && section_names(m->active, id, paths);
	pthread_rwlock_unlock(&m->lock);
	return covered ? 0 : marker_change(m, apply_name, &n);
}

struct moving {
	const char *from, *to;
};

static int apply_below(struct marker *m, struct model *next, const void *arg)
{
	const struct moving *d = arg;
	struct section *s = model_find(next, SECTION_ACTIVE);

	(void)m;
	return s && section_loses(s, d->from, d->to) ? add_below(s, d->to, "**") : 0;
}

int marker_begin_below(struct marker *m, const char *from, const char *to)
{
	struct moving d = {from, to};
	bool covered;

	atomic_fetch_add(&m->begun, 1);
	pthread_rwlock_rdlock(&m->lock);
	covered = m->covering && !(m->active && section_loses(m->active, from, to));
	pthread_rwlock_unlock(&m->lock);
	return covered ? 0 : marker_change(m, apply_below, &d);
}

bool marker_names(struct marker *m, const struct file_id *id, const char *paths)
{
	bool named;

	pthread_rwlock_rdlock(&m->lock);
	named = m->active && section_names(m->active, id, paths);
	pthread_rwlock_unlock(&m->lock);
	return named;
}

/* ---- what is tainted ---- */

struct keeping {
	const struct file_id *id;
	const char *paths;
	const struct statx *st;
	const char *newpath, *newpaths; /* or NULL */
	struct timespec now;
};

static bool must_keep(const struct section *s, const struct keeping *k)
{
	return s->state != SECTION_ACTIVE && section_concerns(s, k->id, k->paths, k->st, k->now) &&
	       !section_names(s, k->id, k->newpaths);
}

static int apply_keep(struct marker *m, struct model *next, const void *arg)
{
	const struct keeping *k = arg;
	struct concerned c = {
	    .kind = MARKER_FILE, .text = k->newpath ? k->newpath : k->paths, .id = *k->id};
	int changed = 0;

	(void)m;
	for (struct section *s = next->sections; s; s = s->next) {
		int added = must_keep(s, k) ? section_add(s, &c) : 0;

		if (added < 0)
			return added;
		changed |= added;
	}
	return changed;
}

static bool any_section(struct marker *m, bool (*is)(const struct section *s, const void *arg),
			const void *arg)
{
	bool any = false;

	pthread_rwlock_rdlock(&m->lock);
	for (const struct section *s = m->model->sections; s && !any; s = s->next)
		any = is(s, arg);
	pthread_rwlock_unlock(&m->lock);
	return any;
}

static bool keeps(const struct section *s, const void *arg)
{
	return must_keep(s, arg);
}

int marker_keep(struct marker *m, const struct file_id *id, const char *paths,
		const struct statx *st, const char *newpath)
{
	_cleanup_free_ char *newpaths = newpath ? list_of(newpath) : NULL;
	struct keeping k = {.id = id, .paths = paths, .st = st, .newpath = newpath};

	if (newpath && !newpaths)
		return -ENOMEM;
	k.newpaths = newpaths;
	clock_gettime(CLOCK_REALTIME, &k.now);
	return any_section(m, keeps, &k) ? marker_change(m, apply_keep, &k) : 0;
}

static bool loses(const struct section *s, const void *arg)
{
	const struct moving *d = arg;

	return s->state != SECTION_ACTIVE && section_loses(s, d->from, d->to);
}

static int apply_keep_below(struct marker *m, struct model *next, const void *arg)
{
	const struct moving *d = arg;
	int changed = 0;

	(void)m;
	for (struct section *s = next->sections; s; s = s->next) {
		int added = loses(s, d) ? add_below(s, d->to, "**") : 0;

		if (added < 0)
			return added;
		changed |= added;
	}
	return changed;
}

int marker_keep_below(struct marker *m, const char *from, const char *to)
{
	struct moving d = {from, to};

	return any_section(m, loses, &d) ? marker_change(m, apply_keep_below, &d) : 0;
}
