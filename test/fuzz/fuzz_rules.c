/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A rules file up to the last newline; behind it a path, which the rules are matched against. */
#include <errno.h>
#include <string.h>

#include "config/options.h"
#include "config/rules.h"
#include "fuzz.h"

/* What the parser took must match without harm; the rule is one of the file's lines. */
static void match(const struct rules *r, const char *path, unsigned lines)
{
	const struct rule *rule = rules_match(r, path);

	FUZZ_CHECK(!rule || (rule->line >= 1 && rule->line <= lines));
	FUZZ_CHECK(!rule || switches_valid(rule->switches));
}

/* The same text as a rule=, and as a bare pattern. */
static void inlined(const char *path)
{
	char err[OPTIONS_ERROR_SIZE] = "";
	struct rules *r = NULL;

	rule_pattern_matches(path, path);
	if (rules_parse(&path, 1, NULL, NULL, 0, &r, err, sizeof(err))) {
		FUZZ_CHECK_SENTENCE(err);
		FUZZ_CHECK(!r);
		return;
	}
	FUZZ_CHECK(rules_count(r) == 1);
	rules_match(r, path);
	rules_unref(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	const char *newline = size ? memrchr(text, '\n', size) : NULL;
	size_t len = newline ? (size_t)(newline - text) + 1 : 0;
	char *path = strndup(text + len, size - len);
	char err[OPTIONS_ERROR_SIZE] = "";
	struct rules *r = NULL;
	unsigned lines = 0;
	int error;

	FUZZ_CHECK(path);
	for (size_t i = 0; i < len; i++)
		lines += text[i] == '\n';
	error = rules_parse(NULL, 0, "rules", text, len, &r, err, sizeof(err));
	if (error) {
		FUZZ_CHECK(error == -EINVAL);
		FUZZ_CHECK_SENTENCE(err);
		FUZZ_CHECK(strncmp(err, "rules:", 6) == 0);
		FUZZ_CHECK(!r);
	} else {
		FUZZ_CHECK(rules_count(r) <= lines);
		match(r, path, lines);
		rules_unref(r);
	}
	inlined(path);
	free(path);
	return 0;
}
