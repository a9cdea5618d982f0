/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A pattern, a newline and a path. Where the pattern means the same to fnmatch(3), the answers must
 * be the same.
 */
#include <fnmatch.h>
#include <stdbool.h>
#include <string.h>

#include "config/pattern.h"
#include "fuzz.h"

/* fnmatch(3) tries everything: longer ones would take it for ever. */
#define ORACLE_MAX 24

/* No "**", and none of the classes with names, which it knows; glibc's stops at "*\\/". */
static bool oracle_knows(const char *pattern)
{
	return strlen(pattern) <= ORACLE_MAX && !strstr(pattern, "**") && !strstr(pattern, "[:") &&
	       !strstr(pattern, "[.") && !strstr(pattern, "\\/") && !strstr(pattern, "[=");
}

static bool oracle(const char *pattern, const char *path, size_t name)
{
	if (!strchr(pattern, '/'))
		path += name;
	return fnmatch(pattern + (*pattern == '/'), path, FNM_PATHNAME) == 0;
}

static void match(const char *pattern, const char *path)
{
	const char *slash = strrchr(path, '/');
	size_t name = slash ? (size_t)(slash - path) + 1 : 0;
	struct pattern_fault fault = {.what = NULL};
	struct pattern *p;
	bool matches;

	if (pattern_compile(pattern, strlen(pattern), &p, &fault)) {
		FUZZ_CHECK(fault.what);
		FUZZ_CHECK(fault.at <= strlen(pattern));
		return;
	}
	matches = pattern_matches(p, path, strlen(path), name);
	if (oracle_knows(pattern) && strlen(path) <= ORACLE_MAX)
		FUZZ_CHECK(matches == oracle(pattern, path, name));
	free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *pattern = strndup((const char *)data, size), *newline;

	FUZZ_CHECK(pattern);
	newline = strchr(pattern, '\n');
	if (newline) {
		*newline = '\0';
		match(pattern, newline + 1);
	}
	free(pattern);
	return 0;
}
