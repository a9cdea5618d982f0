/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A target with a bug, for run.sh: what runs the others must find it. */
#include <string.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FUZZ_CHECK(!size || !memmem(data, size, "unsafe", 6) || !memmem(data, size, "none", 4));
	return 0;
}
