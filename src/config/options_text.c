/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options as text again: for display, for the kernel, and as help. */
#include "config/options.h"

#include <string.h>

#include "config/options_internal.h"

static void describe_mode(const struct options *o, struct text *t)
{
	char buf[80];

	mode_describe(o->switches, buf, sizeof(buf));
	text_add(t, "%s%s", mode_name(o->switches) ? "cache=" : "", buf);
}

static void describe_row(const struct options *o, const struct option_row *row, struct text *t)
{
	text_add(t, "%s%s", t->len ? "," : "", row->name);
	if (!row->type->takes_value)
		return;
	text_add(t, "=");
	row->type->render(row, option_field_const(row, o), t);
}

int options_describe(const struct options *o, char *buf, size_t size)
{
	struct text t = {.buf = buf, .size = size};
	struct options defaults;

	options_init(&defaults);
	describe_mode(o, &t);
	for (enum option_id id = 0; id < OPTIONS_TOTAL; id++) {
		const struct option_row *row = &option_rows[id];

		if (option_concerns_mode(id) || row->remount == REMOUNT_ACTION ||
		    option_equal(row, o, &defaults))
			continue;
		describe_row(o, row, &t);
	}
	return (int)t.len;
}

int options_describe_given(const struct options *o, char *buf, size_t size)
{
	struct text t = {.buf = buf, .size = size};

	if (size)
		*buf = '\0';
	for (enum option_id id = 0; id < OPTIONS_TOTAL; id++) {
		const struct option_row *row = &option_rows[id];

		if (!options_given(o, id) || row->remount == REMOUNT_ACTION)
			continue;
		describe_row(o, row, &t);
	}
	return (int)t.len;
}

int options_security_data(const struct options *o, char *buf, size_t size)
{
	static const enum option_id ids[SECURITY_CONTEXTS] = {
	    OPTION_CONTEXT, OPTION_FSCONTEXT, OPTION_DEFCONTEXT, OPTION_ROOTCONTEXT};
	struct text t = {.buf = buf, .size = size};

	if (size)
		*buf = '\0';
	for (size_t i = 0; i < SECURITY_CONTEXTS; i++) {
		const char *label = o->contexts[i];
		const char *mark;

		if (!label)
			continue;
		mark = strchr(label, ',') ? "\"" : "";
		text_add(&t, "%s%s=%s%s%s", t.len ? "," : "", option_rows[ids[i]].name, mark, label,
			 mark);
	}
	return (int)t.len;
}

static void help_row(const struct option_row *row, struct text *t)
{
	text_add(t, "  %s%s%s\n        %s", row->name, row->values ? "=" : "",
		 row->values ? row->values : "", row->help);
	if (row->initial)
		text_add(t, " (default: %s)", row->initial);
	text_add(t, "\n");
}

static void help_mount_flags(struct text *t)
{
	size_t column = 0;

	text_add(t, "\nStandard options of mount(8):");
	for (size_t i = 0; i < mount_flags_count; i++) {
		text_add(t, "%s%s", column ? " " : "\n  ", mount_flags[i].name);
		column += strlen(mount_flags[i].name) + 1;
		if (column > 70)
			column = 0;
	}
	text_add(t, "\n  context= fscontext= defcontext= rootcontext=\n");
}

int options_help(const char *program, char *buf, size_t size)
{
	struct text t = {.buf = buf, .size = size};

	text_add(&t,
		 "Usage: %s SOURCE MOUNTPOINT [-o OPTIONS] [-f] [-s] [-n] [-v] [-N NS] [-t TYPE]\n"
		 "Serve the files of the directory SOURCE at MOUNTPOINT, with a cache mode.\n\n"
		 "  -o OPTIONS  see below; may be given again\n"
		 "  -f          do everything but the mount\n"
		 "  -s          ignore unknown options\n"
		 "  -n          do not write /etc/mtab\n"
		 "  -v          say what is done\n"
		 "  -N NS       mount in this mount namespace (a path or a process id)\n"
		 "  -t TYPE     cachefs, or fuse.cachefs\n"
		 "  --help      print this and exit\n"
		 "  --version   print the version and exit\n\n"
		 "Options, separated by commas (\"\\,\" is a comma in a value):\n",
		 program);
	for (const struct option_row *row = NULL; (row = option_next_visible(row));)
		help_row(row, &t);
	text_add(&t, "\nCache modes:\n");
	for (size_t i = 0; i < cache_modes_count; i++)
		text_add(&t, "  %-14s%s\n", cache_modes[i].name, cache_modes[i].summary);
	help_mount_flags(&t);
	return (int)t.len;
}
