/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Patterns of rules, against a table and against their meaning. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <string.h>

#include "config/rules.h"

static const struct match {
	char pattern[32], path[40];
	bool matches;
} matches[] = {
    {"a", "a", true},
    {"a", "b", false},
    {"a", "ab", false},
    {"ab", "a", false},
    {"a", "dir/a", true},
    {"a", "x/y/a", true},
    {"a", "a/b", false},
    {"/a", "a", true},
    {"/a", "dir/a", false},
    {"d/a", "d/a", true},
    {"d/a", "x/d/a", false},
    {"/d/a", "d/a", true},
    {"*.img", "disk.img", true},
    {"*.img", "a/b/disk.img", true},
    {"*.img", ".img", true},
    {"*.img", "disk.img.bak", false},
    {"*.img", "diskximg", false},
    {"/*.img", "disk.img", true},
    {"/*.img", "a/disk.img", false},
    {"vm/*.img", "vm/disk.img", true},
    {"vm/*.img", "vm/a/disk.img", false},
    {"vm/*", "vm", false},
    {"a*", "abc", true},
    {"a*", "x/abc", true},
    {"a*c", "abbc", true},
    {"a*c", "ac", true},
    {"a*c", "abcd", false},
    {"aa*aa", "aaa", false},
    {"aa*aa", "aaaa", true},
    {"*a*b*", "xxaxxbxx", true},
    {"*a*b*", "xxbxxaxx", false},
    {"d/*a*b", "d/a/b", false},
    {"?", "x", true},
    {"?", "", false},
    {"?", "xy", false},
    {"a/?", "a/b", true},
    {"a?b", "a/b", false},
    {"a?b/x", "a/b/x", false},
    {"**", "a", true},
    {"**", "a/b/c", true},
    {"/**", "a/b/c", true},
    {"**/x", "x", true},
    {"**/x", "a/x", true},
    {"**/x", "a/b/x", true},
    {"**/x", "ax", false},
    {"**/x", "a/bx", false},
    {"/**/x", "x", true},
    {"a/**/b", "a/b", true},
    {"a/**/b", "a/x/b", true},
    {"a/**/b", "a/x/y/b", true},
    {"a/**/b", "a/xb", false},
    {"a/**/b", "ab", false},
    {"a/**/b", "a/b/c", false},
    {"a/**/**/b", "a/b", true},
    {"a/**/**/b", "a/x/y/b", true},
    {"a/***/b", "a/b", true},
    {"a/**", "a/b", true},
    {"a/**", "a/b/c", true},
    {"a/**", "a", false},
    {"a/**", "ab/c", false},
    {"a**b/c", "axx/yyb/c", true},
    {"/a**b", "a/x/b", true},
    {"a**b", "a/x/b", false},
    {"a**b", "x/axxb", true},
    {"**/*.img", "a/b/c.img", true},
    {"**/d/**/*.img", "x/d/y/z.img", true},
    {"**/d/**/*.img", "d/z.img", true},
    {"**/d/**/*.img", "dd/z.img", false},
    {"**/a/*/b", "a/x/a/y/b", true},
    {"a/**/b/**/c", "a/b/b/c", true},
    {"a/**/b/**/c", "a/c/b", false},
    {"[abc]", "b", true},
    {"[abc]", "d", false},
    {"[a-c]x", "cx", true},
    {"[a-c]x", "dx", false},
    {"[!a-c]", "d", true},
    {"[!a-c]", "b", false},
    {"[^a-c]", "d", true},
    {"[^a-c]", "b", false},
    {"[]]", "]", true},
    {"[!]]", "]", false},
    {"[!]]", "x", true},
    {"[]a]", "a", true},
    {"[a-]", "-", true},
    {"[-a]", "-", true},
    {"[a\\]b]", "]", true},
    {"[\\!a]", "!", true},
    {"[a!]", "!", true},
    {"[[]", "[", true},
    {"[[:]", ":", true},
    {"a[!x]b", "a/b", false},
    {"a[+-9]b/c", "a/b/c", false},
    {"[\xc3][\xa4]", "\xc3\xa4", true},
    {"[!a]?", "\xc3\xa4", true},
    {"\\*", "*", true},
    {"\\*", "a", false},
    {"\\?", "?", true},
    {"\\[a]", "[a]", true},
    {"\\[a]", "a", false},
    {"a\\ b", "a b", true},
    {"\"a\"", "\"a\"", true},
    {"]", "]", true},
    {".*", ".hidden", true},
    {"*", ".hidden", true},
    {"...", "...", true},
    {"a/..b", "a/..b", true},
    {"", "", false},
    {"[", "[", false},
};

