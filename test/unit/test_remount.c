/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Remounts, help and the table of options itself. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "config/options.h"
#include "config/rules.h"
#include "config/suggest.h"

static char err[OPTIONS_ERROR_SIZE];

static int parse(struct options *o, const char *string)
{
	options_init(o);
	err[0] = '\0';
	return options_parse_string(o, string, err, sizeof(err));
}

/* RESULT: the options in force afterwards; where CULPRIT is not empty, they must be as before. */
static const struct remount {
	char running[64], wanted[100], result[64], culprit[20];
} remounts[] = {
    {"cache=none", "remount", "cache=none", ""},
    {"cache=none", "remount,cache=unsafe", "cache=unsafe", ""},
    {"cache=none",
     "rw,relatime,user_id=0,group_id=0,default_permissions,allow_other,remount,cache=unsafe",
     "cache=unsafe", ""},
    {"cache=none", "remount,cache=none,cache=directsync", "cache=directsync", ""},
    {"cache=writeback", "remount,cache.direct=on", "cache=none", ""},
    {"cache=none,cache.no-flush=on", "remount,cache=writeback", "cache=writeback", ""},
    {"cache=none,cache.no-flush=on", "remount,cache.direct=off", "cache=unsafe", ""},
    {"cache=unsafe", "remount,cache.no-flush=off,cache.writeback=off", "cache=writethrough", ""},
    {"log-level=debug", "remount", "cache=writeback,log-level=debug", ""},
    {"log-level=debug", "remount,log-level=info", "cache=writeback", ""},
    {"threads=4,exclusive", "remount,threads=4,exclusive,cache=none",
     "cache=none,threads=4,exclusive", ""},
    {"threads=4,exclusive", "remount,cache=none", "cache=none,threads=4,exclusive", ""},
    {"threads=4", "remount,cache=none,threads=5", "cache=writeback,threads=4", "threads"},
    {"threads=4", "remount,threads=0", "cache=writeback,threads=4", "threads"},
    {"", "remount,log-level=debug,engine=uring", "cache=writeback", "engine"},
    {"", "remount,attr-timeout=2", "cache=writeback", "attr-timeout"},
    {"", "remount,entry-timeout=2", "cache=writeback", "entry-timeout"},
    {"", "remount,negative-timeout=2", "cache=writeback", "negative-timeout"},
    {"", "remount,exclusive", "cache=writeback", "exclusive"},
    {"", "remount,foreground", "cache=writeback", "foreground"},
    {"", "remount,mask-caps=io-uring", "cache=writeback", "mask-caps"},
    {"", "remount,context=c", "cache=writeback", "context"},
    {"context=c", "remount,context=d", "cache=writeback,context=c", "context"},
    {"context=c", "remount,context=c", "cache=writeback,context=c", ""},
    {"", "remount,exclusive,threads=3", "cache=writeback", "threads"},
    {"rules=/a", "remount", "cache=writeback,rules=/a", ""},
    {"rules=/a", "remount,rules=/b", "cache=writeback,rules=/b", ""},
    {"rules=/a,rule=x=none", "remount,rules=/b", "cache=writeback,rules=/b,rule=x=none", ""},
    {"rules=/a,rule=x=none", "remount,rule=y=none", "cache=writeback,rules=/a,rule=y=none", ""},
    {"rule=x=none,rule=y=none", "remount,rule=y=unsafe", "cache=writeback,rule=y=unsafe", ""},
    {"rule=x=none", "remount,rule=x=none,rule=z=none", "cache=writeback,rule=x=none,rule=z=none",
     ""},
    {"rule=x=none", "remount,rule=y=none,threads=3", "cache=writeback,rule=x=none", "threads"},
    {"", "remount,modes-by=root", "cache=writeback,modes-by=root", ""},
    {"modes-by=root", "remount,modes-by=owner", "cache=writeback", ""},
    {"", "remount,dirty-max=64M,dirty-age=2", "cache=writeback,dirty-max=64M,dirty-age=2", ""},
    {"dirty-limit=1M,dirty-max=64M", "remount,dirty-max=0", "cache=writeback,dirty-limit=1M", ""},
    {"dirty-limit=2M", "remount,dirty-limit=0,dirty-max=1M", "cache=writeback,dirty-max=1M", ""},
    {"", "remount,on-close=none,checkpoint=9", "cache=writeback,on-close=none,checkpoint=9", ""},
    {"", "remount,after-crash=trust", "cache=writeback", "after-crash"},
};

