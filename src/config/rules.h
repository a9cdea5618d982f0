/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rules: which files have which cache mode, by their path under the mount. First match wins.
 *
 * Text, one rule a line: PATTERN MODE [SETTING=VALUE ...]. `*`, `?` and `[...]` do not cross a
 * slash, `**` does; a pattern without a slash is matched against the file's name in any directory.
 * A backslash quotes the next character (a space too); double quotes quote spaces and '#'. All of
 * it: cachefs.rules(5).
 *
 * A set of rules does not change once it is made; any thread may match against it.
 */
#ifndef CACHEFS_CONFIG_RULES_H
#define CACHEFS_CONFIG_RULES_H

#include <stdbool.h>
#include <stddef.h>

#include "config/limits.h"
#include "config/mode.h"

/* Bytes of a line, and of a rules file, at most. */
#define RULES_LINE_MAX 4096
#define RULES_FILE_MAX (1 << 20)

struct rules;

/* What a rule says of a file. */
struct rule {
	struct switches switches;
	struct budget_limits limits;
	unsigned limits_given; /* which of them, of enum limit_mask; the others are the mount's */
	char *pattern;	       /* owned by the rules; as it matches: without the file's quotes */
	unsigned line;	       /* in the rules file, from 1; 0: given with rule= */
};

/*
 * The rules INLINED (PATTERN=MODE each, COUNT of them, in front of the others; only a backslash
 * quotes there), then those of TEXT (LEN bytes, NULL for none), read from a file that errors call
 * NAME. 0, -ENOMEM, or -EINVAL; *OUT untouched on errors.
 * ERR (ERRSIZE bytes; OPTIONS_ERROR_SIZE is enough) gets one line without a newline on every error:
 * "NAME:LINE:COLUMN: ..." (from 1; columns are bytes), or 'option "rule", column COLUMN of ...'.
 * What it quotes is cut, with control characters escaped.
 */
int rules_parse(const char *const *inlined, size_t count, const char *name, const char *text,
		size_t len, struct rules **out, char *err, size_t errsize);
/*
 * The same with the text of the file PATH (NULL: none), which is read now and closed again. Also
 * the errors of open(2) and read(2), and -EINVAL for more than RULES_FILE_MAX bytes and for a FIFO,
 * which is not waited for.
 */
int rules_load(const char *const *inlined, size_t count, const char *path, struct rules **out,
	       char *err, size_t errsize);

/* Another user of R, and one less; the last one frees it. NULL does nothing. Any thread. */
struct rules *rules_ref(struct rules *r);
void rules_unref(struct rules *r);

/*
 * What the file had when it was read: its name and text, owned by R; *LEN bytes. False where there
 * was none (R may be NULL).
 */
bool rules_source(const struct rules *r, const char **name, const char **text, size_t *len);

/* R may be NULL: no rules. */
size_t rules_count(const struct rules *r);
/* Does any of them give limits? */
bool rules_limit(const struct rules *r);

/*
 * The first rule that matches PATH (relative, without a leading slash), or NULL; it lives as long
 * as R, which may be NULL. Time: see config/pattern.h, for each rule.
 */
const struct rule *rules_match(const struct rules *r, const char *path);

/* Does PATTERN match PATH? As above, only a backslash quotes; false for a malformed pattern. */
bool rule_pattern_matches(const char *pattern, const char *path);

#endif