ParameterizedTestParameters(pattern, matches)
{
	return cr_make_param_array(struct match, (void *)matches,
				   sizeof(matches) / sizeof(matches[0]), NULL);
}

ParameterizedTest(struct match *row, pattern, matches)
{
	cr_assert_eq(rule_pattern_matches(row->pattern, row->path), row->matches, "%s %s",
		     row->pattern, row->path);
}

/*
 * The meaning of a pattern, as directly as it can be written down: try everything. For "a", "/",
 * "*" and "?" only.
 */
static bool means(const char *pattern, const char *path, bool component)
{
	size_t stars = strspn(pattern, "*");

	if (stars > 1 && component && pattern[stars] == '/') {
		if (means(pattern + stars + 1, path, true))
			return true;
		for (const char *slash = path; (slash = strchr(slash, '/'));)
			if (means(pattern + stars + 1, ++slash, true))
				return true;
		return false;
	}
	if (stars) {
		for (;; path++) {
			if (means(pattern + stars, path, false))
				return true;
			if (!*path || (stars == 1 && *path == '/'))
				return false;
		}
	}
	if (!*pattern || !*path)
		return *pattern == *path;
	if (*pattern == '?' ? *path == '/' : *pattern != *path)
		return false;
	return means(pattern + 1, path + 1, *pattern == '/');
}

static bool means_rule(const char *pattern, const char *path)
{
	if (!strchr(pattern, '/') && strrchr(path, '/'))
		path = strrchr(path, '/') + 1;
	return means(pattern + (*pattern == '/'), path, true);
}

/* The NUMBERth word over LETTERS, of LEN letters. */
static void make_word(char *out, const char *letters, size_t len, unsigned number)
{
	size_t count = strlen(letters);

	for (size_t i = 0; i < len; i++, number /= (unsigned)count)
		out[i] = letters[number % count];
	out[len] = '\0';
}

static bool path_possible(const char *path)
{
	return *path && *path != '/' && path[strlen(path) - 1] != '/' && !strstr(path, "//");
}

static bool pattern_possible(const char *pattern)
{
	size_t len = strlen(pattern);

	return len && pattern[len - 1] != '/' && !strstr(pattern, "//");
}

Test(pattern, all_small_ones_mean_what_is_written)
{
	char pattern[8], path[8];
	unsigned matched = 0, compared = 0;

	for (size_t m = 1; m <= 6; m++)
		for (unsigned i = 0; i < 1u << 2 * m; i++) {
			make_word(pattern, "a/*?", m, i);
			if (!pattern_possible(pattern))
				continue;
			for (size_t n = 1; n <= 6; n++)
				for (unsigned j = 0; j < 1u << n; j++) {
					bool want;

					make_word(path, "a/", n, j);
					if (!path_possible(path))
						continue;
					want = means_rule(pattern, path);
					matched += want;
					compared++;
					if (rule_pattern_matches(pattern, path) != want)
						cr_assert_fail("%s %s: wanted %d", pattern, path,
							       want);
				}
		}
	cr_assert_gt(compared, 30000);
	cr_assert_gt(matched, 3000);
}

/* Backtracking would need longer than the universe exists; a path of the greatest length. */
Test(pattern, hostile_ones_end_soon, .timeout = 120)
{
	static const char *const pieces[] = {"**a", "*a", "?*a", "[a-z]*", "**/a", "**?a*", "*a**"};
	static char pattern[4096], path[4096];

	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		pattern[0] = '\0';
		strcat(pattern, "/");
		while (strlen(pattern) < 400)
			strcat(pattern, pieces[i]);
		strcat(pattern, "b");
		memset(path, 'a', sizeof(path) - 1);
		cr_assert_not(rule_pattern_matches(pattern, path), "%s", pieces[i]);
		for (size_t j = 1; j < sizeof(path) - 2; j += 2)
			path[j] = '/';
		cr_assert_not(rule_pattern_matches(pattern, path), "%s", pieces[i]);
	}
}

Test(pattern, as_long_as_can_be)
{
	static char pattern[4098], path[4097];

	memset(pattern, '?', 4096);
	memset(path, 'a', 4096);
	cr_assert(rule_pattern_matches(pattern, path));
	path[4095] = '\0';
	cr_assert_not(rule_pattern_matches(pattern, path));
	pattern[4096] = '*';
	cr_assert_not(rule_pattern_matches(pattern, path));
	for (size_t i = 0; i < 4096; i += 4)
		memcpy(pattern + i, "[!b]", 4);
	pattern[4096] = path[1024] = '\0';
	cr_assert(rule_pattern_matches(pattern, path));
}
