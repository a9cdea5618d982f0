/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rules as text: words, patterns, modes and what is wrong with them. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/options_internal.h"
#include "config/rules_internal.h"
#include "config/suggest.h"

/* ---- errors ---- */

/* The text at hand: a line of a file, or the value of a rule=. */
struct source {
	const char *name; /* of the file; NULL: rule= */
	unsigned line;	  /* 0: rule= */
	const char *text;
	size_t len;
	struct refusal *refusal;
};

/* The file as errors call it: as given, unless that does not fit into a line. */
static const char *shown_name(const char *name, struct quoted *q)
{
	size_t len = 0;

	while (name[len] >= ' ' && name[len] <= '~')
		len++;
	return name[len] || len > 160 ? quote_string(q, name) : name;
}

/* AT: offset in the text of what is wrong. */
static int __attribute__((format(printf, 3, 4)))
fault(const struct source *s, size_t at, const char *fmt, ...)
{
	char what[OPTIONS_ERROR_SIZE];
	struct quoted q;
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	if (!s->name)
		return refuse(s->refusal, "option \"rule\", column %zu of %s: %s", at + 1,
			      quote(&q, s->text, s->len), what);
	return refuse(s->refusal, "%s:%u:%zu: %s", shown_name(s->name, &q), s->line, at + 1, what);
}

/* NOUN: what the unknown word should have been, one of NAMES, which S has been offered. */
static int fault_unknown(const struct source *source, size_t at, const char *noun,
			 const struct suggestion *s, const struct text *names)
{
	struct quoted q;

	quote(&q, s->word, s->len);
	if (s->best)
		return fault(source, at, "%s is no %s (%s); did you mean \"%s\"?", q.text, noun,
			     names->buf, s->best);
	return fault(source, at, "%s is no %s: give one of %s", q.text, noun, names->buf);
}

/* ---- words ---- */

struct word {
	size_t at, len; /* in the text of its source, quotes included */
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The word at *POS or behind it. 1, or 0 at the end or a comment, or an error. */
static int next_word(const struct source *s, size_t *pos, struct word *word)
{
	size_t at = *pos, quote_at = 0;
	bool quoted = false;

	while (at < s->len && is_blank(s->text[at]))
		at++;
	if (at == s->len || s->text[at] == '#')
		return 0;
	word->at = at;
	for (; at < s->len && (quoted || !is_blank(s->text[at])); at++) {
		if (s->text[at] == '"') {
			quoted = !quoted;
			quote_at = at;
		} else if (s->text[at] == '\\' && at + 1 < s->len) {
			at++;
		}
	}
	if (quoted)
		return fault(s, quote_at,
			     "this double quote is not closed: add the other, or write \\\" for "
			     "itself");
	word->len = at - word->at;
	*pos = at;
	return 1;
}

/* A word without its double quotes; backslashes stay, for the pattern. OUT has room for one
 * more. */
static size_t unquote(const char *word, size_t len, char *out)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (word[i] == '"')
			continue;
		out[n++] = word[i];
		if (word[i] == '\\' && i + 1 < len)
			out[n++] = word[++i];
	}
	out[n] = '\0';
	return n;
}

/* Where in WORD the byte is that unquote() put at OFFSET. */
static size_t quoted_offset(const char *word, size_t len, size_t offset)
{
	size_t i = 0, n = 0;

	for (; i < len; i++) {
		if (word[i] == '"')
			continue;
		if (n++ == offset)
			break;
		if (word[i] == '\\' && i + 1 < len) {
			i++;
			if (n++ == offset)
				break;
		}
	}
	return i;
}

/* ---- rules ---- */

static int parse_on_off(void *field, const char *value, size_t len)
{
	if ((len != 2 || memcmp(value, "on", 2) != 0) && (len != 3 || memcmp(value, "off", 3) != 0))
		return -EINVAL;
	*(bool *)field = len == 2;
	return 0;
}

static int parse_size(void *field, const char *value, size_t len)
{
	return size_parse(value, len, field) ? 0 : -EINVAL;
}

static int parse_seconds(void *field, const char *value, size_t len)
{
	uint64_t nanoseconds;

	if (!seconds_parse(value, len, &nanoseconds))
		return -EINVAL;
	*(double *)field = (double)nanoseconds / (double)NANOSECONDS;
	return 0;
}

#define SWITCH(name_, field_)                                                                      \
	{                                                                                          \
		.name = (name_), .values = "on or off", .parse = parse_on_off,                     \
		.offset = offsetof(struct rule, switches.field_),                                  \
	}

#define LIMIT(id_, name_, field_, values_, parse_)                                                 \
	{                                                                                          \
		.name = (name_), .values = (values_), .parse = (parse_),                           \
		.offset = offsetof(struct rule, limits.field_), .limit = LIMIT_##id_,              \
	}
