/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options about rules: rule=, which may be repeated, and what it makes together with rules=. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/options_internal.h"
#include "config/rules.h"

/* 0 for a rule, else what is wrong with it. */
static int check_rule(const char *value, struct refusal *r)
{
	struct rules *rules;
	int err = rules_parse(&value, 1, NULL, NULL, 0, &rules, r->buf, r->size);

	if (!err)
		rules_unref(rules);
	return err;
}

static bool contains(const struct string_list *list, const char *item)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->items[i], item) == 0)
			return true;
	return false;
}

static void render_rules(const struct option_row *row, const void *field, struct text *t)
{
	const struct string_list *list = field;

	for (size_t i = 0; i < list->count; i++) {
		if (i)
			text_add(t, ",%s=", row->name);
		text_add_escaped(t, list->items[i], strlen(list->items[i]), ",\\\"");
	}
}

/* Would the list be longer than may be, as an -o string, with VALUE? */
static bool too_long(const struct option_row *row, const struct string_list *list,
		     const char *value)
{
	struct text t = {0};

	render_rules(row, list, &t);
	text_add_escaped(&t, value, strlen(value), ",\\\"");
	return t.len + strlen(",rule=") > RULE_OPTIONS_MAX;
}

static int parse_rules(const struct option_row *row, void *field, const char *value,
		       struct refusal *r)
{
	struct string_list *list = field;
	int err = check_rule(value, r);
	char **items, *copy;

	/* The first match wins, so a rule given again says nothing; mount(8) may hand all those of
	 * the mount back at a remount. */
	if (err || contains(list, value))
		return err;
	if (too_long(row, list, value))
		return refuse(r,
			      "option \"rule\": more than %d bytes in all: put the rules into a "
			      "file, and give rules=FILE",
			      RULE_OPTIONS_MAX);
	items = reallocarray(list->items, list->count + 1, sizeof(*items));
	if (!items)
		return refuse_no_memory(r);
	list->items = items;
	copy = strdup(value);
	if (!copy)
		return refuse_no_memory(r);
	items[list->count++] = copy;
	return 0;
}

static bool equal_rules(const void *a, const void *b)
{
	const struct string_list *left = a, *right = b;

	if (left->count != right->count)
		return false;
	for (size_t i = 0; i < left->count; i++)
		if (strcmp(left->items[i], right->items[i]) != 0)
			return false;
	return true;
}

static void release_rules(void *field)
{
	struct string_list *list = field;

	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct string_list){0};
}

const struct option_type type_rules = {.takes_value = true,
				       .size = sizeof(struct string_list),
				       .parse = parse_rules,
				       .render = render_rules,
				       .equal = equal_rules,
				       .release = release_rules};

int options_load_rules(const struct options *running, const struct options *wanted,
		       struct rules **out, char *err, size_t errsize)
{
	const struct options *file = wanted, *list = wanted;

	if (running && !options_given(wanted, OPTION_RULES))
		file = running;
	if (running && !options_given(wanted, OPTION_RULE))
		list = running;
	return rules_load((const char *const *)list->rule_list.items, list->rule_list.count,
			  file->rules, out, err, errsize);
}
