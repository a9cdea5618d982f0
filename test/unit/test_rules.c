/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/options.h"
#include "config/rules.h"

static char err[OPTIONS_ERROR_SIZE];

static int parse(const char *text, struct rules **r)
{
	err[0] = '\0';
	return rules_parse(NULL, 0, "/etc/r", text, strlen(text), r, err, sizeof(err));
}

/* ---- text ---- */

static const char sample[] = "# comment\n"
			     "\n"
			     " \t \r\n"
			     "*.iso writethrough # behind a rule\n"
			     "\tvm/**\tnone   cache.no-flush=on\t\r\n"
			     "\"my disk #1\".* unsafe\n"
			     "my\\ other\\ disk unsafe cache.no-flush=off cache.direct=on\n"
			     "\\#x directsync\n"
			     "a#b unsafe\n"
			     "last writeback cache.writeback=off";

static const struct found {
	char path[32], mode[64];
	unsigned line;
} found[] = {
    {"a.iso", "writethrough", 4},
    {"vm/a.iso", "writethrough", 4},
    {"vm/x/y", "cache.direct=on,cache.writeback=on,cache.no-flush=on", 5},
    {"d/my disk #1.img", "unsafe", 6},
    {"my other disk", "none", 7},
    {"#x", "directsync", 8},
    {"a#b", "unsafe", 9},
    {"last", "writethrough", 10},
    {"other", "", 0},
};

ParameterizedTestParameters(rules, text)
{
	return cr_make_param_array(struct found, (void *)found, sizeof(found) / sizeof(found[0]),
				   NULL);
}

ParameterizedTest(struct found *row, rules, text)
{
	const struct rule *rule;
	struct rules *r;
	char text[80];

	cr_assert_eq(parse(sample, &r), 0, "%s", err);
	cr_assert_eq(rules_count(r), 7);
	rule = rules_match(r, row->path);
	cr_assert_eq(rule != NULL, row->line != 0);
	if (rule) {
		mode_describe(rule->switches, text, sizeof(text));
		cr_assert_str_eq(text, row->mode);
		cr_assert_eq(rule->line, row->line);
	}
	rules_unref(r);
}

Test(rules, limits)
{
	const char *text = "a unsafe dirty-max=64M cache.direct=on dirty-age=0.5\n"
			   "b unsafe dirty-limit=0\nc unsafe\n";
	const struct budget_limits mount = {.dirty_limit = 7, .dirty_max = 8, .dirty_age = 9};
	struct budget_limits l = mount;
	const struct rule *rule;
	struct rules *r;

	cr_assert_eq(parse(text, &r), 0, "%s", err);
	cr_assert(rules_limit(r));
	rule = rules_match(r, "a");
	cr_assert(rule->switches.direct);
	cr_assert_eq(rule->limits_given, LIMIT_DIRTY_MAX | LIMIT_DIRTY_AGE);
	limits_replace(&l, &rule->limits, rule->limits_given);
	cr_assert(l.dirty_limit == 7 && l.dirty_max == 64 << 20 && l.dirty_age == 0.5);
	rule = rules_match(r, "b");
	l = mount;
	limits_replace(&l, &rule->limits, rule->limits_given);
	cr_assert(l.dirty_limit == 0 && l.dirty_max == 8 && l.dirty_age == 9);
	cr_assert_eq(rules_match(r, "c")->limits_given, 0);
	rules_unref(r);
	cr_assert_eq(parse("c unsafe", &r), 0);
	cr_assert(!rules_limit(r) && !rules_limit(NULL));
	rules_unref(r);
}

