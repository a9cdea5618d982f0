/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of options, and the -o string into struct options. */
#include "config/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "config/options_internal.h"
#include "config/rules.h"
#include "config/suggest.h"

/* Linux 5.10; older C libraries lack it. */
#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif

static const struct choice kernel_path_choices[] = {
    {"auto", KERNEL_PATH_AUTO, false},
    {"always", KERNEL_PATH_ALWAYS, false},
    {"never", KERNEL_PATH_NEVER, false},
    {NULL, 0, false},
};

static const struct choice modes_by_choices[] = {
    {"owner", MODES_BY_OWNER, false},
    {"root", MODES_BY_ROOT, false},
    {NULL, 0, false},
};

static const struct choice on_close_choices[] = {
    {"flush", ON_CLOSE_FLUSH, false},
    {"none", ON_CLOSE_NONE, false},
    {NULL, 0, false},
};

static const struct choice after_crash_choices[] = {
    {"refuse", AFTER_CRASH_REFUSE, false},
    {"trust", AFTER_CRASH_TRUST, false},
    {"rollback", AFTER_CRASH_ROLLBACK, false},
    {NULL, 0, false},
};

static const struct choice engine_choices[] = {
    {"auto", ENGINE_AUTO, false},
    {"uring", ENGINE_URING, false},
    {"threads", ENGINE_THREADS, false},
    {"null", ENGINE_NULL, true},
    {NULL, 0, false},
};

static const struct choice log_level_choices[] = {
    {"error", LOG_LEVEL_ERROR, false},
    {"warn", LOG_LEVEL_WARN, false},
    {"info", LOG_LEVEL_INFO, false},
    {"debug", LOG_LEVEL_DEBUG, false},
    {NULL, 0, false},
};

#define CAPABILITY_CHOICE(id, field, name) {name, CAPABILITY_##id, false},
static const struct choice capability_choices[] = {
    CAPABILITY_TABLE(CAPABILITY_CHOICE){NULL, 0, false},
};

#define FIELD(type_, field_) .type = &(type_), .offset = offsetof(struct options, field_)
#define AS_FLAG(field) FIELD(type_flag, field)
#define AS_SWITCH(field) FIELD(type_switch, field)
#define AS_CHOICE(field, choices_) FIELD(type_choice, field), .choices = (choices_)
#define AS_COUNT(field, least_, most_) FIELD(type_count, field), .least = (least_), .most = (most_)
#define AS_SECONDS(field) FIELD(type_seconds, field)
#define AS_SIZE(field) FIELD(type_size, field)
#define AS_TEXT(field) FIELD(type_text, field)
#define AS_RULES(field) FIELD(type_rules, field)
#define AS_MODE(field) FIELD(type_mode, field)
#define AS_MASK(field, choices_) FIELD(type_mask, field), .choices = (choices_)

#define OPTION_ROW(id, name_, type_, remount_, values_, initial_, help_)                           \
	[OPTION_##id] = {.name = (name_),                                                          \
			 type_,                                                                    \
			 .remount = REMOUNT_##remount_,                                            \
			 .values = (values_),                                                      \
			 .initial = (initial_),                                                    \
			 .help = (help_)},

const struct option_row option_rows[OPTIONS_TOTAL] = {OPTION_TABLE(OPTION_ROW)};

_Static_assert(OPTIONS_TOTAL <= 64, "options.given has 64 bits");

#define MOUNT_FLAG(name, set, clear) {name, set, clear},
const struct mount_flag mount_flags[] = {MOUNT_FLAG_TABLE(MOUNT_FLAG)};
const size_t mount_flags_count = sizeof(mount_flags) / sizeof(mount_flags[0]);

#define FOREIGN_OPTION(name, advice) {name, advice},
static const struct foreign_option {
	const char *name;
	const char *advice;
} foreign_options[] = {FOREIGN_OPTION_TABLE(FOREIGN_OPTION)};

const struct option_row *option_next_visible(const struct option_row *previous)
{
	const struct option_row *row = previous ? previous + 1 : option_rows;

	for (; row < option_rows + OPTIONS_TOTAL; row++)
		if (row->help)
			return row;
	return NULL;
}

bool options_given(const struct options *o, enum option_id id)
{
	return o->given >> id & 1;
}

