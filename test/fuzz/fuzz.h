/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What each fuzz target defines. libFuzzer calls it, or the driver beside this file where the
 * compiler has none. DATA (SIZE bytes) is a heap block of exactly this size; always 0.
 */
#ifndef TEST_FUZZ_H
#define TEST_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold for every input. */
#define FUZZ_CHECK(condition)                                                                      \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__,          \
				#condition);                                                       \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* A sentence for people: not empty, one line, nothing that a terminal acts on. */
#define FUZZ_CHECK_SENTENCE(text)                                                                  \
	do {                                                                                       \
		FUZZ_CHECK(*(text));                                                               \
		for (const char *c_ = (text); *c_; c_++)                                           \
			FUZZ_CHECK(*c_ >= ' ' && *c_ <= '~');                                      \
	} while (0)

#endif
