/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the options of a remount make of those that are in force. */
#include "config/options.h"

#include <errno.h>
#include <string.h>

#include "config/options_internal.h"

static void render_row(const struct option_row *row, const struct options *o, struct quoted *q)
{
	char buf[128] = "";
	struct text t = {.buf = buf, .size = sizeof(buf)};

	if (row->type->takes_value)
		row->type->render(row, option_field_const(row, o), &t);
	else
		text_add(&t, "%s", *(const bool *)option_field_const(row, o) ? "on" : "off");
	quote_string(q, buf);
}

static int refuse_change(const struct option_row *row, const struct options *running,
			 const struct options *wanted, struct refusal *r)
{
	struct quoted from, to;

	render_row(row, running, &from);
	render_row(row, wanted, &to);
	return refuse(r, "a remount cannot change \"%s\" from %s to %s: unmount, then mount anew",
		      row->name, from.text, to.text);
}

int options_remountable_diff(const struct options *running, const struct options *wanted,
			     const struct option_row **culprit, char *err, size_t errsize)
{
	struct refusal r = {.buf = err, .size = errsize};
	struct quoted from, to;

	if (culprit)
		*culprit = NULL;
	if (running->source && wanted->source && strcmp(running->source, wanted->source) != 0)
		return refuse(&r,
			      "a remount cannot change SOURCE from %s to %s: unmount, then mount "
			      "anew",
			      quote_string(&from, running->source),
			      quote_string(&to, wanted->source));
	for (enum option_id id = 0; id < OPTIONS_TOTAL; id++) {
		const struct option_row *row = &option_rows[id];

		if (row->remount != REMOUNT_FIXED || !options_given(wanted, id) ||
		    option_equal(row, running, wanted))
			continue;
		if (culprit)
			*culprit = row;
		return refuse_change(row, running, wanted, &r);
	}
	return 0;
}

/* The field of RUNNING gets the value of WANTED and the other way round, strings with it. */
static void swap_field(const struct option_row *row, struct options *running,
		       struct options *wanted)
{
	char *a = option_field(row, running), *b = option_field(row, wanted);

	for (size_t i = 0; i < row->type->size; i++) {
		char byte = a[i];

		a[i] = b[i];
		b[i] = byte;
	}
}

/* Switches alone change the running mode; with a cache they are WANTED's already. */
static int resolve_running_mode(const struct options *running, struct options *wanted,
				struct refusal *r)
{
	if (!options_given(wanted, OPTION_CACHE))
		wanted->mode = running->switches;
	return options_resolve_mode(wanted, r);
}

/* What is given now must go with what is not. */
static int check_limits(const struct options *running, const struct options *wanted,
			struct refusal *r)
{
	struct budget_limits l = running->budget;
	unsigned given = 0;

#define GIVEN(id, field, name)                                                                     \
	if (options_given(wanted, OPTION_##id))                                                    \
		given |= LIMIT_##id;
	BUDGET_LIMITS(GIVEN)
#undef GIVEN
	limits_replace(&l, &wanted->budget, given);
	return options_check_limits(&l, r);
}

int options_remount(struct options *running, struct options *wanted, char *err, size_t errsize)
{
	struct refusal r = {.buf = err, .size = errsize};
	int error = options_remountable_diff(running, wanted, NULL, err, errsize);

	if (!error)
		error = check_limits(running, wanted, &r);
	if (!error)
		error = resolve_running_mode(running, wanted, &r);
	if (error)
		return error;
	running->switches = running->mode = running->override = wanted->switches;
	running->switches_given |= wanted->switches_given;
	for (enum option_id id = 0; id < OPTIONS_TOTAL; id++)
		if (option_rows[id].remount == REMOUNT_CHANGES && options_given(wanted, id) &&
		    !option_concerns_mode(id))
			swap_field(&option_rows[id], running, wanted);
	running->ms_set = (running->ms_set & ~wanted->ms_clear) | wanted->ms_set;
	running->ms_clear = (running->ms_clear & ~wanted->ms_set) | wanted->ms_clear;
	running->given |= wanted->given;
	return 0;
}

int options_restore(struct options *o, const char *text, char *err, size_t errsize)
{
	struct options then;
	int error;

	options_init(&then);
	error = options_parse_string(&then, text, err, errsize);
	for (enum option_id id = 0; !error && id < OPTIONS_TOTAL; id++)
		if (option_rows[id].remount == REMOUNT_CHANGES && !option_concerns_mode(id))
			swap_field(&option_rows[id], o, &then);
	if (!error)
		o->switches = o->mode = o->override = then.switches;
	options_free(&then);
	return error;
}