void options_init(struct options *o)
{
	*o = (struct options){
	    .switches = cache_modes[0].switches,
	    .mode = cache_modes[0].switches,
	    .engine = ENGINE_AUTO,
	    .recover = true,
	    .hang_timeout = 60,
	    .attr_timeout = 1,
	    .entry_timeout = 1,
	    .negative_timeout = 0,
	    .log_level = LOG_LEVEL_INFO,
	};
}

void options_free(struct options *o)
{
	for (size_t i = 0; i < OPTIONS_TOTAL; i++)
		if (option_rows[i].type->release)
			option_rows[i].type->release(option_field(&option_rows[i], o));
	rules_unref(o->parsed_rules);
	free(o->source);
	free(o->mountpoint);
	free(o->namespace);
	options_init(o);
}

static int refuse_contradiction(const struct options *o, struct refusal *r)
{
	static const char reason[] = "no write may wait in a cache, yet no flush may write it out";
	char mode[80];

	if (options_given(o, OPTION_CACHE_WRITEBACK) && options_given(o, OPTION_CACHE_NO_FLUSH))
		return refuse(r,
			      "cache.writeback=off and cache.no-flush=on contradict each other "
			      "(%s): leave one of them out",
			      reason);
	mode_describe(o->mode, mode, sizeof(mode));
	if (options_given(o, OPTION_CACHE_NO_FLUSH))
		return refuse(r,
			      "mode %s means cache.writeback=off, which contradicts "
			      "cache.no-flush=on (%s): choose another mode or leave the switch out",
			      mode, reason);
	return refuse(r,
		      "mode %s means cache.no-flush=on, which contradicts cache.writeback=off "
		      "(%s): choose another mode or leave the switch out",
		      mode, reason);
}

int options_check_limits(const struct budget_limits *l, struct refusal *r)
{
	struct size_text limit, max;

	if (limits_valid(l))
		return 0;
	return refuse(r,
		      "dirty-max=%s is less than dirty-limit=%s, so writers would wait before "
		      "write-back starts: give a larger dirty-max, or leave dirty-limit out",
		      size_render(l->dirty_max, &max), size_render(l->dirty_limit, &limit));
}

int options_resolve_mode(struct options *o, struct refusal *r)
{
	struct switches sw = o->mode;

	if (options_given(o, OPTION_CACHE_DIRECT))
		sw.direct = o->override.direct;
	if (options_given(o, OPTION_CACHE_WRITEBACK))
		sw.writeback = o->override.writeback;
	if (options_given(o, OPTION_CACHE_NO_FLUSH))
		sw.no_flush = o->override.no_flush;
	if (!switches_valid(sw))
		return refuse_contradiction(o, r);
	o->switches = sw;
	for (enum option_id id = 0; id < OPTIONS_TOTAL; id++)
		if (option_concerns_mode(id) && options_given(o, id))
			o->switches_given = true;
	return 0;
}

static int parse_row(struct options *o, const struct option_row *row, const char *value,
		     struct refusal *r)
{
	struct quoted q;
	int error;

	if (value && !row->type->takes_value)
		return refuse(r, "option \"%s\" takes no value, but %s was given: leave it out",
			      row->name, quote_string(&q, value));
	if (row->type->takes_value && (!value || !*value))
		return refuse(r, "option \"%s\" needs a value: %s=%s", row->name, row->name,
			      row->values ? row->values : "VALUE");
	/* mount(8) puts the options of a remount behind those of fstab: a cache= given anew means
	 * that mode, not that mode with the switches of the old one */
	if (row == &option_rows[OPTION_CACHE] && options_given(o, OPTION_CACHE))
		o->given &=
		    ~(UINT64_C(1) << OPTION_CACHE_DIRECT | UINT64_C(1) << OPTION_CACHE_WRITEBACK |
		      UINT64_C(1) << OPTION_CACHE_NO_FLUSH);
	error = row->type->parse(row, option_field(row, o), value, r);
	if (!error)
		o->given |= UINT64_C(1) << (row - option_rows);
	return error;
}

static int parse_mount_flag(struct options *o, const struct mount_flag *flag, const char *value,
			    struct refusal *r)
{
	struct quoted q;

