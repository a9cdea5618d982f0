/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config/suggest.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t least = a < b ? a : b;

	return least < c ? least : c;
}

size_t suggest_distance(const char *a, size_t alen, const char *b, size_t blen)
{
	/* Three rows of the matrix are enough: a swap looks two rows back. */
	size_t rows[3][SUGGEST_WORD_MAX + 1];
	size_t *before = rows[0], *previous = rows[1], *current = rows[2];

	if (alen > SUGGEST_WORD_MAX || blen > SUGGEST_WORD_MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= blen; j++)
		previous[j] = j;
	for (size_t i = 1; i <= alen; i++) {
		size_t *recycled = before;

		current[0] = i;
		for (size_t j = 1; j <= blen; j++) {
			size_t replaced = previous[j - 1] + (a[i - 1] != b[j - 1]);

			current[j] = min3(previous[j] + 1, current[j - 1] + 1, replaced);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < current[j])
				current[j] = before[j - 2] + 1;
		}
		before = previous;
		previous = current;
		current = recycled;
	}
	return previous[blen];
}

void suggest_begin(struct suggestion *s, const char *word, size_t len)
{
	*s = (struct suggestion){.word = word, .len = len, .distance = SIZE_MAX};
}

static bool is_last_part(const struct suggestion *s, const char *candidate)
{
	const char *dot = strrchr(candidate, '.');

	return dot && strlen(dot + 1) == s->len && memcmp(dot + 1, s->word, s->len) == 0;
}

/* "warning" of "warn", "foregr" of "foreground": more than half of the one begins the other. */
static bool begins_alike(const struct suggestion *s, const char *candidate, size_t len)
{
	size_t shorter = len < s->len ? len : s->len;
	size_t longer = len < s->len ? s->len : len;

	return shorter > longer / 2 && memcmp(s->word, candidate, shorter) == 0;
}

void suggest_offer(struct suggestion *s, const char *candidate)
{
	size_t len = strlen(candidate);
	size_t limit = (len > s->len ? len : s->len) / 3;
	size_t distance = suggest_distance(s->word, s->len, candidate, len);

	if (distance == SIZE_MAX)
		return;
	if (is_last_part(s, candidate))
		distance = 1;
	else if (distance > limit && limit > 0 && begins_alike(s, candidate, len))
		distance = limit;
	if (distance > limit || distance >= s->distance)
		return;
	s->distance = distance;
	s->best = candidate;
}
