/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The names of nodes: as last seen, by lookups and renames through the mount. A file with several
 * hard links has as many as were seen of them, since rules go by names.
 */
#include <string.h>
#include <utlist.h>

#include "fs/internal.h"

/* Names of a hard link that are remembered; more than anyone looks up, and not without a bound. */
#define NAMES_MAX 256

void node_names_free(struct fs *fs, struct node_name *list)
{
	struct node_name *o, *tmp;

	LL_FOREACH_SAFE(list, o, tmp)
	{
		node_unref(fs, o->parent);
		name_record_free(fs, o->rec);
		free(o->name);
		free(o);
	}
}

static bool is_name(const struct node *parent, const char *name, const struct node *p,
		    const char *s)
{
	return parent == p && name && !strcmp(name, s);
}

/* With fs->tree held: takes PARENT, NAME out of N's other names, if it is one. */
static struct node_name *take_other(struct node *n, const struct node *parent, const char *name)
{
	struct node_name *o;

	LL_FOREACH(n->others, o)
	if (is_name(o->parent, o->name, parent, name))
		break;
	if (o) {
		LL_DELETE(n->others, o);
		o->next = NULL;
	}
	return o;
}

/* With fs->tree held: the name that N has becomes one of its others. A list of what to free. */
static struct node_name *keep_current(struct node *n)
{
	struct node_name *o = n->parent ? malloc(sizeof(*o)) : NULL, *last;
	int count;

	if (!o)
		return NULL;
	*o = (struct node_name){.parent = n->parent, .name = n->name, .rec = n->name_rec};
	n->parent = NULL;
	n->name = NULL;
	n->name_rec = 0;
	LL_PREPEND(n->others, o);
	LL_COUNT(n->others, last, count);
	if (count <= NAMES_MAX)
		return NULL;
	for (last = n->others; last->next; last = last->next)
		;
	LL_DELETE(n->others, last);
	return last;
}

/* With fs->tree held: N is COPY in PARENT; OLD gets what it was. */
static void set_current(struct fs *fs, struct node *n, struct node *parent, char *copy,
			struct node_name *old)
{
	node_ref(fs, parent);
	*old = (struct node_name){.parent = n->parent, .name = n->name, .rec = n->name_rec};
	n->name = copy;
	n->parent = parent;
	n->name_rec = name_record_make(fs, node_id(parent), copy);
	name_records_publish(fs, n);
}

/* What set_current() has put another one in the place of. */
static void name_drop(struct fs *fs, struct node_name *old)
{
	if (old->parent)
		node_unref(fs, old->parent);
	name_record_free(fs, old->rec);
	free(old->name);
}

bool node_named(struct fs *fs, struct node *n, struct node *parent, const char *name, bool several)
{
	struct node_name *gone = NULL, old = {0};
	bool other;
	char *copy;

	pthread_mutex_lock(&fs->tree);
	if (is_name(n->parent, n->name, parent, name) && (several || !n->others)) {
		pthread_mutex_unlock(&fs->tree);
		return false;
	}
	copy = strdup(name);
	if (!copy || n == fs->root || n == parent) {
		pthread_mutex_unlock(&fs->tree);
		free(copy);
		return false;
	}
	other = n->parent != NULL;
	if (several && !is_name(n->parent, n->name, parent, name)) {
		gone = take_other(n, parent, name);
		other = other && !gone; /* else the same names in another order */
		if (gone)
			gone->next = keep_current(n);
		else
			gone = keep_current(n);
	} else if (!several) {
		gone = n->others;
		n->others = NULL;
	}
	set_current(fs, n, parent, copy, &old);
	pthread_mutex_unlock(&fs->tree);
	node_names_free(fs, gone);
	name_drop(fs, &old);
	return other;
}

