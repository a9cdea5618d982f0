/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The types of options' values: each read, shown and compared in one place. */
#include "config/options_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/limits.h"
#include "config/suggest.h"

void text_add(struct text *t, const char *fmt, ...)
{
	bool fits = t->len < t->size;
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintf(fits ? t->buf + t->len : NULL, fits ? t->size - t->len : 0, fmt, args);
	va_end(args);
	if (len > 0)
		t->len += (size_t)len;
}

void text_add_escaped(struct text *t, const char *string, size_t len, const char *special)
{
	for (size_t i = 0; i < len; i++)
		text_add(t, "%s%c", strchr(special, string[i]) ? "\\" : "", string[i]);
}

int refuse(struct refusal *r, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(r->buf, r->size, fmt, args);
	va_end(args);
	return -EINVAL;
}

int refuse_no_memory(struct refusal *r)
{
	refuse(r, "out of memory while reading the options: try again");
	return -ENOMEM;
}

const char *quote(struct quoted *q, const char *input, size_t len)
{
	static const char cut[] = "...\"";
	struct text t = {.buf = q->text, .size = sizeof(q->text)};

	text_add(&t, "\"");
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)input[i];

		/* Room must be left for one escape, the cut and the end. */
		if (t.len + 4 + sizeof(cut) > t.size) {
			text_add(&t, "%s", cut);
			return q->text;
		}
		if (c < ' ' || c > '~')
			text_add(&t, "\\x%02x", c);
		else
			text_add(&t, "%c", c);
	}
	text_add(&t, "\"");
	return q->text;
}

const char *quote_string(struct quoted *q, const char *input)
{
	return quote(q, input, strlen(input));
}

bool option_equal(const struct option_row *row, const struct options *a, const struct options *b)
{
	const void *left = option_field_const(row, a), *right = option_field_const(row, b);

	if (row->type->equal)
		return row->type->equal(left, right);
	return memcmp(left, right, row->type->size) == 0;
}

static int parse_flag(const struct option_row *row, void *field, const char *value,
		      struct refusal *r)
{
	(void)row, (void)value, (void)r;
	*(bool *)field = true;
	return 0;
}

static int parse_switch(const struct option_row *row, void *field, const char *value,
			struct refusal *r)
{
	struct quoted q;

	if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0)
		return refuse(r, "option \"%s\": %s is neither \"on\" nor \"off\"", row->name,
			      quote_string(&q, value));
	*(bool *)field = strcmp(value, "on") == 0;
	return 0;
}

static void render_switch(const struct option_row *row, const void *field, struct text *t)
{
	(void)row;
	text_add(t, "%s", *(const bool *)field ? "on" : "off");
}

static const struct choice *find_choice(const struct choice *choices, const char *name, size_t len)
{
	for (; choices->name; choices++)
		if (strlen(choices->name) == len && memcmp(choices->name, name, len) == 0)
			return choices;
	return NULL;
}

/* NAMES: what could have been given, offered to S already. */
static int refuse_choice(const struct option_row *row, const struct suggestion *s,
			 const struct text *names, struct refusal *r)
{
	struct quoted q;

	quote(&q, s->word, s->len);
	if (s->best)
		return refuse(r, "option \"%s\": %s is not one of %s; did you mean \"%s\"?",
			      row->name, q.text, names->buf, s->best);
	return refuse(r, "option \"%s\": %s is not one of %s", row->name, q.text, names->buf);
}

static int refuse_unknown_choice(const struct option_row *row, const char *value, size_t len,
				 struct refusal *r)
{
	char buf[160] = "";
	struct text names = {.buf = buf, .size = sizeof(buf)};
	struct suggestion s;

	suggest_begin(&s, value, len);
	for (const struct choice *c = row->choices; c->name; c++) {
		if (c->hidden)
			continue;
		text_add(&names, "%s%s", names.len ? ", " : "", c->name);
		suggest_offer(&s, c->name);
	}
	return refuse_choice(row, &s, &names, r);
}

static int parse_choice(const struct option_row *row, void *field, const char *value,
			struct refusal *r)
{
	const struct choice *choice = find_choice(row->choices, value, strlen(value));

	if (!choice)
		return refuse_unknown_choice(row, value, strlen(value), r);
	*(int *)field = choice->value;
	return 0;
}

static void render_choice(const struct option_row *row, const void *field, struct text *t)
{
	for (const struct choice *c = row->choices; c->name; c++)
		if (c->value == *(const int *)field)
			text_add(t, "%s", c->name);
}

static int parse_count(const struct option_row *row, void *field, const char *value,
		       struct refusal *r)
{
	struct quoted q;
	uint64_t count;
	const char *end;

	if (!digits_parse(value, strlen(value), row->most, &count, &end) || *end ||
	    count < row->least)
		return refuse(r, "option \"%s\": %s is not a whole number from %u to %u", row->name,
			      quote_string(&q, value), row->least, row->most);
	*(unsigned int *)field = (unsigned int)count;
	return 0;
}

