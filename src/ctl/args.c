/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line: getopt_long(3) from the table of options, and the way to the verb. */
#include <errno.h>
#include <getopt.h>
#include <string.h>

#include "base/util.h"
#include "ctl/ctl.h"
#include "ctl/text.h"

enum { LONG_BASE = 256 };

static const struct option long_options[] = {
#define OPTION_(id, name, letter, arg, help)                                                       \
	{name, (arg) ? required_argument : no_argument, NULL, LONG_BASE + CTL_BIT_##id},
    CTL_OPTIONS(OPTION_)
#undef OPTION_
	{0},
};

/* One for all verbs: an option that the verb does not take is refused by name. */
static const char letters[] = "+:hd:n:b";

static int option_of(int c)
{
	static const char known[] = {
#define OPTION_(id, name, letter, arg, help) letter,
	    CTL_OPTIONS(OPTION_)
#undef OPTION_
	};

	if (c >= LONG_BASE)
		return c - LONG_BASE;
	for (size_t i = 0; i < sizeof(known); i++)
		if (known[i] == c)
			return (int)i;
	return -1;
}

static int take_value(int option, const char *value, struct ctl_args *a, char *error, size_t size)
{
	char *end;

	errno = 0;
	if (option == CTL_BIT_DELAY) {
		a->delay = strtod(value, &end);
		if (end != value && !*end && a->delay >= 0.1 && a->delay <= 3600)
			return CTL_OK;
	} else if (option == CTL_BIT_COUNT) {
		a->count = strtoul(value, &end, 10);
		if (end != value && !*end && !errno && a->count > 0 && !strchr(value, '-'))
			return CTL_OK;
	} else
		return CTL_OK;
	snprintf(error, size, "--%s %s: %s", long_options[option].name, value,
		 option == CTL_BIT_DELAY ? "give seconds, 0.1 to 3600"
					 : "give a number of 1 or more");
	return CTL_USAGE;
}

static int bad_option(int c, const char *given, char *error, size_t size)
{
	if (c == ':')
		snprintf(error, size, "%s: it needs a value", given);
	else
		snprintf(error, size, "%s: no such option", given);
	return CTL_USAGE;
}

static int check_words(const struct ctl_verb *verb, const struct ctl_args *a, char *error,
		       size_t size)
{
	if (a->options & CTL_OPT_HELP)
		return CTL_OK;
	if (a->words_count < verb->min)
		snprintf(error, size, "%s is missing", verb->words);
	else if (verb->max >= 0 && a->words_count > verb->max)
		snprintf(error, size, "\"%s\" is too much", a->words[verb->max]);
	else
		return CTL_OK;
	return CTL_USAGE;
}

/* getopt's own permutation prefers its order to ours; with "+" words are collected here. */
static int parse_all(const struct ctl_verb *verb, int argc, char **argv, struct ctl_args *a,
		     char *error, size_t size)
{
	const unsigned accepted = verb->options | CTL_OPT_HELP;

	optind = 0; /* glibc: forget the parse before, begin at 1 */
	while (MAX(optind, 1) < argc) {
		const char *given = argv[MAX(optind, 1)];
		int c = getopt_long(argc, argv, letters, long_options, NULL), option;

		if (c == -1) {
			bool literal = strcmp(given, "--") == 0;

			while (optind < argc) {
				a->words[a->words_count++] = argv[optind++];
				if (!literal)
					break;
			}
			continue;
		}
		option = option_of(c);
		if (option < 0)
			return bad_option(c, given, error, size);
		if (!(accepted & 1u << option)) {
			snprintf(error, size, "%s is no option of this verb", given);
			return CTL_USAGE;
		}
		a->options |= 1u << option;
		if (take_value(option, optarg, a, error, size))
			return CTL_USAGE;
	}
	return CTL_OK;
}

int ctl_parse(const struct ctl_verb *verb, int argc, char **argv, struct ctl_args *a, char *error,
	      size_t size)
{
	int code;

	*a = (struct ctl_args){.delay = 2};
	a->words = calloc((size_t)argc + 1, sizeof(*a->words));
	if (!a->words) {
		snprintf(error, size, "no memory");
		return CTL_FAILED;
	}
	opterr = 0;
	code = parse_all(verb, argc, argv, a, error, size);
	if (!code)
		code = check_words(verb, a, error, size);
	if (code) {
		free(a->words);
		a->words = NULL;
	}
	return code;
}

static int run_verb(const struct ctl_verb *verb, int argc, char **argv)
{
	struct ctl_args a;
	char error[256];
	int code = ctl_parse(verb, argc, argv, &a, error, sizeof(error));

	if (code) {
		complain(verb->name, "%s: see cachefsctl %s --help", error, verb->name);
		return code;
	}
	if (a.options & CTL_OPT_HELP)
		ctl_verb_help(verb, stdout);
	else
		code = verb->run(&a);
	free(a.words);
	if (fflush(stdout) == EOF && code == CTL_OK) {
		complain("standard output", "%s", strerror(errno));
		code = CTL_FAILED;
	}
	return code;
}

int ctl_main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "", *nearest = NULL;
	const struct ctl_verb *verb;

	if (argc < 2) {
		ctl_help(stderr);
		return CTL_USAGE;
	}
	if (!strcmp(name, "--help") || !strcmp(name, "-h")) {
		ctl_help(stdout);
		return CTL_OK;
	}
	if (!strcmp(name, "--version") || !strcmp(name, "-V")) {
		printf("cachefsctl %s\n", PACKAGE_VERSION);
		return CTL_OK;
	}
	verb = ctl_verb_find(name, &nearest);
	if (verb)
		return run_verb(verb, argc - 1, argv + 1);
	if (nearest)
		complain(name, "no such verb: is \"%s\" meant?", nearest);
	else
		complain(name, "no such verb: see cachefsctl --help");
	return CTL_USAGE;
}
