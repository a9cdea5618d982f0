/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config/limits.h"

#include <stdio.h>
#include <string.h>

bool limits_any(const struct budget_limits *l)
{
	return l->dirty_limit || l->dirty_max || l->dirty_age > 0;
}

bool limits_equal(const struct budget_limits *a, const struct budget_limits *b)
{
	return a->dirty_limit == b->dirty_limit && a->dirty_max == b->dirty_max &&
	       !(a->dirty_age < b->dirty_age) && !(a->dirty_age > b->dirty_age);
}

bool limits_valid(const struct budget_limits *l)
{
	return !l->dirty_max || l->dirty_limit <= l->dirty_max;
}

void limits_replace(struct budget_limits *to, const struct budget_limits *from, unsigned given)
{
#define REPLACE(id, field, name)                                                                   \
	if (given & LIMIT_##id)                                                                    \
		to->field = from->field;
	BUDGET_LIMITS(REPLACE)
#undef REPLACE
}

void limits_strictest(struct budget_limits *to, const struct budget_limits *other)
{
#define STRICTEST(id, field, name)                                                                 \
	if (other->field > 0 && (to->field <= 0 || other->field < to->field))                      \
		to->field = other->field;
	BUDGET_LIMITS(STRICTEST)
#undef STRICTEST
}

bool digits_parse(const char *text, size_t len, uint64_t most, uint64_t *value, const char **end)
{
	const char *p = text, *stop = text + len;
	uint64_t n = 0;

	for (; p < stop && *p >= '0' && *p <= '9'; p++) {
		uint64_t digit = (uint64_t)(*p - '0');

		if (n > (most - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	*value = n;
	*end = p;
	return p != text;
}

static const char suffixes[] = "KMGT";

bool size_parse(const char *text, size_t len, uint64_t *size)
{
	const char *end, *suffix;
	unsigned shift = 0;
	uint64_t n;

	if (!digits_parse(text, len, SIZE_MOST, &n, &end))
		return false;
	if (end < text + len) {
		char upper = *end >= 'a' && *end <= 'z' ? (char)(*end - 'a' + 'A') : *end;

		suffix = upper ? strchr(suffixes, upper) : NULL;
		if (!suffix || end + 1 != text + len)
			return false;
		shift = 10 * (unsigned)(suffix - suffixes + 1);
	}
	if (n > SIZE_MOST >> shift)
		return false;
	*size = n << shift;
	return true;
}

const char *size_render(uint64_t size, struct size_text *out)
{
	unsigned steps = 0;

	while (size && size % 1024 == 0 && steps < sizeof(suffixes) - 1) {
		size /= 1024;
		steps++;
	}
	snprintf(out->text, sizeof(out->text), "%llu%.*s", (unsigned long long)size, steps ? 1 : 0,
		 steps ? &suffixes[steps - 1] : "");
	return out->text;
}

/* By hand, for strtod(3) takes hexadecimals, "nan", and the locale's comma. */
bool seconds_parse(const char *text, size_t len, uint64_t *nanoseconds)
{
	const char *p = text, *stop = text + len;
	uint64_t whole = 0, unit = NANOSECONDS, fraction = 0;

	if (p == stop || (*p != '.' && !digits_parse(p, len, SECONDS_MOST, &whole, &p)))
		return false;
	if (p < stop && *p == '.') {
		if (p == text && p + 1 == stop)
			return false;
		for (p++; p < stop && *p >= '0' && *p <= '9' && unit > 1; p++) {
			unit /= 10;
			fraction += unit * (uint64_t)(*p - '0');
		}
	}
	*nanoseconds = whole * NANOSECONDS + fraction;
	return p == stop && *nanoseconds <= SECONDS_MOST * NANOSECONDS;
}
