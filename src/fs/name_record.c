/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The names of nodes as they outlive the process: a list of records from the node's record on, the
 * name that the node is known by first. It changes by one store at a time, and what is not in it
 * any more is freed afterwards; so a successor finds the list of before, or of after, or (only in
 * the middle of the others of a hard link) one name too many. Records in no list are free.
 */
#include <string.h>

#include "fs/internal.h"
#include "supervisor/arena.h"

#define PARTS_MAX ((NAME_MAX + NAME_PART - 1) / NAME_PART)

uint32_t name_record_make(struct fs *fs, uint64_t parent, const char *name)
{
	size_t len = strlen(name), pos = (len - !!len) / NAME_PART * NAME_PART;
	uint32_t part = 0;

	/* the last part first, so that each knows the next one */
	for (;;) {
		uint32_t index = arena_alloc(fs->names);
		struct name_record *r = arena_record(fs->names, index);

		if (!index) {
			name_record_free(fs, part);
			return 0;
		}
		r->parent = parent;
		r->part = part;
		memcpy(r->text, name + pos, MIN(len - pos, NAME_PART));
		part = index;
		if (!pos)
			return index;
		pos -= NAME_PART;
	}
}

void name_record_free(struct fs *fs, uint32_t index)
{
	while (index) {
		uint32_t part = ((struct name_record *)arena_record(fs->names, index))->part;

		arena_free(fs->names, index);
		index = part;
	}
}

char *name_record_claim(struct fs *fs, uint32_t index, const struct name_record **out)
{
	char name[PARTS_MAX * NAME_PART + 1] = "";
	size_t len = 0;

	for (uint32_t part = index; part;) {
		const struct name_record *r = arena_record(fs->names, part);

		if (len + NAME_PART >= sizeof(name) || !arena_claim(fs->names, part))
			return NULL;
		memcpy(name + len, r->text, NAME_PART);
		len += NAME_PART;
		part = r->part;
	}
	*out = arena_record(fs->names, index);
	return index ? strdup(name) : NULL;
}

/* The record of the first of these names that has one. */
static uint32_t first_record(uint32_t rec, const struct node_name *others)
{
	while (!rec && others) {
		rec = others->rec;
		others = others->next;
	}
	return rec;
}

static void link_to(struct fs *fs, uint32_t rec, uint32_t next)
{
	struct name_record *r = rec ? arena_record(fs->names, rec) : NULL;

	if (r && r->next != next)
		__atomic_store_n(&r->next, next, __ATOMIC_RELEASE);
}

void name_records_publish(struct fs *fs, struct node *n)
{
	/* the one that is new, if any, is the first: it must lead to the others before it is seen
	 */
	link_to(fs, n->name_rec, first_record(0, n->others));
	__atomic_store_n(&n->rec->names, first_record(n->name_rec, n->others), __ATOMIC_RELEASE);
	for (const struct node_name *o = n->others; o; o = o->next)
		link_to(fs, o->rec, first_record(0, o->next));
}