	if (value)
		return refuse(r, "option \"%s\" takes no value, but %s was given: leave it out",
			      flag->name, quote_string(&q, value));
	o->ms_set = (o->ms_set & ~flag->clear) | flag->set;
	o->ms_clear = (o->ms_clear & ~flag->set) | flag->clear;
	return 0;
}

static int parse_foreign(const struct foreign_option *foreign, struct refusal *r)
{
	if (!foreign->advice)
		return 0;
	return refuse(r, "option \"%s\" cannot be given: %s", foreign->name, foreign->advice);
}

static int refuse_unknown(const char *name, struct refusal *r)
{
	struct suggestion s;
	struct quoted q;

	suggest_begin(&s, name, strlen(name));
	for (const struct option_row *row = NULL; (row = option_next_visible(row));)
		suggest_offer(&s, row->name);
	for (size_t i = 0; i < mount_flags_count; i++)
		suggest_offer(&s, mount_flags[i].name);
	quote_string(&q, name);
	if (s.best)
		return refuse(r, "unknown option %s; did you mean \"%s\"?", q.text, s.best);
	return refuse(r, "unknown option %s: --help lists the known ones", q.text);
}

static bool is_foreign(const struct foreign_option *foreign, const char *name)
{
	size_t len = strlen(foreign->name);

	if (foreign->name[len - 1] == '-')
		return strncmp(foreign->name, name, len) == 0;
	return strcmp(foreign->name, name) == 0;
}

static int parse_item(struct options *o, const char *name, const char *value, struct refusal *r)
{
	for (size_t i = 0; i < OPTIONS_TOTAL; i++)
		if (strcmp(option_rows[i].name, name) == 0)
			return parse_row(o, &option_rows[i], value, r);
	for (size_t i = 0; i < mount_flags_count; i++)
		if (strcmp(mount_flags[i].name, name) == 0)
			return parse_mount_flag(o, &mount_flags[i], value, r);
	for (size_t i = 0; i < sizeof(foreign_options) / sizeof(foreign_options[0]); i++)
		if (is_foreign(&foreign_options[i], name))
			return parse_foreign(&foreign_options[i], r);
	return o->sloppy ? 0 : refuse_unknown(name, r);
}

/* One item of an -o string, unquoted in place: NAME, and VALUE behind the first "=" (or NULL). */
struct item {
	char *name;
	char *value;
	bool unterminated; /* a double quote has no partner */
};

/*
 * Cuts the first item off *REST, which becomes NULL after the last one. Works in place: unquoting
 * makes a text shorter only.
 */
static struct item next_item(char **rest)
{
	char *in = *rest, *out = *rest;
	struct item item = {.name = *rest};
	bool quoted = false;

	for (; *in && (quoted || *in != ','); in++) {
		if (*in == '\\' && in[1] && strchr(",\\\"", in[1])) {
			*out++ = *++in;
		} else if (*in == '"') {
			quoted = !quoted;
		} else if (*in == '=' && !item.value) {
			*out++ = '\0';
			item.value = out;
		} else {
			*out++ = *in;
		}
	}
	*rest = *in ? in + 1 : NULL;
	*out = '\0';
	item.unterminated = quoted;
	return item;
}

static int parse_items(struct options *o, char *string, struct refusal *r)
{
	char *rest = string;

	while (rest) {
		struct item item = next_item(&rest);
		struct quoted q;
		int error;

		if (item.unterminated)
			return refuse(r, "option %s: a double quote is not closed: add the other",
				      quote_string(&q, item.name));
		if (!*item.name && !item.value)
			continue;
		error = parse_item(o, item.name, item.value, r);
		if (error)
			return error;
	}
	return 0;
}

int options_parse_items(struct options *o, const char *string, struct refusal *r)
{
	char *copy = strdup(string);
	int error;

	if (!copy)
		return refuse_no_memory(r);
	error = parse_items(o, copy, r);
	free(copy);
	return error;
}

int options_parse_string(struct options *o, const char *string, char *err, size_t errsize)
{
	struct refusal r = {.buf = err, .size = errsize};
	int error = options_parse_items(o, string, &r);

	if (!error)
		error = options_check_limits(&o->budget, &r);
	return error ? error : options_resolve_mode(o, &r);
}
