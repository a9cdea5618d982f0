/* SPDX-License-Identifier: GPL-2.0-or-later */
/* File handles as values and as text. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "durability/private_dir.h"

bool file_id_of(int fd, struct file_id *id)
{
	struct {
		struct file_handle h;
		char space[MAX_HANDLE_SZ];
	} r = {.h = {.handle_bytes = FILE_ID_MAX}};
	int mount_id;

	memset(id, 0, sizeof(*id));
	if (name_to_handle_at(fd, "", &r.h, &mount_id, AT_EMPTY_PATH) < 0)
		return false;
	id->type = r.h.handle_type;
	id->len = r.h.handle_bytes;
	memcpy(id->bytes, r.h.f_handle, r.h.handle_bytes);
	return true;
}

bool file_id_equal(const struct file_id *a, const struct file_id *b)
{
	return a->type == b->type && a->len == b->len && !memcmp(a->bytes, b->bytes, a->len);
}

void file_id_text(const struct file_id *id, char text[FILE_ID_TEXT])
{
	int n = snprintf(text, FILE_ID_TEXT, "%d-", id->type);

	for (uint32_t i = 0; i < MIN(id->len, (uint32_t)FILE_ID_MAX); i++)
		n += snprintf(text + n, FILE_ID_TEXT - (size_t)n, "%02x", id->bytes[i]);
}

/* As file_id_text() writes them, in lower case: one id has one text. */
static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The type in front of the dash; its length with the dash, or 0. */
static size_t parse_type(const char *text, size_t len, int32_t *type)
{
	bool negative = len && text[0] == '-';
	size_t start = negative, i = start;
	int64_t v = 0;

	for (; i < len && i < start + 10 && text[i] >= '0' && text[i] <= '9'; i++)
		v = 10 * v + (text[i] - '0');
	if (i == start || i == len || text[i] != '-' || (text[start] == '0' && i > start + 1))
		return 0;
	v = negative ? -v : v;
	if (v < INT32_MIN || v > INT32_MAX || (negative && !v))
		return 0;
	*type = (int32_t)v;
	return i + 1;
}

bool file_id_parse(const char *text, size_t len, struct file_id *id)
{
	size_t head, digits;

	memset(id, 0, sizeof(*id));
	head = parse_type(text, len, &id->type);
	digits = len - head;
	if (!head || digits % 2 || digits / 2 > FILE_ID_MAX)
		return false;
	id->len = (uint32_t)(digits / 2);
	for (size_t i = 0; i < id->len; i++) {
		int high = hex_digit(text[head + 2 * i]), low = hex_digit(text[head + 2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		id->bytes[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}
