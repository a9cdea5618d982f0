/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An -o string, and behind a newline that of a remount: what is described means the same again, and
 * a remount that is refused changes nothing.
 */
#include <errno.h>
#include <string.h>

#include "config/options.h"
#include "fuzz.h"

static char err[OPTIONS_ERROR_SIZE];

static char *describe(const struct options *o)
{
	int len = options_describe(o, NULL, 0);
	char *text = malloc((size_t)len + 1);

	FUZZ_CHECK(text);
	FUZZ_CHECK(options_describe(o, text, (size_t)len + 1) == len);
	FUZZ_CHECK(strlen(text) == (size_t)len);
	return text;
}

static bool parse(struct options *o, const char *string)
{
	err[0] = '\0';
	options_init(o);
	if (options_parse_string(o, string, err, sizeof(err)) == 0)
		return true;
	FUZZ_CHECK_SENTENCE(err);
	options_free(o);
	return false;
}

static void round_trip(const struct options *o)
{
	char *text = describe(o), *same;
	struct options again;

	FUZZ_CHECK(parse(&again, text));
	same = describe(&again);
	FUZZ_CHECK(strcmp(text, same) == 0);
	FUZZ_CHECK(options_remountable_diff(o, &again, NULL, err, sizeof(err)) == 0);
	FUZZ_CHECK(switches_equal(o->switches, again.switches));
	options_free(&again);
	free(same);
	free(text);
}

static void remount(struct options *running, const char *string)
{
	struct options wanted;
	char *before = describe(running), *after;

	if (parse(&wanted, string)) {
		int error = options_remount(running, &wanted, err, sizeof(err));

		after = describe(running);
		if (error) {
			FUZZ_CHECK_SENTENCE(err);
			FUZZ_CHECK(strcmp(before, after) == 0);
		}
		FUZZ_CHECK(switches_valid(running->switches));
		round_trip(running);
		options_free(&wanted);
		free(after);
	}
	free(before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *string = strndup((const char *)data, size), *newline;
	struct options o;

	FUZZ_CHECK(string);
	newline = strchr(string, '\n');
	if (newline)
		*newline = '\0';
	if (parse(&o, string)) {
		round_trip(&o);
		if (newline)
			remount(&o, newline + 1);
		options_free(&o);
	}
	free(string);
	return 0;
}