ParameterizedTestParameters(remount, table)
{
	return cr_make_param_array(struct remount, (void *)remounts,
				   sizeof(remounts) / sizeof(remounts[0]), NULL);
}

ParameterizedTest(struct remount *row, remount, table)
{
	const int expected = *row->culprit ? -EINVAL : 0;
	const struct option_row *culprit;
	struct options running, wanted;
	char text[200];

	cr_assert_eq(parse(&running, row->running), 0, "%s", err);
	cr_assert_eq(parse(&wanted, row->wanted), 0, "%s", err);
	cr_assert_eq(options_remountable_diff(&running, &wanted, &culprit, err, sizeof(err)),
		     expected);
	cr_assert_str_eq(culprit ? culprit->name : "", row->culprit);
	cr_assert_eq(options_remount(&running, &wanted, err, sizeof(err)), expected);
	if (expected) {
		snprintf(text, sizeof(text), "cannot change \"%s\" from ", row->culprit);
		cr_assert_not_null(strstr(err, text), "%s", err);
	}
	options_describe(&running, text, sizeof(text));
	cr_assert_str_eq(text, row->result);
	options_free(&running);
	options_free(&wanted);
}

Test(remount, contradiction_with_the_running_mode)
{
	struct options running, wanted;

	cr_assert_eq(parse(&running, "cache=writethrough,log-level=warn"), 0);
	cr_assert_eq(parse(&wanted, "remount,cache.no-flush=on,log-level=debug"), 0);
	cr_assert_eq(options_remount(&running, &wanted, err, sizeof(err)), -EINVAL);
	cr_assert_not_null(strstr(err, "mode writethrough"), "%s", err);
	cr_assert_not_null(strstr(err, "cache.no-flush=on"), "%s", err);
	cr_assert_str_eq(mode_name(running.switches), "writethrough");
	cr_assert_eq(running.log_level, LOG_LEVEL_WARN);
	options_free(&running);
	options_free(&wanted);
}

Test(remount, one_after_the_other)
{
	static const char *const steps[][2] = {
	    {"remount,cache.direct=on", "none"},
	    {"remount,cache.writeback=off", "directsync"},
	    {"remount,cache.direct=off", "writethrough"},
	    {"remount,cache=unsafe", "unsafe"},
	    {"remount,ro", "unsafe"},
	    {"remount,cache.no-flush=off", "writeback"},
	};
	struct options running, wanted;

	cr_assert_eq(parse(&running, "nosuid,rw"), 0);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		cr_assert_eq(parse(&wanted, steps[i][0]), 0);
		cr_assert_eq(options_remount(&running, &wanted, err, sizeof(err)), 0, "%s", err);
		cr_assert_str_eq(mode_name(running.switches), steps[i][1]);
		options_free(&wanted);
	}
	cr_assert_eq(running.ms_set, MS_NOSUID | MS_RDONLY);
	cr_assert_eq(running.ms_clear, 0);
	options_free(&running);
}

Test(remount, source_stays)
{
	char *first[] = {(char *)"x", (char *)"/a", (char *)"/m"};
	char *second[] = {(char *)"x", (char *)"/b", (char *)"/m"};
	const struct option_row *culprit = option_rows;
	struct options running, wanted;

	options_init(&running);
	options_init(&wanted);
	cr_assert_eq(options_parse_args(&running, 3, first, err, sizeof(err)), 0);
	cr_assert_eq(options_parse_args(&wanted, 3, second, err, sizeof(err)), 0);
	cr_assert_eq(options_remountable_diff(&running, &wanted, &culprit, err, sizeof(err)),
		     -EINVAL);
	cr_assert_null(culprit);
	cr_assert_not_null(strstr(err, "SOURCE from \"/a\" to \"/b\""), "%s", err);
	cr_assert_eq(options_remountable_diff(&running, &running, &culprit, err, sizeof(err)), 0);
	options_free(&running);
	options_free(&wanted);
}

