/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/text.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/unserved.h"
#include "base/util.h"
#include "cachefs.h"
#include "ctl/ctl.h"
#include "ctl/term.h"

void *need_memory(void *p)
{
	if (!p) {
		fprintf(stderr, "cachefsctl: no memory\n");
		exit(CTL_FAILED);
	}
	return p;
}

char *text_format(const char *fmt, ...)
{
	va_list ap;
	char *text;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	return need_memory(n < 0 ? NULL : text);
}

/* Length of the UTF-8 character at S, or 0 where there is none. */
static size_t character(const unsigned char *s)
{
	size_t n = *s < 0x80 ? 1 : *s >= 0xf0 ? 4 : *s >= 0xe0 ? 3 : 2;

	if ((*s >= 0x80 && *s < 0xc2) || *s > 0xf4)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	/* overlong forms; surrogates; above U+10FFFF */
	if ((*s == 0xe0 && s[1] < 0xa0) || (*s == 0xed && s[1] > 0x9f) ||
	    (*s == 0xf0 && s[1] < 0x90) || (*s == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

/* The same for what may go to a terminal: no C0 and no C1 controls. */
static size_t printable(const unsigned char *s)
{
	bool control = *s < 0x20 || *s == 0x7f || (*s == 0xc2 && s[1] < 0xa0);

	return control ? 0 : character(s);
}

char *text_valid(const char *text)
{
	const unsigned char *s = (const unsigned char *)text;
	char *out = need_memory(malloc(4 * strlen(text) + 1)), *p = out;

	while (*s) {
		size_t n = character(s);

		if (n) {
			p = mempcpy(p, s, n);
			s += n;
		} else
			p += sprintf(p, "\\x%02x", *s++);
	}
	*p = '\0';
	return out;
}

void text_unescape_bytes(char *text)
{
	char *to = text;

	while (*text) {
		if (text[0] == '\\' && text[1] == 'x' && strchr("89abcdef", text[2]) && text[2] &&
		    isxdigit((unsigned char)text[3])) {
			char digits[] = {text[2], text[3], '\0'};

			*to++ = (char)strtol(digits, NULL, 16);
			text += 4;
		} else
			*to++ = *text++;
	}
	*to = '\0';
}

char *text_escape(const char *text)
{
	const unsigned char *s = (const unsigned char *)text;
	char *out = need_memory(malloc(4 * strlen(text) + 1)), *p = out;

	while (*s) {
		size_t n = *s == '\\' ? 0 : printable(s);

		if (n) {
			memcpy(p, s, n);
			p += n;
			s += n;
		} else if (*s == '\\') {
			p = stpcpy(p, "\\\\");
			s++;
		} else
			p += sprintf(p, "\\x%02x", *s++);
	}
	*p = '\0';
	return out;
}

static bool begins_character(char c)
{
	return ((unsigned char)c & 0xc0) != 0x80;
}

size_t text_width(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += begins_character(*text);
	return n;
}

/* Where the character number N begins. */
static size_t offset_of(const char *text, size_t n)
{
	size_t i;

	for (i = 0; text[i]; i++)
		if (begins_character(text[i]) && n-- == 0)
			break;
	return i;
}

char *text_shorten(const char *text, size_t width)
{
	size_t have = text_width(text), head, tail;

	if (have <= width)
		return need_memory(strdup(text));
	if (width < 5)
		return need_memory(strndup(text, offset_of(text, width)));
	/* the end of a path says more than its beginning */
	head = (width - 3) / 3;
	tail = width - 3 - head;
	return text_format("%.*s...%s", (int)offset_of(text, head), text,
			   text + offset_of(text, have - tail));
}

const char *text_age(uint64_t seconds, char *buf)
{
	static const struct {
		uint64_t seconds;
		const char *name;
	} units[] = {{86400, "day"}, {3600, "hour"}, {60, "minute"}, {1, "second"}};
	size_t i = 0;
	uint64_t n;

	/* from two on: "100 minutes" says more than "1 hour" */
	while (i + 1 < ARRAY_SIZE(units) && seconds < 2 * units[i].seconds)
		i++;
	n = seconds / units[i].seconds;
	snprintf(buf, TEXT_SMALL, "%llu %s%s", (unsigned long long)n, units[i].name,
		 n == 1 ? "" : "s");
	return buf;
}

void text_wrap(FILE *out, const char *words, size_t indent, size_t width)
{
	size_t column = indent;

	fprintf(out, "%*s", (int)indent, "");
	while (*words) {
		size_t n = strcspn(words, " ");

		if (width && column > indent && column + 1 + n > width) {
			fprintf(out, "\n%*s", (int)indent, "");
			column = indent;
		} else if (column > indent) {
			putc(' ', out);
			column++;
		}
		fprintf(out, "%.*s", (int)n, words);
		column += n;
		words += n + strspn(words + n, " ");
	}
	putc('\n', out);
}

const char *text_bytes(uint64_t bytes, char *buf)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double n = (double)bytes;
	size_t unit = 0;

	if (bytes == CACHEFS_UNKNOWN)
		return "-";
	if (bytes == 0)
		return "0";
	/* what would be printed as 1024 is one of the next unit */
	while (unit + 1 < ARRAY_SIZE(units) && n >= 1023.5) {
		n /= 1024;
		unit++;
	}
	snprintf(buf, TEXT_SMALL, "%.*f %s", unit && n < 9.95, n, units[unit]);
	return buf;
}

const char *text_number(uint64_t n, char *buf)
{
	if (n == CACHEFS_UNKNOWN)
		return "-";
	snprintf(buf, TEXT_SMALL, "%llu", (unsigned long long)n);
	return buf;
}

const char *text_decimal(double n, char *buf)
{
	if (isnan(n))
		return "-";
	if (n <= 0)
		return "0";
	snprintf(buf, TEXT_SMALL, "%.*f", n < 0.9995 ? 3 : n < 99.95 ? 1 : 0, n);
	return buf;
}

static void complain_text(const char *what, const char *message)
{
	_cleanup_free_ char *name = text_escape(what);
	_cleanup_free_ char *line = text_escape(message);

	screen_end(); /* what is said on the other screen goes with it */
	fflush(stdout);
	fprintf(stderr, "cachefsctl: %s: %s\n", name, line);
}

void complain(const char *what, const char *fmt, ...)
{
	char message[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	complain_text(what, message);
}

int complain_errno(const char *what, const char *doing, int err, const char *sentence)
{
	_cleanup_free_ char *dead = unserved_error(err) ? unserved_text(what) : NULL;
	bool right = err == EPERM || err == EACCES;

	if (dead)
		complain(what, "%s", dead);
	else if (sentence && *sentence)
		complain(what, "%s: %s", doing, sentence);
	else if (err == EUCLEAN)
		complain(what,
			 "%s: it may have lost data when the host went down: put it back with "
			 "cachefsctl rollback, or say that it is good with cachefsctl trust",
			 doing);
	else
		complain(what, "%s: %s%s", doing, strerror(err),
			 right ? ": only root and the file's owner may; on a mount point, root and "
				 "who mounted it"
			       : "");
	return right || err == EBUSY || err == EMLINK ? CTL_REFUSED : CTL_FAILED;
}
