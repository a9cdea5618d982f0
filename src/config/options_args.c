/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line, as mount(8) and people call the helper. */
#include "config/options.h"

#include <stdlib.h>
#include <string.h>

#include "config/options_internal.h"

static const char letters_with_value[] = "oNt";

/* Where the walk through the arguments stands. */
struct walk {
	int argc;
	char *const *argv;
	int next;
	bool operands_only;  /* behind "--" */
	bool options_wanted; /* this walk looks at -o, not at the rest */
};

/*
 * Two walks, for an -s behind an -o concerns it too: the first takes all but the -o strings, which
 * the second takes.
 */
static int take_value(struct options *o, struct walk *w, char letter, const char *value,
		      struct refusal *r)
{
	struct quoted q;

	if (letter == 'o')
		return w->options_wanted ? options_parse_items(o, value, r) : 0;
	if (w->options_wanted)
		return 0;
	if (letter == 't') {
		if (strcmp(value, "cachefs") == 0 || strcmp(value, "fuse.cachefs") == 0)
			return 0;
		return refuse(r, "-t %s: not a type that cachefs mounts: use -t cachefs",
			      quote_string(&q, value));
	}
	if (!*value)
		return refuse(r, "-N \"\": name the mount namespace, a path or a process id");
	free(o->namespace);
	o->namespace = strdup(value);
	return o->namespace ? 0 : refuse_no_memory(r);
}

static bool take_letter(struct options *o, char letter)
{
	switch (letter) {
	case 'f':
		o->fake = true;
		return true;
	case 's':
		o->sloppy = true;
		return true;
	case 'n':
		o->no_mtab = true;
		return true;
	case 'v':
		o->verbose = true;
		return true;
	case 'h':
		o->help = true;
		return true;
	case 'V':
		o->version = true;
		return true;
	default:
		return false;
	}
}

/* LETTERS: the argument behind its "-"; the value of one may be its rest or the next argument. */
static int take_letters(struct options *o, struct walk *w, const char *letters, struct refusal *r)
{
	struct quoted q;

	for (; *letters; letters++) {
		if (strchr(letters_with_value, *letters)) {
			const char *value = letters + 1;

			if (!*value && w->next == w->argc)
				return refuse(r, "-%c needs a value behind it: see --help",
					      *letters);
			if (!*value)
				value = w->argv[w->next++];
			return take_value(o, w, *letters, value, r);
		}
		if (!take_letter(o, *letters))
			return refuse(r, "unknown option %s: --help lists the known ones",
				      quote(&q, (char[]){'-', *letters}, 2));
	}
	return 0;
}

static int take_long(struct options *o, const char *argument, struct refusal *r)
{
	struct quoted q;

	if (strcmp(argument, "--help") == 0)
		o->help = true;
	else if (strcmp(argument, "--version") == 0)
		o->version = true;
	else
		return refuse(r,
			      "unknown option %s: options other than --help and --version stand "
			      "behind -o",
			      quote_string(&q, argument));
	return 0;
}

static int take_operand(struct options *o, const char *operand, struct refusal *r)
{
	char **field = !o->source ? &o->source : &o->mountpoint;
	struct quoted q;

	if (*field)
		return refuse(r, "unexpected operand %s behind SOURCE and MOUNTPOINT: see --help",
			      quote_string(&q, operand));
	if (!*operand)
		return refuse(r, "%s is empty: name a directory",
			      field == &o->source ? "SOURCE" : "MOUNTPOINT");
	*field = strdup(operand);
	return *field ? 0 : refuse_no_memory(r);
}

static int take_argument(struct options *o, struct walk *w, struct refusal *r)
{
	const char *argument = w->argv[w->next++];

	/* A lone "-" is no option by custom. */
	if (w->operands_only || argument[0] != '-' || !argument[1])
		return w->options_wanted ? 0 : take_operand(o, argument, r);
	if (strcmp(argument, "--") == 0) {
		w->operands_only = true;
		return 0;
	}
	if (argument[1] == '-')
		return take_long(o, argument, r);
	return take_letters(o, w, argument + 1, r);
}

static int walk_arguments(struct options *o, struct walk w, struct refusal *r)
{
	int error = 0;

	while (!error && w.next < w.argc)
		error = take_argument(o, &w, r);
	return error;
}

int options_parse_args(struct options *o, int argc, char *const argv[], char *err, size_t errsize)
{
	struct refusal r = {.buf = err, .size = errsize};
	struct walk all = {.argc = argc, .argv = argv, .next = 1};
	struct walk strings = {.argc = argc, .argv = argv, .next = 1, .options_wanted = true};
	int error = walk_arguments(o, all, &r);

	/* Who asks for help shall get it, whatever else is wrong. */
	if (error || o->help || o->version)
		return error;
	error = walk_arguments(o, strings, &r);
	if (!error)
		error = options_check_limits(&o->budget, &r);
	if (!error)
		error = options_resolve_mode(o, &r);
	if (error)
		return error;
	if (!o->source)
		return refuse(&r, "SOURCE and MOUNTPOINT are missing: see --help");
	if (!o->mountpoint)
		return refuse(&r, "MOUNTPOINT is missing: give it behind SOURCE");
	return 0;
}
