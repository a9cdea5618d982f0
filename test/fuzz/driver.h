/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The driver's inputs: kept, read from a dictionary, changed by chance. One thread. */
#ifndef TEST_FUZZ_DRIVER_H
#define TEST_FUZZ_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct inputs {
	struct input {
		uint8_t *data;
		size_t size;
	} * items;
	size_t count;
};

/* Copies DATA; ends the process when memory is short. */
void inputs_add(struct inputs *list, const uint8_t *data, size_t size);
void inputs_free(struct inputs *list);

/* libFuzzer's dictionaries: [NAME=]"WORD" a line, with \\, \" and \xNN; '#' begins a comment. */
bool dictionary_read(struct inputs *words, const char *path);

struct chance {
	uint64_t state;
};

/* An input made of one of CORPUS into OUT (ROOM bytes, at least 1); its size. */
size_t mutate(struct chance *c, const struct inputs *corpus, const struct inputs *words,
	      uint8_t *out, size_t room);

#endif
