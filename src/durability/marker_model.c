/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "config/pattern.h"
#include "durability/marker_internal.h"

/* ---- patterns ---- */

static bool patterns_have(const struct section *s, const char *text)
{
	for (const struct named_pattern *p = s->patterns; p; p = p->next)
		if (!strcmp(p->text, text))
			return true;
	return false;
}

static int pattern_add(struct section *s, const char *text)
{
	struct named_pattern *p, **end = &s->patterns;
	struct pattern_fault fault;
	struct pattern *compiled;
	int err = pattern_compile(text, strlen(text), &compiled, &fault);

	if (err)
		return err;
	p = calloc(1, sizeof(*p) + strlen(text) + 1);
	if (!p) {
		free(compiled);
		return -ENOMEM;
	}
	p->compiled = compiled;
	strcpy(p->text, text);
	while (*end)
		end = &(*end)->next;
	*end = p;
	s->pattern_count++;
	if (!strcmp(text, "**"))
		s->every_path = true;
	return 0;
}

static void patterns_free(struct section *s)
{
	struct named_pattern *p;

	while ((p = s->patterns)) {
		s->patterns = p->next;
		free(p->compiled);
		free(p);
	}
}

bool section_matches(const struct section *s, const char *paths)
{
	/* a file whose names are not known may have any */
	if (!paths || !*paths)
		return s->patterns;
	for (; *paths; paths += strlen(paths) + 1) {
		size_t len = strlen(paths);
		const char *slash = memrchr(paths, '/', len);
		size_t name = slash ? (size_t)(slash - paths) + 1 : 0;

		for (const struct named_pattern *p = s->patterns; p; p = p->next)
			if (pattern_matches(p->compiled, paths, len, name))
				return true;
	}
	return false;
}

/* ---- sections ---- */

static void section_clear(struct section *s)
{
	patterns_free(s);
	files_free(&s->files);
	s->every_path = false;
	s->pattern_count = 0;
	s->text_size = 0;
}

static void section_free(struct section *s)
{
	section_clear(s);
	files_free(&s->trusted);
	free(s);
}

static void section_set_mount(struct section *s)
{
	section_clear(s);
	s->mount = true;
}

static void section_set_every_path(struct section *s)
{
	section_clear(s);
	if (pattern_add(s, "**"))
		section_set_mount(s); /* no memory */
}

/* More than a marker should say one by one: each change of it is written as a whole. */
static void section_limit(struct section *s)
{
	if (HASH_COUNT(s->files) <= MARKER_FILES_MAX && s->pattern_count <= MARKER_FILES_MAX &&
	    s->text_size <= SECTION_TEXT_MAX)
		return;
	section_set_every_path(s);
}

bool section_covers(const struct section *s, const struct concerned *c)
{
	if (s->mount)
		return true;
	if (c->kind == MARKER_MOUNT)
		return false;
	if (s->every_path)
		return true;
	if (c->kind == MARKER_PATTERN)
		return c->text && patterns_have(s, c->text);
	return files_find(s->files, &c->id, c->text ? c->text : "");
}

int section_add(struct section *s, const struct concerned *c)
{
	const char *text = c->text ? c->text : "";
	int err = 0;

	if (section_covers(s, c))
		return 0;
	if (c->kind == MARKER_MOUNT)
		section_set_mount(s);
	else if (c->kind == MARKER_PATTERN && !strcmp(text, "**"))
		section_set_every_path(s);
	else if (c->kind == MARKER_PATTERN)
		err = pattern_add(s, text);
	else
		err = files_add(&s->files, &c->id, text);
	if (err)
		return err;
	if (c->kind != MARKER_MOUNT)
		s->text_size += files_text_size(text);
	section_limit(s);
	return 1;
}

int section_absorb(struct section *s, const struct section *src)
{
	struct concerned c = {.kind = MARKER_MOUNT};
	int err = src->mount ? section_add(s, &c) : 0;

	for (const struct named_pattern *p = src->patterns; p && err >= 0; p = p->next) {
		c = (struct concerned){.kind = MARKER_PATTERN, .text = p->text};
		err = section_add(s, &c);
	}
	for (const struct named_file *f = src->files; f && err >= 0; f = f->hh.next) {
		c = (struct concerned){.kind = MARKER_FILE, .text = f->path, .id = f->id};
		err = section_add(s, &c);
	}
	return MIN(err, 0);
}

static bool before(struct timespec a, struct timespec b)
{
	return a.tv_sec < b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec < b.tv_nsec);
}

/*
 * Was the file made after S had been seen? One made in the future tells only that a clock was
 * wrong. Some filesystems count whole seconds.
 */
static bool born_later(const struct section *s, const struct statx *st, struct timespec now)
{
	struct timespec born = {st->stx_btime.tv_sec, st->stx_btime.tv_nsec}, seen = s->seen;

	if (!seen.tv_sec || !(st->stx_mask & STATX_BTIME))
		return false;
	if (!born.tv_nsec)
		seen.tv_nsec = 0;
	return !before(born, seen) && !before(now, born);
}

bool section_concerns(const struct section *s, const struct file_id *id, const char *paths,
		      const struct statx *st, struct timespec now)
{
	if (born_later(s, st, now) || files_trust(s->trusted, id, paths))
		return false;
	return s->mount || files_have(s->files, id, paths) || section_matches(s, paths);
}