/* The whole sentence is tested where its words are ours alone. */
static const struct bad {
	char text[96], words[3][80];
} bad[] = {
    {"a none\nb", {"/etc/r:2:2: the mode is missing"}},
    {"a # none", {"/etc/r:1:2: the mode is missing"}},
    {"a nnoe", {"/etc/r:1:3: \"nnoe\" is no mode", "did you mean \"none\"?"}},
    {"\r\n  a  7", {"/etc/r:2:6: \"7\" is no mode", "writeback, writethrough, none"}},
    {"a cache.direct=on", {"/etc/r:1:3: a mode must stand before \"cache.direct=on\""}},
    {"a \"none\"", {":1:3: \"\"none\"\" is no mode"}},
    {"a none direct=on", {":1:8: \"direct\" is no setting", "did you mean \"cache.direct\"?"}},
    {"a none qqqqqqq=on", {":1:8: \"qqqqqqq\" is no setting: give one of cache.direct, "}},
    {"a none unsafe", {":1:8: \"unsafe\" is no setting"}},
    {"a none cache.direct", {":1:8: \"cache.direct\" needs a value", "on or off"}},
    {"a none cache.direct=", {":1:21: \"cache.direct\": \"\" is not on or off"}},
    {"a none cache.direct=yes", {":1:21: \"cache.direct\": \"yes\" is not on or off"}},
    {"a none cache.direct=onn", {":1:21: "}},
    {"a none cache.direct=on cache.direct=off", {":1:24: \"cache.direct\" stands twice"}},
    {"a writethrough cache.no-flush=on", {":1:16: cache.writeback=off and cache.no-flush=on"}},
    {"a unsafe cache.direct=on cache.writeback=off", {":1:26: cache.writeback=off and"}},
    {"a none cache.no-flush=on cache.writeback=off", {":1:26: cache.writeback=off and"}},
    {"a none dirty-max", {":1:8: \"dirty-max\" needs a value: dirty-max=, then a size"}},
    {"a none dirty-max=1Q", {":1:18: \"dirty-max\": \"1Q\" is not a size"}},
    {"a none dirty-age=1s", {":1:18: \"dirty-age\": \"1s\" is not a number of seconds"}},
    {"a none dirty-max=1 dirty-max=2", {":1:20: \"dirty-max\" stands twice"}},
    {"a none dirty-mx=1", {"\"dirty-mx\" is no setting", "did you mean \"dirty-max\"?"}},
    {"a unsafe dirty-max=1M dirty-limit=2M", {":1:23: dirty-max=1M is less than", "=2M"}},
    {"\"a none", {":1:1: this double quote is not closed"}},
    {"a no\"ne", {":1:5: this double quote is not closed"}},
    {"a none \"", {":1:8: this double quote is not closed"}},
    {"a[bc none", {":1:2: in the pattern: this '[' is not closed"}},
    {"a[ none", {":1:2: in the pattern: this '[' is not closed"}},
    {"a[] none", {":1:2: in the pattern: this '[' is not closed"}},
    {"\"a b\"[ none", {":1:6: in the pattern: this '[' is not closed"}},
    {"\\\"a\\ \"\"[ none", {":1:8: in the pattern: this '[' is not closed"}},
    {"[z-a] none", {":1:2: in the pattern: this range runs backwards"}},
    {"x[[:alpha:]] none", {":1:3: in the pattern: named classes are not known"}},
    {"[a/b] none", {":1:3: in the pattern: a class never matches a slash"}},
    {"[a-/] none", {":1:4: in the pattern: a class never matches a slash"}},
    {"/ none", {":1:1: in the pattern: an empty pattern"}},
    {"\"\" none", {":1:"}},
    {"a/ none", {":1:2: in the pattern: a slash at the end"}},
    {"a/**/ none", {":1:5: in the pattern: a slash at the end"}},
    {"a//b none", {":1:3: in the pattern: an empty component"}},
    {"//b none", {":1:2: in the pattern: an empty component"}},
    {"./b none", {":1:1: in the pattern: no path on the mount has a component"}},
    {"a/../b none", {":1:4: in the pattern: no path on the mount has a component"}},
    {"a/.. none", {":1:4: in the pattern: no file on the mount"}},
    {"a\\", {":1:2: in the pattern: a backslash at the end"}},
    {"a none cache.x\x1b\x01=1", {":1:8: \"cache.x\\x1b\\x01\" is no setting"}},
};

ParameterizedTestParameters(rules, bad)
{
	return cr_make_param_array(struct bad, (void *)bad, sizeof(bad) / sizeof(bad[0]), NULL);
}

ParameterizedTest(struct bad *row, rules, bad)
{
	struct rules *untouched = (void *)&err, *r = untouched;
	char tiny[8];

	cr_assert_eq(parse(row->text, &r), -EINVAL, "accepted");
	cr_assert_eq(r, untouched);
	for (size_t i = 0; i < 3; i++)
		cr_assert_not_null(strstr(err, row->words[i]), "%s", err);
	cr_assert_null(strpbrk(err, "\n\r\x1b\x01"));
	cr_assert_eq(
	    rules_parse(NULL, 0, "/etc/r", row->text, strlen(row->text), &r, tiny, sizeof(tiny)),
	    -EINVAL);
	cr_assert_eq(strncmp(tiny, err, sizeof(tiny) - 1), 0);
}