/* Which of two sets of rules a remount loads: what it does not give stays. */
Test(remount, rules_loaded)
{
	struct options running, wanted;
	struct rules *r = NULL;

	cr_assert_eq(parse(&running, "rules=/dev/null,rule=x=none"), 0);
	cr_assert_eq(options_load_rules(NULL, &running, &r, err, sizeof(err)), 0, "%s", err);
	cr_assert_eq(rules_count(r), 1);
	rules_unref(r);

	cr_assert_eq(parse(&wanted, "remount,rule=a=none,rule=b=none"), 0);
	cr_assert_eq(options_load_rules(&running, &wanted, &r, err, sizeof(err)), 0, "%s", err);
	cr_assert_eq(rules_count(r), 2);
	cr_assert_null(rules_match(r, "x"));
	rules_unref(r);
	options_free(&wanted);

	r = NULL;
	cr_assert_eq(parse(&wanted, "remount,rules=/nowhere/r"), 0);
	cr_assert_eq(options_load_rules(&running, &wanted, &r, err, sizeof(err)), -ENOENT);
	cr_assert_null(r);
	cr_assert_not_null(strstr(err, "option \"rules\": \"/nowhere/r\": No such file"), "%s",
			   err);
	options_free(&wanted);

	cr_assert_eq(parse(&wanted, "remount,rules=/dev/null"), 0);
	cr_assert_eq(options_load_rules(&running, &wanted, &r, err, sizeof(err)), 0, "%s", err);
	cr_assert_str_eq(mode_name(rules_match(r, "x")->switches), "none");
	/* options own what they have parsed */
	wanted.parsed_rules = r;
	options_free(&wanted);
	cr_assert_null(wanted.parsed_rules);
	options_free(&running);
}

Test(table, defaults_shown_are_the_defaults)
{
	struct options o;
	char string[100], text[100];
	int checked = 0;

	for (const struct option_row *row = NULL; (row = option_next_visible(row));) {
		if (!row->initial || strchr(row->initial, ' '))
			continue;
		snprintf(string, sizeof(string), "%s=%s", row->name, row->initial);
		cr_assert_eq(parse(&o, string), 0, "%s", err);
		options_describe(&o, text, sizeof(text));
		cr_assert_str_eq(text, "cache=writeback", "%s", row->name);
		options_free(&o);
		checked++;
	}
	cr_assert_geq(checked, 6);
}

Test(table, values_shown_are_accepted)
{
	struct options o;
	char string[100], values[100], *state;
	int checked = 0;

	for (const struct option_row *row = NULL; (row = option_next_visible(row));) {
		snprintf(values, sizeof(values), "%s", row->values ? row->values : "");
		if (!strchr(values, '|'))
			continue;
		for (char *v = strtok_r(values, "|", &state); v; v = strtok_r(NULL, "|", &state)) {
			snprintf(string, sizeof(string), "%s=%s", row->name, v);
			cr_assert_eq(parse(&o, string), 0, "%s", err);
			options_free(&o);
			checked++;
		}
	}
	cr_assert_geq(checked, 5 + 3 * 2 + 3 + 4);
}

Test(table, names_are_unique)
{
	for (size_t i = 0; i < OPTIONS_TOTAL; i++) {
		for (size_t j = 0; j < i; j++)
			cr_assert_str_neq(option_rows[i].name, option_rows[j].name);
		for (size_t j = 0; j < mount_flags_count; j++)
			cr_assert_str_neq(option_rows[i].name, mount_flags[j].name);
	}
}

Test(table, iterator_shows_what_has_help)
{
	size_t visible = 0, seen = 0;

	for (size_t i = 0; i < OPTIONS_TOTAL; i++)
		visible += option_rows[i].help != NULL;
	for (const struct option_row *row = NULL; (row = option_next_visible(row)); seen++)
		cr_assert_not_null(row->help);
	cr_assert_eq(seen, visible);
	cr_assert_null(option_rows[OPTION_MASK_CAPS].help);
	cr_assert_not_null(option_rows[OPTION_CACHE].help);
}

Test(table, help_names_every_option_and_mode)
{
	char help[8192], line[64];
	int len = options_help("mount.cachefs", help, sizeof(help));

	cr_assert(len > 0 && (size_t)len < sizeof(help));
	cr_assert_eq(strncmp(help, "Usage: mount.cachefs SOURCE MOUNTPOINT", 38), 0);
	for (const struct option_row *row = NULL; (row = option_next_visible(row));) {
		snprintf(line, sizeof(line), "\n  %s%s", row->name, row->values ? "=" : "\n");
		cr_assert_not_null(strstr(help, line), "%s", row->name);
	}
	for (size_t i = 0; i < cache_modes_count; i++)
		cr_assert_not_null(strstr(help, cache_modes[i].summary));
	for (size_t i = 0; i < mount_flags_count; i++)
		cr_assert_not_null(strstr(help, mount_flags[i].name));
	cr_assert_null(strstr(help, "mask-caps"));
	cr_assert_eq(options_help("mount.cachefs", NULL, 0), len);
}

