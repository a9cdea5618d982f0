/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs/shared.h"

#include <stdio.h>
#include <string.h>

#include "fs/internal.h"
#include "supervisor/arena.h"
#include "supervisor/journal.h"

#define NODES_MAX (1u << 24)
#define NAMES_MAX (1u << 25) /* hard links and long names take several */
#define HANDLES_MAX (1u << 20)

/* A record that is not the size of its neighbour's in another build is not the same record. */
static const struct part {
	const char *name;
	size_t offset; /* in struct fs_shared */
	uint32_t count;
	size_t record_size;
} parts[] = {
    {"nodes", offsetof(struct fs_shared, nodes), NODES_MAX, sizeof(struct node_record)},
    {"names", offsetof(struct fs_shared, names), NAMES_MAX, sizeof(struct name_record)},
    {"handles", offsetof(struct fs_shared, handles), HANDLES_MAX, sizeof(struct handle_record)},
    {"state", offsetof(struct fs_shared, state_memory), 1, sizeof(struct fs_state)},
};

static struct arena_memory **part_of(const struct fs_shared *s, const struct part *p)
{
	return (struct arena_memory **)(void *)((char *)(uintptr_t)s + p->offset);
}

static void state_find(struct fs_shared *s)
{
	s->state = arena_memory_record(s->state_memory, 0);
}

int fs_shared_create(struct fs_shared **out)
{
	struct fs_shared *s = calloc(1, sizeof(*s));
	int err = s ? 0 : -ENOMEM;

	for (size_t i = 0; i < ARRAY_SIZE(parts) && !err; i++) {
		char name[32];

		snprintf(name, sizeof(name), "cachefs-%s", parts[i].name);
		err = arena_memory_create(name, parts[i].count, parts[i].record_size,
					  part_of(s, &parts[i]));
	}
	if (!err)
		err = journal_create(&s->journal);
	if (err) {
		fs_shared_destroy(s);
		return err;
	}
	state_find(s);
	*out = s;
	return 0;
}

void fs_shared_destroy(struct fs_shared *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		arena_memory_destroy(*part_of(s, &parts[i]));
	journal_destroy(s->journal);
	free(s);
}

/* ---- descriptors ---- */

struct keeping {
	void (*keep)(void *arg, int fd);
	void *arg;
};

static void keep(const struct keeping *k, int number_plus_1)
{
	if (number_plus_1 > 0)
		k->keep(k->arg, number_plus_1 - 1);
}

static void keep_node(void *arg, uint32_t index, void *record)
{
	const struct node_record *r = record;

	(void)index;
	if (!node_record_in_use(r))
		return;
	keep(arg, r->fd);
	keep(arg, atomic_load(&r->owes.witness));
}

static void keep_handle(void *arg, uint32_t index, void *record)
{
	const struct handle_record *r = record;

	(void)index;
	if (handle_record_published(r))
		keep(arg, r->fd);
}

void fs_shared_each_memory(const struct fs_shared *s, void (*fn)(void *arg, int fd), void *arg)
{
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		fn(arg, arena_memory_fd(*part_of(s, &parts[i])));
	fn(arg, journal_memfd(s->journal));
}

void fs_shared_each_fd(const struct fs_shared *s, void (*fn)(void *arg, int fd), void *arg)
{
	struct keeping k = {fn, arg};

	arena_memory_each(s->nodes, keep_node, &k);
	arena_memory_each(s->handles, keep_handle, &k);
	keep(&k, atomic_load(&s->state->private_lock_fd));
	keep(&k, atomic_load(&s->state->root_fd));
	keep(&k, atomic_load(&s->state->owes.sync_fd));
	fs_shared_each_memory(s, fn, arg);
}

/* ---- another program ---- */

int fs_shared_describe(const struct fs_shared *s, char *text, size_t size)
{
	int len = snprintf(text, size, "version=%d", FS_SHARED_VERSION);

	for (size_t i = 0; i < ARRAY_SIZE(parts) && len < (int)size; i++)
		len += snprintf(text + len, size - (size_t)len, " %s=%d:%zu", parts[i].name,
				arena_memory_fd(*part_of(s, &parts[i])), parts[i].record_size);
	if (len < (int)size)
		len += snprintf(text + len, size - (size_t)len, " journal=%d",
				journal_memfd(s->journal));
	return len < (int)size ? len : -ENOSPC;
}

/* The value of KEY in TEXT, or NULL. */
static const char *value_of(const char *text, const char *key)
{
	size_t len = strlen(key);

	for (const char *p = text; p; p = strchr(p, ' ')) {
		p += *p == ' ';
		if (!strncmp(p, key, len) && p[len] == '=')
			return p + len + 1;
	}
	return NULL;
}

static int adopt_part(struct fs_shared *s, const struct part *p, const char *text, char *why,
		      size_t why_size)
{
	const char *value = value_of(text, p->name);
	size_t record_size;
	int fd, err;

	if (!value || sscanf(value, "%d:%zu", &fd, &record_size) != 2) {
		snprintf(why, why_size, "it has no %s", p->name);
		return -EPROTO;
	}
	if (record_size != p->record_size) {
		snprintf(why, why_size, "its records of %s have %zu bytes, ours have %zu", p->name,
			 record_size, p->record_size);
		return -EPROTO;
	}
	err = arena_memory_adopt(fd, p->record_size, part_of(s, p));
	if (err)
		snprintf(why, why_size, "its memory of %s is not what it says: %s", p->name,
			 strerror(-err));
	return err;
}

static int adopt_journal(struct fs_shared *s, const char *text, char *why, size_t why_size)
{
	const char *value = value_of(text, "journal");
	int err = value ? journal_adopt(atoi(value), &s->journal) : -EPROTO;

	if (err)
		snprintf(why, why_size, "its journal is not one: %s", strerror(-err));
	return err ? -EPROTO : 0;
}

/* Nothing has changed: the memory stays open for who described it. */
static void adopt_undo(struct fs_shared *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		arena_memory_release(*part_of(s, &parts[i]));
	free(s);
}

int fs_shared_adopt(const char *text, struct fs_shared **out, char *why, size_t why_size)
{
	const char *version = value_of(text, "version");
	struct fs_shared *s;
	int err = 0;

	if (!version || atoi(version) != FS_SHARED_VERSION) {
		snprintf(why, why_size, "its version is %d, ours is %d",
			 version ? atoi(version) : 0, FS_SHARED_VERSION);
		return -EPROTO;
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(parts) && !err; i++)
		err = adopt_part(s, &parts[i], text, why, why_size);
	if (!err)
		err = adopt_journal(s, text, why, why_size);
	if (err) {
		adopt_undo(s);
		return err;
	}
	state_find(s);
	*out = s;
	return 0;
}
