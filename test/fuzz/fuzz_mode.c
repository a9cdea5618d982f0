/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The value of user.cachefs.cache, as setxattr(2) has it: bytes with a length. */
#include <errno.h>
#include <string.h>

#include "config/mode.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct switches before = {true, false, true};
	struct switches sw = before, again;
	char text[80], same[80];
	int len;

	if (mode_parse((const char *)data, size, &sw)) {
		FUZZ_CHECK(switches_equal(sw, before));
		return 0;
	}
	FUZZ_CHECK(switches_valid(sw));
	FUZZ_CHECK(switches_equal(sw, switches_unpack(switches_pack(sw))));
	len = mode_describe(sw, text, sizeof(text));
	FUZZ_CHECK(len > 0 && (size_t)len < sizeof(text));
	FUZZ_CHECK(mode_parse(text, (size_t)len, &again) == 0);
	FUZZ_CHECK(switches_equal(sw, again));
	mode_describe(again, same, sizeof(same));
	FUZZ_CHECK(strcmp(text, same) == 0);
	return 0;
}