Test(rules, nul_bytes_are_refused)
{
	struct rules *r;

	cr_assert_eq(rules_parse(NULL, 0, "f", "a none\nb\0 none\n", 15, &r, err, sizeof(err)),
		     -EINVAL);
	cr_assert_eq(strncmp(err, "f:2:2: a NUL byte", 17), 0, "%s", err);
	/* in a comment, too */
	cr_assert_eq(rules_parse(NULL, 0, "f", "#\0", 2, &r, err, sizeof(err)), -EINVAL);
}

Test(rules, length_of_a_line)
{
	static char text[RULES_LINE_MAX + 8];
	struct rules *r;

	memset(text, 'a', RULES_LINE_MAX);
	memcpy(text + RULES_LINE_MAX - 5, " none\r\n", 7);
	cr_assert_eq(parse(text, &r), 0, "%s", err);
	cr_assert_eq(rules_count(r), 1);
	rules_unref(r);
	memcpy(text + RULES_LINE_MAX - 5, "a none\n", 7);
	cr_assert_eq(parse(text, &r), -EINVAL);
	cr_assert_eq(strncmp(err, "/etc/r:1:4097: longer than 4096 bytes", 37), 0, "%s", err);
	text[0] = '#';
	cr_assert_eq(parse(text, &r), -EINVAL);
}

Test(rules, names_of_files_that_do_not_fit_a_line_are_cut)
{
	char name[4096];
	struct rules *r;

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	cr_assert_eq(rules_parse(NULL, 0, name, "a nnoe", 6, &r, err, sizeof(err)), -EINVAL);
	cr_assert_not_null(strstr(err, "nnn...\":1:3: \"nnoe\""), "%s", err);
	cr_assert_eq(rules_parse(NULL, 0, "a\nb", "a nnoe", 6, &r, err, sizeof(err)), -EINVAL);
	cr_assert_eq(strncmp(err, "\"a\\x0ab\":1:3: \"nnoe\"", 19), 0, "%s", err);
}

Test(rules, none_at_all)
{
	struct rules *r;

	cr_assert_eq(parse("", &r), 0);
	cr_assert_eq(rules_count(r), 0);
	cr_assert_null(rules_match(r, "a"));
	rules_unref(r);
	cr_assert_eq(rules_parse(NULL, 0, NULL, NULL, 0, &r, err, sizeof(err)), 0);
	cr_assert_eq(rules_count(r), 0);
	rules_unref(r);
	rules_unref(NULL);
	cr_assert_null(rules_ref(NULL));
	cr_assert_null(rules_match(NULL, "a"));
	cr_assert_eq(rules_count(NULL), 0);
}

Test(rules, the_last_user_frees)
{
	struct rules *r;

	cr_assert_eq(parse("a none", &r), 0);
	cr_assert_eq(rules_ref(r), r);
	rules_unref(r);
	cr_assert_not_null(rules_match(r, "a"));
	rules_unref(r);
}

/* ---- rule= ---- */

Test(rules, inlined_stand_in_front)
{
	static const char *const inlined[] = {"*.img=none", "a b=c=unsafe", "\"q\"=directsync"};
	const struct rule *rule;
	struct rules *r;

	cr_assert_eq(
	    rules_parse(inlined, 3, "f", "*.img unsafe\n*.raw unsafe\n", 26, &r, err, sizeof(err)),
	    0, "%s", err);
	cr_assert_eq(rules_count(r), 5);
	rule = rules_match(r, "d/x.img");
	cr_assert_str_eq(mode_name(rule->switches), "none");
	cr_assert_eq(rule->line, 0);
	cr_assert_str_eq(mode_name(rules_match(r, "a b=c")->switches), "unsafe");
	cr_assert_str_eq(mode_name(rules_match(r, "\"q\"")->switches), "directsync");
	cr_assert_eq(rules_match(r, "x.raw")->line, 2);
	rules_unref(r);
}

