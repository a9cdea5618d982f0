/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of verbs, and the command line. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdlib.h>
#include <string.h>

#include "config/mode.h"
#include "ctl/ctl.h"
#include "ctl/explain.h"

static char error[256];

/* LINE's words; the array lives as long as the process. */
static int parse(const char *line, struct ctl_args *a)
{
	static char text[256], *argv[16];
	const char *nearest;
	char *save;
	int argc = 0;

	snprintf(text, sizeof(text), "%s", line);
	for (char *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save))
		argv[argc++] = word;
	argv[argc] = NULL;
	*error = '\0';
	return ctl_parse(ctl_verb_find(argv[0], &nearest), argc, argv, a, error, sizeof(error));
}

static const struct accepted {
	char line[64], words[3][24];
	unsigned options;
	double delay;
	unsigned long count;
} accepted[] = {
    {"status", {""}, 0, 2, 0},
    {"status --json /m", {"/m"}, CTL_OPT_JSON, 2, 0},
    {"status /m --json", {"/m"}, CTL_OPT_JSON, 2, 0},
    {"status --js", {""}, CTL_OPT_JSON, 2, 0},
    {"status -- --json", {"--json"}, 0, 2, 0},
    {"mode /f", {"/f"}, 0, 2, 0},
    {"mode /f none --persist", {"/f", "none"}, CTL_OPT_PERSIST, 2, 0},
    {"mode --clear /f --persist", {"/f"}, CTL_OPT_PERSIST | CTL_OPT_CLEAR, 2, 0},
    {"flush /a -- -b --json", {"/a", "-b", "--json"}, 0, 2, 0},
    {"top -b -d 0.5 -n 3", {""}, CTL_OPT_BATCH | CTL_OPT_DELAY | CTL_OPT_COUNT, 0.5, 3},
    {"top -bn3 /f", {"/f"}, CTL_OPT_BATCH | CTL_OPT_COUNT, 2, 3},
    {"top --delay=10 --count 1", {""}, CTL_OPT_DELAY | CTL_OPT_COUNT, 10, 1},
    {"mode --help", {""}, CTL_OPT_HELP, 2, 0},
    {"reload -h", {""}, CTL_OPT_HELP, 2, 0},
    {"trust /f", {"/f"}, 0, 2, 0},
    {"rollback /f --dry-run", {"/f"}, CTL_OPT_DRY_RUN, 2, 0},
};

ParameterizedTestParameters(ctl_args, accepted)
{
	return cr_make_param_array(struct accepted, (void *)accepted,
				   sizeof(accepted) / sizeof(accepted[0]), NULL);
}

ParameterizedTest(struct accepted *row, ctl_args, accepted)
{
	struct ctl_args a;
	int n = 0;

	cr_assert_eq(parse(row->line, &a), CTL_OK, "%s", error);
	cr_assert_eq(a.options, row->options);
	cr_assert_eq(a.delay, row->delay);
	cr_assert_eq(a.count, row->count);
	for (; n < 3 && *row->words[n]; n++)
		cr_assert_str_eq(a.words[n], row->words[n]);
	cr_assert_eq(a.words_count, n);
	free(a.words);
}

static const struct refused {
	char line[64], words[2][40];
} refused[] = {
    {"status /a /b", {"\"/b\"", "too much"}},
    {"status --jsn", {"--jsn", "no such option"}},
    {"status --persist", {"--persist", "no option of this verb"}},
    {"status -b", {"-b", "no option of this verb"}},
    {"status --json=1", {"--json=1", "no such option"}},
    {"mode", {"PATH [MODE]", "missing"}},
    {"mode /a none x", {"\"x\"", "too much"}},
    {"flush", {"PATH...", "missing"}},
    {"handoff --json /a", {"--json", "no option of this verb"}},
    {"reload", {"MOUNTPOINT", "missing"}},
    {"top -d", {"-d", "needs a value"}},
    {"top -d 0", {"--delay 0", "0.1 to 3600"}},
    {"top -d nan", {"--delay nan", "0.1 to 3600"}},
    {"top -d 1s", {"--delay 1s", "0.1 to 3600"}},
    {"top -n 0", {"--count 0", "1 or more"}},
    {"top -n -1", {"--count -1", "1 or more"}},
    {"top -n 99999999999999999999", {"--count 999", "1 or more"}},
    {"trust", {"PATH|MOUNTPOINT", "missing"}},
    {"trust --dry-run /f", {"--dry-run", "no option of this verb"}},
    {"rollback", {"PATH", "missing"}},
    {"rollback /a /b", {"\"/b\"", "too much"}},
    {"top -x", {"-x", "no such option"}},
};

