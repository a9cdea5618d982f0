/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the option parser share: text into fixed buffers, and the argument types. */
#ifndef CACHEFS_CONFIG_OPTIONS_INTERNAL_H
#define CACHEFS_CONFIG_OPTIONS_INTERNAL_H

#include "config/options.h"

/* A text that grows in a caller's buffer. LEN counts on when it is full, as snprintf(3) does. */
struct text {
	char *buf;
	size_t size;
	size_t len;
};

void text_add(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Adds LEN bytes of STRING with a backslash before each character of SPECIAL. */
void text_add_escaped(struct text *t, const char *string, size_t len, const char *special);

/* Where a refusal goes. */
struct refusal {
	char *buf;
	size_t size;
};

/* Fills the buffer; always -EINVAL. */
int refuse(struct refusal *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int refuse_no_memory(struct refusal *r);

/* Input of people as it may be shown: in double quotes, cut, without control characters. */
struct quoted {
	char text[72];
};
const char *quote(struct quoted *q, const char *input, size_t len);
const char *quote_string(struct quoted *q, const char *input);

/* How the value of an option is read, shown and compared. */
struct option_type {
	bool takes_value;
	size_t size; /* of the field */
	/* VALUE is NULL where takes_value is false, else not empty. *FIELD changes on success only.
	 */
	int (*parse)(const struct option_row *row, void *field, const char *value,
		     struct refusal *r);
	/* Adds the value as parse() reads it (of an option that was repeated, the options that
	 * follow too); NULL where takes_value is false. */
	void (*render)(const struct option_row *row, const void *field, struct text *t);
	/* Where the field owns memory; else NULL. release() leaves it empty. */
	bool (*equal)(const void *a, const void *b);
	void (*release)(void *field);
};

extern const struct option_type type_flag, type_switch, type_choice, type_count, type_seconds,
    type_size, type_text, type_mode, type_mask, type_rules;

static inline void *option_field(const struct option_row *row, struct options *o)
{
	return (char *)o + row->offset;
}

static inline const void *option_field_const(const struct option_row *row, const struct options *o)
{
	return (const char *)o + row->offset;
}

bool option_equal(const struct option_row *row, const struct options *a, const struct options *b);

/* All items of an -o string into O, without options_resolve_mode(). */
int options_parse_items(struct options *o, const char *string, struct refusal *r);

/* SWITCHES is what results in O; refuses a contradiction. */
int options_resolve_mode(struct options *o, struct refusal *r);

/* Refuses limits of which the one makes the other pointless. */
int options_check_limits(const struct budget_limits *l, struct refusal *r);

/* cache or one of its switches */
static inline bool option_concerns_mode(enum option_id id)
{
	return id == OPTION_CACHE || id == OPTION_CACHE_DIRECT || id == OPTION_CACHE_WRITEBACK ||
	       id == OPTION_CACHE_NO_FLUSH;
}

#endif
