/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sets of rules: made once, shared, matched. */
#include "config/rules.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "config/rules_internal.h"

struct entry {
	struct rule rule;
	struct pattern *pattern;
};

struct rules {
	atomic_uint users;
	size_t count, room;
	bool limit;
	struct entry *entries;
	char *name, *text; /* of the file; NULL: none */
	size_t len;
};

struct rules *rules_new(void)
{
	struct rules *r = calloc(1, sizeof(*r));

	if (r)
		atomic_init(&r->users, 1);
	return r;
}

struct rules *rules_ref(struct rules *r)
{
	if (r)
		atomic_fetch_add(&r->users, 1);
	return r;
}

void rules_unref(struct rules *r)
{
	if (!r || atomic_fetch_sub(&r->users, 1) != 1)
		return;
	for (size_t i = 0; i < r->count; i++) {
		free(r->entries[i].pattern);
		free(r->entries[i].rule.pattern);
	}
	free(r->entries);
	free(r->name);
	free(r->text);
	free(r);
}

int rules_set_source(struct rules *r, const char *name, const char *text, size_t len)
{
	r->name = strdup(name);
	r->text = malloc(len + 1);
	if (!r->name || !r->text)
		return -ENOMEM;
	memcpy(r->text, text, len);
	r->text[len] = '\0';
	r->len = len;
	return 0;
}

bool rules_source(const struct rules *r, const char **name, const char **text, size_t *len)
{
	if (!r || !r->text)
		return false;
	*name = r->name;
	*text = r->text;
	*len = r->len;
	return true;
}

size_t rules_count(const struct rules *r)
{
	return r ? r->count : 0;
}

bool rules_limit(const struct rules *r)
{
	return r && r->limit;
}

static size_t name_offset(const char *path, size_t len)
{
	const char *slash = memrchr(path, '/', len);

	return slash ? (size_t)(slash - path) + 1 : 0;
}

const struct rule *rules_match(const struct rules *r, const char *path)
{
	size_t len, name;

	if (!rules_count(r))
		return NULL;
	len = strlen(path);
	name = name_offset(path, len);
	for (size_t i = 0; i < r->count; i++)
		if (pattern_matches(r->entries[i].pattern, path, len, name))
			return &r->entries[i].rule;
	return NULL;
}

bool rule_pattern_matches(const char *pattern, const char *path)
{
	struct pattern_fault fault;
	size_t len = strlen(path);
	struct pattern *p;
	bool matches;

	if (pattern_compile(pattern, strlen(pattern), &p, &fault))
		return false;
	matches = pattern_matches(p, path, len, name_offset(path, len));
	free(p);
	return matches;
}

int rules_add(struct rules *r, const struct rule *rule, struct pattern *pattern)
{
	if (r->count == r->room) {
		size_t room = r->room ? 2 * r->room : 8;
		struct entry *entries = reallocarray(r->entries, room, sizeof(*entries));

		if (!entries) {
			free(pattern);
			free(rule->pattern);
			return -ENOMEM;
		}
		r->entries = entries;
		r->room = room;
	}
	r->limit = r->limit || rule->limits_given;
	r->entries[r->count++] = (struct entry){.rule = *rule, .pattern = pattern};
	return 0;
}