ParameterizedTestParameters(ctl_args, refused)
{
	return cr_make_param_array(struct refused, (void *)refused,
				   sizeof(refused) / sizeof(refused[0]), NULL);
}

ParameterizedTest(struct refused *row, ctl_args, refused)
{
	struct ctl_args a;

	cr_assert_eq(parse(row->line, &a), CTL_USAGE);
	for (int i = 0; i < 2; i++)
		cr_assert(strstr(error, row->words[i]), "%s: %s", row->line, error);
}

Test(ctl_args, parses_are_independent)
{
	struct ctl_args a;

	cr_assert_eq(parse("top -bx", &a), CTL_USAGE);
	cr_assert_eq(parse("top -b", &a), CTL_OK);
	cr_assert_eq(a.options, CTL_OPT_BATCH);
	cr_assert_eq(a.words_count, 0);
	free(a.words);
}

Test(ctl_args, unknown_verbs_have_a_neighbour)
{
	const char *nearest;

	cr_assert_not_null(ctl_verb_find("status", &nearest));
	cr_assert_null(ctl_verb_find("statsu", &nearest));
	cr_assert_str_eq(nearest, "status");
	cr_assert_null(ctl_verb_find("hand-off", &nearest));
	cr_assert_str_eq(nearest, "handoff");
	cr_assert_null(ctl_verb_find("xyzzy", &nearest));
	cr_assert_null(nearest);
	cr_assert_null(ctl_verb_find("", &nearest));
}

Test(ctl_args, every_verb_explains_itself)
{
	static const char *const contract[] = {"status", "mode",    "flush",   "handoff",
					       "top",	 "doctor",  "explain", "reload",
					       "trust",	 "rollback"};
	const char *nearest;

	for (size_t i = 0; i < sizeof(contract) / sizeof(contract[0]); i++)
		cr_assert_not_null(ctl_verb_find(contract[i], &nearest), "%s", contract[i]);
	for (size_t i = 0; i < ctl_verbs_count; i++) {
		char *text;
		size_t len;
		FILE *f = open_memstream(&text, &len);

		ctl_verb_help(&ctl_verbs[i], f);
		fclose(f);
		cr_assert(strstr(text, ctl_verbs[i].summary));
		cr_assert(strstr(text, ctl_verbs[i].text));
		cr_assert(strstr(text, "--help"));
		cr_assert_eq(!!strstr(text, "--json"), !!(ctl_verbs[i].options & CTL_OPT_JSON));
		for (const char *line = text; *line; line += strcspn(line, "\n") + 1)
			cr_assert_leq(strcspn(line, "\n"), 100, "%s: %s", ctl_verbs[i].name, line);
		free(text);
	}
}

Test(ctl_args, every_mode_is_explained_as_its_switches_say)
{
	for (size_t i = 0; i < cache_modes_count; i++) {
		const struct cache_mode *m = &cache_modes[i];
		const struct mode_explanation *e = explain_mode(m->name);

		cr_assert_not_null(e, "%s", m->name);
		cr_assert_str_eq(e->page_cache, m->switches.direct ? "bypassed" : "used");
		cr_assert_eq(!strcmp(e->completes, "it is on stable storage"),
			     !m->switches.writeback);
		cr_assert_str_eq(e->flush, m->switches.no_flush	   ? "dropped"
					   : m->switches.writeback ? "honoured"
								   : "executed");
		/* QEMU opens with O_DIRECT where the mode is direct, and never drops flushes */
		cr_assert_str_eq(e->qemu, m->switches.direct ? "none" : "writeback");
		cr_assert(strstr(e->libvirt, e->qemu));
		cr_assert(strstr(e->blockdev,
				 m->switches.direct ? "cache.direct=on" : "cache.direct=off"));
	}
	cr_assert_null(explain_mode("nonesuch"));
}