/* The text of the manual without the backslashes of roff. */
static char *read_manual(void)
{
	const char *top = getenv("top_srcdir");
	char path[4096], *text = calloc(1, 1 << 20), *out = text;
	FILE *file;
	size_t len;

	snprintf(path, sizeof(path), "%s/doc/mount.cachefs.8", top ? top : ".");
	file = fopen(path, "r");
	cr_assert_not_null(file, "%s", path);
	len = fread(text, 1, (1 << 20) - 1, file);
	fclose(file);
	for (const char *in = text; in < text + len; in++)
		if (*in != '\\')
			*out++ = *in;
	*out = '\0';
	return text;
}

/* What is given now must go with what is not. */
Test(remount, limits_that_contradict_each_other)
{
	static const char *const pairs[][2] = {{"dirty-limit=2M", "remount,dirty-max=1M"},
					       {"dirty-max=1M", "remount,dirty-limit=2M"}};
	struct options running, wanted;

	for (size_t i = 0; i < 2; i++) {
		cr_assert_eq(parse(&running, pairs[i][0]), 0);
		cr_assert_eq(parse(&wanted, pairs[i][1]), 0);
		cr_assert_eq(options_remount(&running, &wanted, err, sizeof(err)), -EINVAL);
		cr_assert_not_null(strstr(err, "dirty-max=1M is less than dirty-limit=2M"));
		cr_assert_eq(running.budget.dirty_limit, i ? 0 : 2 << 20);
		cr_assert_eq(running.budget.dirty_max, i ? 1 << 20 : 0);
		options_free(&running);
		options_free(&wanted);
	}
}

Test(table, manual_names_every_option_and_mode)
{
	char *manual = read_manual();

	for (const struct option_row *row = NULL; (row = option_next_visible(row));)
		cr_expect_not_null(strstr(manual, row->name), "%s", row->name);
	for (size_t i = 0; i < cache_modes_count; i++)
		cr_expect_not_null(strstr(manual, cache_modes[i].name), "%s", cache_modes[i].name);
	free(manual);
}

static const struct pair {
	char a[20], b[20];
	size_t distance;
} pairs[] = {
    {"", "", 0},	  {"", "abc", 3},	    {"cache", "cache", 0}, {"cahce", "cache", 1},
    {"cach", "cache", 1}, {"ccache", "cache", 1},   {"cacke", "cache", 1}, {"ca", "abc", 3},
    {"ab", "ba", 1},	  {"kitten", "sitting", 3},
};

ParameterizedTestParameters(suggest, distance)
{
	return cr_make_param_array(struct pair, (void *)pairs, sizeof(pairs) / sizeof(pairs[0]),
				   NULL);
}

ParameterizedTest(struct pair *p, suggest, distance)
{
	cr_assert_eq(suggest_distance(p->a, strlen(p->a), p->b, strlen(p->b)), p->distance);
	cr_assert_eq(suggest_distance(p->b, strlen(p->b), p->a, strlen(p->a)), p->distance);
}

Test(suggest, long_words_have_no_neighbours)
{
	char word[SUGGEST_WORD_MAX + 1];
	struct suggestion s;

	memset(word, 'x', sizeof(word));
	cr_assert_eq(suggest_distance(word, SUGGEST_WORD_MAX, word, SUGGEST_WORD_MAX), 0);
	cr_assert_eq(suggest_distance(word, sizeof(word), word, 1), SIZE_MAX);
	cr_assert_eq(suggest_distance(word, 1, word, sizeof(word)), SIZE_MAX);
	suggest_begin(&s, word, sizeof(word));
	suggest_offer(&s, "xxx");
	cr_assert_null(s.best);
}

Test(suggest, nearest_wins_and_the_first_of_equals)
{
	struct suggestion s;

	suggest_begin(&s, "threds", 6);
	suggest_offer(&s, "thread");
	suggest_offer(&s, "threads");
	suggest_offer(&s, "threbs");
	cr_assert_str_eq(s.best, "threads");
	suggest_begin(&s, "zz", 2);
	suggest_offer(&s, "rw");
	suggest_offer(&s, "ro");
	cr_assert_null(s.best);
}