#define SIZE_VALUES "a size, such as 64M (0: none)"
#define SECONDS_VALUES "a number of seconds from 0 (none) to 1000000000"

/* What may stand behind the mode, as NAME=VALUE. */
static const struct setting {
	const char *name;
	const char *values; /* for people */
	int (*parse)(void *field, const char *value, size_t len);
	size_t offset;	/* of the field in struct rule */
	unsigned limit; /* of enum limit_mask; 0: a switch */
} settings[] = {
    SWITCH("cache.direct", direct),
    SWITCH("cache.writeback", writeback),
    SWITCH("cache.no-flush", no_flush),
    LIMIT(DIRTY_LIMIT, "dirty-limit", dirty_limit, SIZE_VALUES, parse_size),
    LIMIT(DIRTY_MAX, "dirty-max", dirty_max, SIZE_VALUES, parse_size),
    LIMIT(DIRTY_AGE, "dirty-age", dirty_age, SECONDS_VALUES, parse_seconds),
};
#define SETTINGS (sizeof(settings) / sizeof(settings[0]))
#define SWITCHES 3

static int unknown_setting(const struct source *s, size_t at, const char *name, size_t len)
{
	char buf[160] = "";
	struct text names = {.buf = buf, .size = sizeof(buf)};
	struct suggestion near;

	suggest_begin(&near, name, len);
	for (size_t i = 0; i < SETTINGS; i++) {
		text_add(&names, "%s%s", i ? ", " : "", settings[i].name);
		suggest_offer(&near, settings[i].name);
	}
	return fault_unknown(s, at, "setting", &near, &names);
}

/* GIVEN: bits of the settings that stood before. */
static int parse_setting(const struct source *s, const struct word *w, struct rule *rule,
			 unsigned *given)
{
	const char *text = s->text + w->at, *equals = memchr(text, '=', w->len);
	size_t name_len = equals ? (size_t)(equals - text) : w->len;
	struct quoted q;

	for (size_t i = 0; i < SETTINGS; i++) {
		const struct setting *row = &settings[i];

		if (strlen(row->name) != name_len || memcmp(row->name, text, name_len) != 0)
			continue;
		if (!equals)
			return fault(s, w->at, "\"%s\" needs a value: %s=, then %s", row->name,
				     row->name, row->values);
		if (*given & 1u << i)
			return fault(s, w->at, "\"%s\" stands twice in this rule: leave one out",
				     row->name);
		*given |= 1u << i;
		rule->limits_given |= row->limit;
		equals++;
		if (row->parse((char *)rule + row->offset, equals, w->len - name_len - 1) == 0)
			return 0;
		return fault(s, w->at + name_len + 1, "\"%s\": %s is not %s", row->name,
			     quote(&q, equals, w->len - name_len - 1), row->values);
	}
	return unknown_setting(s, w->at, text, name_len);
}

/* AT: where the last of them stands. */
static int check_limits(const struct source *s, size_t at, const struct rule *rule)
{
	struct size_text limit, max;

	if (limits_valid(&rule->limits))
		return 0;
	return fault(s, at,
		     "dirty-max=%s is less than dirty-limit=%s, so writers would wait before "
		     "write-back starts: give a larger dirty-max, or leave dirty-limit out",
		     size_render(rule->limits.dirty_max, &max),
		     size_render(rule->limits.dirty_limit, &limit));
}

static int parse_settings(const struct source *s, size_t pos, struct rule *rule)
{
	size_t contradiction = 0, last = 0;
	unsigned given = 0;
	struct word w;
	int more;

	while ((more = next_word(s, &pos, &w)) > 0) {
		bool valid = switches_valid(rule->switches);
		int err = parse_setting(s, &w, rule, &given);

		if (err)
			return err;
		if (valid)
			contradiction = w.at;
		last = w.at;
	}
	if (more < 0)
		return more;
	if (!switches_valid(rule->switches))
		return fault(s, contradiction,
			     "cache.writeback=off and cache.no-flush=on contradict each other (no "
			     "write may wait in a cache, yet no flush may write it out): choose "
			     "another mode or leave a switch out");
	return check_limits(s, last, rule);
}

static int parse_mode(const struct source *s, const struct word *w, struct rule *rule)
{
	char buf[160] = "";
	struct text names = {.buf = buf, .size = sizeof(buf)};
	struct suggestion near;
	struct quoted q;

	if (mode_by_name(s->text + w->at, w->len, &rule->switches) == 0)
		return 0;
	if (s->name && memchr(s->text + w->at, '=', w->len))
		return fault(s, w->at, "a mode must stand before %s, as in \"PATTERN none %s=on\"",
			     quote(&q, s->text + w->at, w->len), settings[SWITCHES - 1].name);
	suggest_begin(&near, s->text + w->at, w->len);
	for (size_t i = 0; i < cache_modes_count; i++) {
		text_add(&names, "%s%s", i ? ", " : "", cache_modes[i].name);
		suggest_offer(&near, cache_modes[i].name);
	}
	return fault_unknown(s, w->at, "mode", &near, &names);
}