/* The mount and patterns name it among others. */
static int trust_among_others(struct section *s, const struct file_id *id, const char *path)
{
	size_t size = files_text_size(path);
	int err;

	if (!(s->mount || s->patterns) || files_find(s->trusted, id, path))
		return 0;
	if (s->trusted_size + size > SECTION_TRUSTED_MAX)
		return -EFBIG;
	err = files_add(&s->trusted, id, path);
	if (err)
		return err;
	s->trusted_size += size;
	return 1;
}

static bool file_remove(struct named_file **files, const struct file_id *id, const char *path)
{
	struct named_file *f = files_find(*files, id, path);

	if (!f)
		return false;
	HASH_DEL(*files, f);
	free(f);
	return true;
}

int section_trust(struct section *s, const struct file_id *id, const char *path)
{
	static const struct file_id none;
	int changed = trust_among_others(s, id, path);

	if (changed < 0)
		return changed;
	changed |= file_remove(&s->files, id, path);
	changed |= file_remove(&s->files, &none, path);
	return changed;
}

void section_distrust(struct section *s, const struct concerned *c)
{
	if (c->kind == MARKER_FILE) {
		file_remove(&s->trusted, &c->id, c->text ? c->text : "");
		return;
	}
	files_free(&s->trusted);
	s->trusted_size = 0;
}

/* ---- all of it ---- */

struct model *model_new(void)
{
	struct model *m = calloc(1, sizeof(*m));

	if (m)
		atomic_store(&m->users, 1);
	return m;
}

struct model *model_ref(struct model *m)
{
	atomic_fetch_add(&m->users, 1);
	return m;
}

void model_unref(struct model *m)
{
	struct section *s;

	if (!m || atomic_fetch_sub(&m->users, 1) != 1)
		return;
	while ((s = m->sections)) {
		m->sections = s->next;
		section_free(s);
	}
	free(m);
}

struct section *model_add(struct model *m, enum section_state state, const char *boot,
			  struct timespec since)
{
	struct section *s = calloc(1, sizeof(*s)), **end = &m->sections;

	if (!s)
		return NULL;
	s->state = state;
	s->since = since;
	snprintf(s->boot, sizeof(s->boot), "%s", boot);
	while (*end)
		end = &(*end)->next;
	*end = s;
	return s;
}

static int section_copy(struct model *m, const struct section *from)
{
	struct section *s = model_add(m, from->state, from->boot, from->since);
	int err;

	if (!s)
		return -ENOMEM;
	s->seen = from->seen;
	s->error = from->error;
	s->moved = from->moved;
	err = section_absorb(s, from);
	for (const struct named_file *f = from->trusted; f && !err; f = f->hh.next)
		err = files_add(&s->trusted, &f->id, f->path);
	s->trusted_size = from->trusted_size;
	return err;
}

struct model *model_clone(const struct model *m)
{
	struct model *copy = model_new();

	for (const struct section *s = m->sections; copy && s; s = s->next) {
		if (!section_copy(copy, s))
			continue;
		model_unref(copy);
		return NULL;
	}
	return copy;
}

struct section *model_find(const struct model *m, enum section_state state)
{
	struct section *s = m->sections;

	while (s && s->state != state)
		s = s->next;
	return s;
}

bool model_has(const struct model *m, enum section_state state)
{
	return model_find(m, state);
}

static bool is_empty(const struct section *s)
{
	return !s->mount && !s->patterns && !s->files;
}

static unsigned drop(struct model *m, bool all, enum section_state state)
{
	struct section **at = &m->sections, *s;
	unsigned count = 0;

	while ((s = *at)) {
		if (all ? s->state == state : is_empty(s)) {
			*at = s->next;
			section_free(s);
			count++;
		} else {
			at = &s->next;
		}
	}
	return count;
}

unsigned model_drop(struct model *m, enum section_state state)
{
	return drop(m, true, state);
}

unsigned model_drop_empty(struct model *m)
{
	return drop(m, false, SECTION_TAINTED);
}

int model_adopt_left(struct model *m)
{
	struct section *first = NULL, *s;
	int err = 0;

	for (s = m->sections; s && !err; s = s->next) {
		if (s->state != SECTION_LEFT)
			continue;
		if (first)
			err = section_absorb(first, s);
		else
			(first = s)->state = SECTION_ACTIVE;
	}
	if (!err)
		model_drop(m, SECTION_LEFT);
	return err;
}

int model_limit(struct model *m)
{
	struct section *oldest = model_find(m, SECTION_TAINTED), *s;
	struct section *one;
	unsigned count = 0;
	struct timespec since;
	char boot[MARKER_BOOT_SIZE];

	for (s = m->sections; s; s = s->next)
		count += s->state == SECTION_TAINTED;
	if (count <= MARKER_SECTIONS_MAX)
		return 0;
	since = oldest->since;
	memcpy(boot, oldest->boot, sizeof(boot));
	one = model_add(m, SECTION_LEFT, boot, since);
	if (!one)
		return -ENOMEM;
	model_drop(m, SECTION_TAINTED);
	one->state = SECTION_TAINTED;
	one->mount = true;
	/* an error's boot may be this one: without its line the section would count as left */
	one->error = true;
	return 1;
}