static void render_count(const struct option_row *row, const void *field, struct text *t)
{
	(void)row;
	text_add(t, "%u", *(const unsigned int *)field);
}

static int parse_seconds(const struct option_row *row, void *field, const char *value,
			 struct refusal *r)
{
	uint64_t nanoseconds;
	struct quoted q;

	if (!seconds_parse(value, strlen(value), &nanoseconds))
		return refuse(r,
			      "option \"%s\": %s is not a number of seconds from 0 to 1000000000, "
			      "such as 1 or 0.25",
			      row->name, quote_string(&q, value));
	*(double *)field = (double)nanoseconds / (double)NANOSECONDS;
	return 0;
}

static void render_seconds(const struct option_row *row, const void *field, struct text *t)
{
	uint64_t ns = (uint64_t)(*(const double *)field * (double)NANOSECONDS + 0.5);
	uint64_t fraction = ns % NANOSECONDS;
	int digits = 9;

	(void)row;
	text_add(t, "%llu", (unsigned long long)(ns / NANOSECONDS));
	if (!fraction)
		return;
	for (; fraction % 10 == 0; fraction /= 10)
		digits--;
	text_add(t, ".%0*llu", digits, (unsigned long long)fraction);
}

static int parse_size(const struct option_row *row, void *field, const char *value,
		      struct refusal *r)
{
	struct quoted q;

	if (!size_parse(value, strlen(value), field))
		return refuse(r,
			      "option \"%s\": %s is not a size: give bytes, or a number with K, M, "
			      "G or T behind it, such as 64M (0: none)",
			      row->name, quote_string(&q, value));
	return 0;
}

static void render_size(const struct option_row *row, const void *field, struct text *t)
{
	struct size_text size;

	(void)row;
	text_add(t, "%s", size_render(*(const uint64_t *)field, &size));
}

static int parse_text(const struct option_row *row, void *field, const char *value,
		      struct refusal *r)
{
	char *copy = strdup(value);

	(void)row;
	if (!copy)
		return refuse_no_memory(r);
	free(*(char **)field);
	*(char **)field = copy;
	return 0;
}

static void render_text(const struct option_row *row, const void *field, struct text *t)
{
	const char *string = *(char *const *)field;

	(void)row;
	if (string)
		text_add_escaped(t, string, strlen(string), ",\\\"");
}

static bool equal_text(const void *a, const void *b)
{
	const char *left = *(char *const *)a, *right = *(char *const *)b;

	if (!left || !right)
		return left == right;
	return strcmp(left, right) == 0;
}

static void release_text(void *field)
{
	free(*(char **)field);
	*(char **)field = NULL;
}

static int parse_mode(const struct option_row *row, void *field, const char *value,
		      struct refusal *r)
{
	char buf[160] = "";
	struct text names = {.buf = buf, .size = sizeof(buf)};
	struct suggestion s;

	if (mode_by_name(value, strlen(value), field) == 0)
		return 0;
	suggest_begin(&s, value, strlen(value));
	for (size_t i = 0; i < cache_modes_count; i++) {
		text_add(&names, "%s%s", i ? ", " : "", cache_modes[i].name);
		suggest_offer(&s, cache_modes[i].name);
	}
	return refuse_choice(row, &s, &names, r);
}

static void render_mode(const struct option_row *row, const void *field, struct text *t)
{
	const char *name = mode_name(*(const struct switches *)field);

	(void)row;
	text_add(t, "%s", name ? name : "");
}

static int parse_mask(const struct option_row *row, void *field, const char *value,
		      struct refusal *r)
{
	unsigned int mask = 0;

	for (const char *name = value;; name++) {
		size_t len = strcspn(name, ":");
		const struct choice *choice = find_choice(row->choices, name, len);

		if (!choice)
			return refuse_unknown_choice(row, name, len, r);
		mask |= (unsigned int)choice->value;
		name += len;
		if (!*name)
			break;
	}
	*(unsigned int *)field = mask;
	return 0;
}

static void render_mask(const struct option_row *row, const void *field, struct text *t)
{
	unsigned int mask = *(const unsigned int *)field;
	const char *separator = "";

	for (const struct choice *c = row->choices; c->name; c++) {
		if (!(mask & (unsigned int)c->value))
			continue;
		text_add(t, "%s%s", separator, c->name);
		separator = ":";
	}
}

const struct option_type type_flag = {.size = sizeof(bool), .parse = parse_flag};
#define TYPE(name, ctype)                                                                          \
	const struct option_type type_##name = {.takes_value = true,                               \
						.size = sizeof(ctype),                             \
						.parse = parse_##name,                             \
						.render = render_##name}
TYPE(switch, bool);
TYPE(choice, int);
TYPE(count, unsigned int);
TYPE(seconds, double);
TYPE(size, uint64_t);
TYPE(mode, struct switches);
TYPE(mask, unsigned int);
const struct option_type type_text = {.takes_value = true,
				      .size = sizeof(char *),
				      .parse = parse_text,
				      .render = render_text,
				      .equal = equal_text,
				      .release = release_text};
