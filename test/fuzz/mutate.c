/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"

void inputs_add(struct inputs *list, const uint8_t *data, size_t size)
{
	struct input input = {.data = malloc(size ? size : 1), .size = size};

	list->items = reallocarray(list->items, list->count + 1, sizeof(*list->items));
	if (!input.data || !list->items) {
		fputs("out of memory\n", stderr);
		exit(1);
	}
	memcpy(input.data, data, size);
	list->items[list->count++] = input;
}

void inputs_free(struct inputs *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i].data);
	free(list->items);
	*list = (struct inputs){0};
}

/* ---- dictionaries ---- */

/* The word between the double quotes of LINE, unescaped in place; its length, or -1. */
static int unescape_word(char *line, uint8_t **word)
{
	char *in = strchr(line, '"'), *out = in;
	unsigned byte;

	if (!in)
		return -1;
	*word = (uint8_t *)out;
	for (in++; *in && *in != '"'; in++) {
		if (*in != '\\') {
			*out++ = *in;
		} else if (in[1] == '\\' || in[1] == '"') {
			*out++ = *++in;
		} else if (in[1] == 'x' && sscanf(in + 2, "%2x", &byte) == 1) {
			*out++ = (char)byte;
			in += 3;
		} else {
			return -1;
		}
	}
	return *in ? (int)((uint8_t *)out - *word) : -1;
}

bool dictionary_read(struct inputs *words, const char *path)
{
	FILE *file = fopen(path, "r");
	char line[512];
	bool good = file;

	while (good && fgets(line, sizeof(line), file)) {
		uint8_t *word;
		int len;

		if (line[strspn(line, " \t\n")] == '\0' || line[strspn(line, " \t")] == '#')
			continue;
		len = unescape_word(line, &word);
		good = len >= 0;
		if (good)
			inputs_add(words, word, (size_t)len);
	}
	if (file)
		fclose(file);
	return good;
}

/* ---- chance ---- */

/* splitmix64, by Sebastiano Vigna: every seed is as good as another */
static uint64_t next(struct chance *c)
{
	uint64_t z = c->state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* 0 to LIMIT - 1; 0 for 0. */
static size_t below(struct chance *c, size_t limit)
{
	return limit ? (size_t)(next(c) % limit) : 0;
}

struct work {
	struct chance *c;
	const struct inputs *corpus, *words;
	uint8_t *data;
	size_t size, room;
};

static void insert(struct work *w, size_t at, const uint8_t *from, size_t len)
{
	if (len > w->room - w->size)
		len = w->room - w->size;
	memmove(w->data + at + len, w->data + at, w->size - at);
	memcpy(w->data + at, from, len);
	w->size += len;
}

static void flip_bit(struct work *w)
{
	if (w->size)
		w->data[below(w->c, w->size)] ^= (uint8_t)(1u << below(w->c, 8));
}

static void set_byte(struct work *w)
{
	static const uint8_t telling[] = {0, 1, 0x7f, 0x80, 0xff, '\n', ' ', '"', '\\', '/', '*'};
	uint8_t byte = (uint8_t)next(w->c);

	if (next(w->c) & 1)
		byte = telling[below(w->c, sizeof(telling))];
	if (w->size)
		w->data[below(w->c, w->size)] = byte;
}

static void insert_byte(struct work *w)
{
	uint8_t byte = (uint8_t)next(w->c);

	insert(w, below(w->c, w->size + 1), &byte, 1);
}

static void insert_word(struct work *w)
{
	const struct input *word;

	if (!w->words->count)
		return;
	word = &w->words->items[below(w->c, w->words->count)];
	insert(w, below(w->c, w->size + 1), word->data, word->size);
}

static void delete_range(struct work *w)
{
	size_t at = below(w->c, w->size), len = 1 + below(w->c, w->size - at);

	if (!w->size)
		return;
	if (next(w->c) & 1)
		len = 1;
	memmove(w->data + at, w->data + at + len, w->size - at - len);
	w->size -= len;
}

/* Again, some times: what grows with the input shows then. */
static void repeat_range(struct work *w)
{
	uint8_t piece[64];
	size_t at = below(w->c, w->size), len = 1 + below(w->c, sizeof(piece) - 1);
	size_t times = 1 + below(w->c, next(w->c) & 7 ? 3 : 200);

	if (len > w->size - at)
		len = w->size - at;
	memcpy(piece, w->data + at, len);
	while (times--)
		insert(w, at, piece, len);
}

static void splice(struct work *w)
{
	const struct input *other;
	size_t at;

	if (!w->corpus->count)
		return;
	other = &w->corpus->items[below(w->c, w->corpus->count)];
	at = below(w->c, other->size);
	insert(w, below(w->c, w->size + 1), other->data + at, below(w->c, other->size - at + 1));
}

size_t mutate(struct chance *c, const struct inputs *corpus, const struct inputs *words,
	      uint8_t *out, size_t room)
{
	static void (*const ways[])(struct work *) = {
	    flip_bit, set_byte, insert_byte, insert_word, delete_range, repeat_range, splice};
	struct work w = {.c = c, .corpus = corpus, .words = words, .data = out, .room = room};
	size_t changes = 1 + below(c, 6);

	if (corpus->count) {
		const struct input *base = &corpus->items[below(c, corpus->count)];

		insert(&w, 0, base->data, base->size);
	}
	while (changes--)
		ways[below(c, sizeof(ways) / sizeof(ways[0]))](&w);
	return w.size;
}