void node_moved(struct fs *fs, struct node *n, struct node *from, const char *name, struct node *to,
		const char *newname)
{
	struct node_name *gone[3] = {NULL}, old = {0};
	char *copy = strdup(newname);

	pthread_mutex_lock(&fs->tree);
	if (is_name(n->parent, n->name, to, newname)) { /* seen, or moved before a kill */
		gone[1] = take_other(n, from, name);
		name_records_publish(fs, n);
	} else if (copy && n != fs->root && n != to) {
		gone[0] = take_other(n, to, newname);
		gone[1] = take_other(n, from, name);
		if (gone[1]) /* it is still known by another one */
			gone[2] = keep_current(n);
		set_current(fs, n, to, copy, &old);
		copy = NULL;
	}
	pthread_mutex_unlock(&fs->tree);
	for (size_t i = 0; i < ARRAY_SIZE(gone); i++)
		node_names_free(fs, gone[i]);
	name_drop(fs, &old);
	free(copy);
}

void node_unnamed(struct fs *fs, struct node *n, struct node *parent, const char *name)
{
	struct node_name *gone, old = {0};

	pthread_mutex_lock(&fs->tree);
	gone = take_other(n, parent, name);
	if (!gone && n->others && is_name(n->parent, n->name, parent, name)) {
		gone = n->others; /* another one becomes the name that N is known by */
		LL_DELETE(n->others, gone);
		set_current(fs, n, gone->parent, gone->name, &old);
		gone->name = NULL;
		gone->next = NULL;
	} else {
		name_records_publish(fs, n);
	}
	pthread_mutex_unlock(&fs->tree);
	node_names_free(fs, gone);
	name_drop(fs, &old);
}

/* One name of N that its record has, as another one. False: it is none. */
static bool add_rebuilt(struct fs *fs, struct node *n, const struct name_record *r, uint32_t index,
			char *name)
{
	struct node *parent = node_get(fs, r->parent);
	struct node_name *o = parent && parent != n && *name ? malloc(sizeof(*o)) : NULL;

	if (!o) {
		name_record_free(fs, index);
		free(name);
		return false;
	}
	*o = (struct node_name){.parent = parent, .name = name, .rec = index};
	node_ref(fs, parent);
	LL_APPEND(n->others, o);
	return true;
}

void node_names_rebuild(struct fs *fs, struct node *n)
{
	const struct name_record *r;
	uint32_t index = n->rec->names;
	struct node_name *first;
	bool whole = true;

	/* each is taken into use once, so even a circle ends */
	while (index) {
		char *name = name_record_claim(fs, index, &r);
		uint32_t next = name ? r->next : 0;

		whole = name && add_rebuilt(fs, n, r, index, name) && whole;
		index = next;
	}
	first = n->others;
	if (first) {
		LL_DELETE(n->others, first);
		n->parent = first->parent;
		n->name = first->name;
		n->name_rec = first->rec;
		free(first);
	}
	if (!whole)
		name_records_publish(fs, n);
}

/* With fs->tree held: bytes of the path of NAME in PARENT; written to the end of END if not NULL.
 */
static size_t path_put(const struct fs *fs, const struct node *parent, const char *name, char *end)
{
	size_t len = 0;

	/* bounded: renames behind the mount may make parents of one another what never were */
	for (int depth = 0;; depth++) {
		size_t n = strlen(name);

		len += n;
		if (end)
			memcpy(end - len, name, n);
		if (!parent || parent == fs->root || !parent->name || depth == NODE_DEPTH_MAX)
			return len;
		len++;
		if (end)
			end[-(ptrdiff_t)len] = '/';
		name = parent->name;
		parent = parent->parent;
	}
}

/* With fs->tree held: the same for all names of N, with a NUL each and one more. */
static size_t paths_put(const struct fs *fs, const struct node *n, char *buf)
{
	const struct node_name first = {.parent = n->parent, .name = n->name, .next = n->others};
	size_t total = 0;

	for (const struct node_name *o = n->name ? &first : n->others; o; o = o->next) {
		size_t len = path_put(fs, o->parent, o->name, NULL);

		if (buf) {
			path_put(fs, o->parent, o->name, buf + total + len);
			buf[total + len] = '\0';
		}
		total += len + 1;
	}
	if (buf)
		buf[total] = '\0';
	return total + 1;
}

char *node_paths(struct fs *fs, struct node *n)
{
	char *buf;

	pthread_mutex_lock(&fs->tree);
	buf = malloc(paths_put(fs, n, NULL));
	if (buf)
		paths_put(fs, n, buf);
	pthread_mutex_unlock(&fs->tree);
	return buf;
}
