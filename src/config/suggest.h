/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * "Did you mean ...?": the known word nearest to one that is not known.
 * Pure functions over plain values; safe from any thread.
 */
#ifndef CACHEFS_CONFIG_SUGGEST_H
#define CACHEFS_CONFIG_SUGGEST_H

#include <stddef.h>

/* Longer words have no neighbours; keeps the work for hostile input small. */
#define SUGGEST_WORD_MAX 64

/*
 * Number of insertions, deletions, replacements and swaps of neighbours that make A (of ALEN
 * bytes) into B (Damerau-Levenshtein, optimal string alignment). SIZE_MAX when either is
 * longer than SUGGEST_WORD_MAX.
 */
size_t suggest_distance(const char *a, size_t alen, const char *b, size_t blen);

/* Offer all candidates, then look at best. WORD and the candidates must outlive it. */
struct suggestion {
	const char *word;
	size_t len;
	const char *best; /* NULL: nothing is near */
	size_t distance;
};

void suggest_begin(struct suggestion *s, const char *word, size_t len);
/*
 * A candidate is near when a third of its letters at most differ, when more than half of the one
 * begins the other, or when WORD is its last part ("direct" of "cache.direct"). Of equally near
 * ones the first offered stays.
 */
void suggest_offer(struct suggestion *s, const char *candidate);

#endif