/* QUOTES: double quotes mean something. */
static int parse_pattern(const struct source *s, const struct word *w, bool quotes,
			 struct pattern **out, struct rule *rule)
{
	const char *word = s->text + w->at, *text = word;
	char plain[RULES_LINE_MAX + 1];
	struct pattern_fault wrong;
	size_t len = w->len;
	int err;

	if (quotes) {
		len = unquote(word, w->len, plain);
		text = plain;
	}
	err = pattern_compile(text, len, out, &wrong);
	if (!err) {
		rule->pattern = strndup(text, len);
		if (!rule->pattern)
			free(*out);
		return rule->pattern ? 0 : -ENOMEM;
	}
	if (err != -EINVAL)
		return err;
	if (quotes)
		wrong.at = quoted_offset(word, w->len, wrong.at);
	return fault(s, w->at + wrong.at, "in the pattern: %s", wrong.what);
}

static int check_text(const struct source *s)
{
	const char *nul = memchr(s->text, 0, s->len);

	if (nul)
		return fault(s, (size_t)(nul - s->text),
			     "a NUL byte: rules are text, see "
			     "cachefs.rules(5)");
	if (s->len > RULES_LINE_MAX)
		return fault(s, RULES_LINE_MAX, "longer than %d bytes: shorten the pattern",
			     RULES_LINE_MAX);
	return 0;
}

static int parse_line(const struct source *s, struct rules *r)
{
	struct rule rule = {.line = s->line};
	struct word pattern_word, mode_word;
	struct pattern *pattern;
	size_t pos = 0;
	int err = check_text(s), more;

	if (err)
		return err;
	more = next_word(s, &pos, &pattern_word);
	if (more <= 0)
		return more;
	err = parse_pattern(s, &pattern_word, true, &pattern, &rule);
	if (err)
		return err;
	more = next_word(s, &pos, &mode_word);
	if (more < 0)
		err = more;
	else if (more == 0)
		err = fault(s, pos, "the mode is missing: give one behind the pattern, \"%s\" say",
			    cache_modes[0].name);
	if (!err)
		err = parse_mode(s, &mode_word, &rule);
	if (!err)
		err = parse_settings(s, pos, &rule);
	if (err) {
		free(pattern);
		free(rule.pattern);
		return err;
	}
	return rules_add(r, &rule, pattern);
}

static int parse_inlined(const struct source *s, struct rules *r)
{
	const char *equals = memrchr(s->text, '=', s->len);
	struct rule rule = {.line = 0};
	struct word pattern_word, mode_word;
	struct pattern *pattern;
	int err = check_text(s);

	if (err)
		return err;
	if (!equals)
		return fault(s, s->len, "\"=MODE\" is missing behind the pattern");
	pattern_word = (struct word){.len = (size_t)(equals - s->text)};
	mode_word = (struct word){.at = pattern_word.len + 1};
	mode_word.len = s->len - mode_word.at;
	err = parse_mode(s, &mode_word, &rule);
	if (!err)
		err = parse_pattern(s, &pattern_word, false, &pattern, &rule);
	return err ? err : rules_add(r, &rule, pattern);
}

static int parse_text(struct source *s, const char *text, size_t len, struct rules *r)
{
	const char *end = text + len;
	int err = 0;

	while (!err && text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));

		s->line++;
		s->text = text;
		s->len = (size_t)((newline ? newline : end) - text);
		text += s->len + (newline != NULL);
		if (s->len && s->text[s->len - 1] == '\r')
			s->len--;
		err = parse_line(s, r);
	}
	return err;
}

int rules_parse(const char *const *inlined, size_t count, const char *name, const char *text,
		size_t len, struct rules **out, char *err, size_t errsize)
{
	struct refusal refusal = {.buf = err, .size = errsize};
	struct source s = {.refusal = &refusal};
	struct rules *r = rules_new();
	int error = r ? 0 : -ENOMEM;

	for (size_t i = 0; !error && i < count; i++) {
		s.text = inlined[i];
		s.len = strlen(inlined[i]);
		error = parse_inlined(&s, r);
	}
	s.name = name;
	if (!error && text)
		error = parse_text(&s, text, len, r);
	if (!error && text)
		error = rules_set_source(r, name, text, len);
	if (error == -ENOMEM)
		refuse(&refusal, "out of memory while reading the rules: try again");
	if (error)
		rules_unref(r);
	else
		*out = r;
	return error;
}