static const struct bad bad_inlined[] = {
    {"*.img", {"option \"rule\", column 6 of \"*.img\": \"=MODE\" is missing"}},
    {"*.img=", {"option \"rule\", column 7 of \"*.img=\": \"\" is no mode"}},
    {"=none", {"column 1 of \"=none\": in the pattern: an empty pattern"}},
    {"a=non", {"column 3 of \"a=non\": \"non\" is no mode", "did you mean \"none\"?"}},
    {"a=none ", {"column 3 of"}},
    {"a=none cache.no-flush=on", {"column 23 of", "\"on\" is no mode"}},
    {"a[=none", {"column 2 of \"a[=none\": in the pattern: this '[' is not closed"}},
};

ParameterizedTestParameters(rules, bad_inlined)
{
	return cr_make_param_array(struct bad, (void *)bad_inlined,
				   sizeof(bad_inlined) / sizeof(bad_inlined[0]), NULL);
}

ParameterizedTest(struct bad *row, rules, bad_inlined)
{
	const char *inlined[] = {"good=none", row->text};
	struct rules *r;

	cr_assert_eq(rules_parse(inlined, 2, NULL, NULL, 0, &r, err, sizeof(err)), -EINVAL,
		     "accepted");
	for (size_t i = 0; i < 3; i++)
		cr_assert_not_null(strstr(err, row->words[i]), "%s", err);
}

/* ---- files ---- */

static char dir[] = "/tmp/cachefs-rules.XXXXXX";
static char file[64];

static void make_dir(void)
{
	cr_assert_not_null(mkdtemp(dir));
	snprintf(file, sizeof(file), "%s/r", dir);
}

static void remove_dir(void)
{
	unlink(file);
	rmdir(dir);
}

static void write_file(const char *text, size_t len)
{
	FILE *f = fopen(file, "w");

	cr_assert_not_null(f);
	cr_assert_eq(fwrite(text, 1, len, f), len);
	fclose(f);
}

Test(rules_file, is_read, .init = make_dir, .fini = remove_dir)
{
	static const char *const inlined[] = {"b=directsync"};
	char want[80];
	struct rules *r;

	write_file("a none\nb unsafe", 15);
	cr_assert_eq(rules_load(inlined, 1, file, &r, err, sizeof(err)), 0, "%s", err);
	cr_assert_eq(rules_count(r), 3);
	cr_assert_str_eq(mode_name(rules_match(r, "b")->switches), "directsync");
	rules_unref(r);
	cr_assert_eq(rules_load(inlined, 1, NULL, &r, err, sizeof(err)), 0);
	cr_assert_eq(rules_count(r), 1);
	rules_unref(r);
	cr_assert_eq(rules_load(NULL, 0, "/dev/null", &r, err, sizeof(err)), 0);
	cr_assert_eq(rules_count(r), 0);
	rules_unref(r);
	write_file("a none\nb unsaf", 14);
	cr_assert_eq(rules_load(NULL, 0, file, &r, err, sizeof(err)), -EINVAL);
	snprintf(want, sizeof(want), "%s:2:3: \"unsaf\"", file);
	cr_assert_eq(strncmp(err, want, strlen(want)), 0, "%s", err);
}

Test(rules_file, what_cannot_be_read, .init = make_dir, .fini = remove_dir, .timeout = 120)
{
	static char big[RULES_FILE_MAX + 1];
	struct rules *r;

	cr_assert_eq(rules_load(NULL, 0, file, &r, err, sizeof(err)), -ENOENT);
	cr_assert_not_null(strstr(err, "No such file"), "%s", err);
	cr_assert_not_null(strstr(err, file), "%s", err);
	cr_assert_eq(rules_load(NULL, 0, dir, &r, err, sizeof(err)), -EISDIR);
	memset(big, '\n', sizeof(big));
	write_file(big, sizeof(big));
	cr_assert_eq(rules_load(NULL, 0, file, &r, err, sizeof(err)), -EINVAL);
	cr_assert_not_null(strstr(err, "larger than 1048576 bytes"), "%s", err);
	write_file(big, sizeof(big) - 1);
	cr_assert_eq(rules_load(NULL, 0, file, &r, err, sizeof(err)), 0, "%s", err);
	rules_unref(r);
	cr_assert_eq(rules_load(NULL, 0, "/dev/zero", &r, err, sizeof(err)), -EINVAL);
	/* nobody writes to it: not waited for */
	unlink(file);
	cr_assert_eq(mkfifo(file, 0600), 0);
	cr_assert_eq(rules_load(NULL, 0, file, &r, err, sizeof(err)), -EINVAL);
	cr_assert_not_null(strstr(err, "no regular file"), "%s", err);
}
