/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text that grows, for reports. Once memory was missing nothing more is added. One thread. */
#ifndef CACHEFS_OBSERVE_WRITER_H
#define CACHEFS_OBSERVE_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct writer {
	char *data; /* owned */
	size_t len, size;
	bool failed; /* no memory */
};

/* Room for LEN bytes more. False: no memory. */
bool writer_reserve(struct writer *t, size_t len);

static inline void writer_add_bytes(struct writer *t, const char *s, size_t len)
{
	if (t->size - t->len <= len && !writer_reserve(t, len))
		return;
	memcpy(t->data + t->len, s, len);
	t->len += len;
}

/* A string constant costs no strlen(3). */
static inline void writer_add(struct writer *t, const char *s)
{
	writer_add_bytes(t, s, strlen(s));
}

void writer_add_number(struct writer *t, uint64_t n);
/* NSEC as seconds: "0.000000001". */
void writer_add_seconds(struct writer *t, uint64_t nsec);

/*
 * The bytes of a path or a name as part of a quoted string: what is no UTF-8 becomes the text \xNN.
 * SPECIAL gives for a byte below 0x20, for " and for \ what stands for it there.
 */
void writer_add_quoted(struct writer *t, const char *s, void (*special)(struct writer *t, char c));

/* The text (*LEN bytes and a NUL), to be freed with free(3); NULL: no memory. T is empty then. */
char *writer_take(struct writer *t, size_t *len);

#endif
