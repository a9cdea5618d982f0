/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "observe/writer.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"

bool writer_reserve(struct writer *t, size_t len)
{
	size_t size = MAX(t->size, 65536u);
	char *grown;

	if (t->failed || t->size - t->len > len)
		return !t->failed;
	while (size - t->len <= len)
		size *= 2;
	grown = realloc(t->data, size);
	t->failed = !grown;
	if (t->failed) {
		t->len = t->size; /* nothing fits any more */
		return false;
	}
	t->data = grown;
	t->size = size;
	return true;
}

static void add_digits(struct writer *t, uint64_t n, size_t at_least)
{
	char buf[24], *p = buf + sizeof(buf);
	size_t digits = 0;

	while (n || digits < at_least) {
		*--p = (char)('0' + n % 10);
		n /= 10;
		digits++;
	}
	writer_add_bytes(t, p, digits);
}

void writer_add_number(struct writer *t, uint64_t n)
{
	add_digits(t, n, 1);
}

void writer_add_seconds(struct writer *t, uint64_t nsec)
{
	add_digits(t, nsec / 1000000000u, 1);
	writer_add_bytes(t, ".", 1);
	add_digits(t, nsec % 1000000000u, 9);
}

/* Bytes of the character at S (RFC 3629: no overlong forms, no surrogates), or 0. */
static size_t utf8_length(const unsigned char *s)
{
	unsigned char lowest = 0x80, highest = 0xbf;
	size_t len = *s < 0x80	 ? 1
		     : *s < 0xc2 ? 0
		     : *s < 0xe0 ? 2
		     : *s < 0xf0 ? 3
		     : *s < 0xf5 ? 4
				 : 0;

	if (len < 2)
		return len;
	switch (*s) {
	case 0xe0:
		lowest = 0xa0;
		break;
	case 0xed:
		highest = 0x9f;
		break;
	case 0xf0:
		lowest = 0x90;
		break;
	case 0xf4:
		highest = 0x8f;
		break;
	}
	if (s[1] < lowest || s[1] > highest)
		return 0;
	for (size_t i = 2; i < len; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

static bool plain(unsigned char c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

void writer_add_quoted(struct writer *t, const char *s, void (*special)(struct writer *t, char c))
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *p = (const unsigned char *)s;

	while (*p) {
		size_t len = 0;

		while (plain(p[len]))
			len++;
		if (!len && *p >= 0x80)
			len = utf8_length(p);
		writer_add_bytes(t, (const char *)p, len);
		p += len;
		if (len)
			continue;
		if (*p < 0x80) {
			special(t, (char)*p);
		} else {
			char byte[] = {'x', hex[*p >> 4], hex[*p & 15]};

			special(t, '\\');
			writer_add_bytes(t, byte, sizeof(byte));
		}
		p++;
	}
}

char *writer_take(struct writer *t, size_t *len)
{
	char *data = writer_reserve(t, 0) ? t->data : NULL;

	if (data) {
		data[t->len] = 0;
		*len = t->len;
	} else {
		free(t->data);
	}
	*t = (struct writer){0};
	return data;
}
