/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config/mode.h"

#include <errno.h>
#include <stddef.h>
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

static bool parse_switch(const char *word, size_t len, struct switches *sw)
{
	static const struct {
		const char *name;
		size_t offset;
	} names[] = {
	    {"cache.direct", offsetof(struct switches, direct)},
	    {"cache.writeback", offsetof(struct switches, writeback)},
	    {"cache.no-flush", offsetof(struct switches, no_flush)},
	};
	const char *equals = memchr(word, '=', len);
	size_t name_len = equals ? (size_t)(equals - word) : len;
	size_t value_len = equals ? len - name_len - 1 : 0;

	if (!equals || (value_len != 2 && value_len != 3) ||
	    memcmp(equals + 1, value_len == 2 ? "on" : "off", value_len) != 0)
		return false;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strlen(names[i].name) == name_len && !memcmp(names[i].name, word, name_len)) {
			*(bool *)((char *)sw + names[i].offset) = value_len == 2;
			return true;
		}
	return false;
}

int mode_parse(const char *text, size_t len, struct switches *sw)
{
	struct switches result = cache_modes[0].switches;
	const char *end = text + len;
	bool any = false;

	/* some programs store an attribute's text with its NUL */
	if (len && !end[-1])
		end--;
	while (text < end) {
		size_t n = 0;

		while (text + n < end && !strchr(", \t", text[n] ? text[n] : 'x'))
			n++;
		if (n && !parse_switch(text, n, &result) && (any || mode_by_name(text, n, &result)))
			return -EINVAL;
		any = any || n;
		text += n + (text + n < end);
	}
	if (!any || !switches_valid(result))
		return -EINVAL;
	*sw = result;
	return 0;
}

unsigned switches_strength(struct switches sw)
{
	return (unsigned)!sw.writeback << 2 | (unsigned)!sw.no_flush << 1 | sw.direct;
}

unsigned switches_pack(struct switches sw)
{
	return sw.direct | (unsigned)sw.writeback << 1 | (unsigned)sw.no_flush << 2;
}

struct switches switches_unpack(unsigned bits)
{
	return (struct switches){.direct = bits & 1, .writeback = bits & 2, .no_flush = bits & 4};
}

bool switches_valid(struct switches sw)
{
	return sw.writeback || !sw.no_flush;
}

bool switches_equal(struct switches a, struct switches b)
{
	return a.direct == b.direct && a.writeback == b.writeback && a.no_flush == b.no_flush;
}
