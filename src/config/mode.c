/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config/mode.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MODE_ROW(name_, direct_, writeback_, no_flush_, summary_)                                  \
	{                                                                                          \
	    .name = (name_),                                                                       \
	    .switches = {.direct = (direct_), .writeback = (writeback_), .no_flush = (no_flush_)}, \
	    .summary = (summary_),                                                                 \
	},

const struct cache_mode cache_modes[] = {CACHE_MODES(MODE_ROW)};
const size_t cache_modes_count = sizeof(cache_modes) / sizeof(cache_modes[0]);

int mode_by_name(const char *name, size_t len, struct switches *sw)
{
	for (size_t i = 0; i < cache_modes_count; i++) {
		const char *known = cache_modes[i].name;

		if (strlen(known) == len && memcmp(known, name, len) == 0) {
			*sw = cache_modes[i].switches;
			return 0;
		}
	}
	return -EINVAL;
}

const char *mode_name(struct switches sw)
{
	for (size_t i = 0; i < cache_modes_count; i++)
		if (switches_equal(cache_modes[i].switches, sw))
			return cache_modes[i].name;
	return NULL;
}

static const char *on_off(bool on)
{
	return on ? "on" : "off";
}

int mode_describe(struct switches sw, char *buf, size_t size)
{
	const char *name = mode_name(sw);

	if (name)
		return snprintf(buf, size, "%s", name);
	return snprintf(buf, size, "cache.direct=%s,cache.writeback=%s,cache.no-flush=%s",
			on_off(sw.direct), on_off(sw.writeback), on_off(sw.no_flush));
}

bool switches_valid(struct switches sw)
{
	return sw.writeback || !sw.no_flush;
}

bool switches_equal(struct switches a, struct switches b)
{
	return a.direct == b.direct && a.writeback == b.writeback && a.no_flush == b.no_flush;
}
