/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text for people: paths with any bytes, sizes, the one line of an error. No state but stderr. */
#ifndef CACHEFS_CTL_TEXT_H
#define CACHEFS_CTL_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * TEXT with control characters and bytes that are no UTF-8 as \xhh, and "\" as "\\": one
 * line, which does nothing to a terminal. To be freed with free(3); ends the process where there is
 * no memory.
 */
char *text_escape(const char *text);

/*
 * TEXT with \xhh for each byte that is no UTF-8, and nothing else changed: as paths stand in
 * status.json. To be freed.
 */
char *text_valid(const char *text);
/* The way back, in place: \x80 to \xff become bytes. */
void text_unescape_bytes(char *text);

/* How many columns TEXT (UTF-8) takes; each character is taken for one. */
size_t text_width(const char *text);

/* TEXT, or its two ends with "..." between, in WIDTH columns; to be freed. */
char *text_shorten(const char *text, size_t width);

/* "0", "512 B", "4.0 KiB", "17 GiB"; "-" for CACHEFS_UNKNOWN. BUF has TEXT_SMALL bytes. */
#define TEXT_SMALL 32
const char *text_bytes(uint64_t bytes, char *buf);
/* A number, or "-". */
const char *text_number(uint64_t n, char *buf);
/* "-", "0", "0.031", "1.5", "142": as precise as fits in five columns. NAN is "-". */
const char *text_decimal(double n, char *buf);

/* How long ago: "5 seconds", "3 minutes", "2 hours", "4 days"; whole ones, of the
 * largest unit of which there are two. BUF has TEXT_SMALL bytes. */
const char *text_age(uint64_t seconds, char *buf);

/*
 * WORDS on lines of WIDTH columns at most, broken at blanks, with INDENT blanks in front of each;
 * WIDTH 0: one line.
 */
void text_wrap(FILE *out, const char *words, size_t indent, size_t width);

/* As printf(3), to be freed; ends the process where there is no memory. */
char *text_format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* "cachefsctl: WHAT: message" on stderr, as one line. WHAT is escaped. */
void complain(const char *what, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * complain() about what a call on WHAT gave: ERR is an errno, SENTENCE what is known besides, or
 * NULL; a mount that nobody serves any more is named instead. CTL_REFUSED for a missing right,
 * EBUSY or EMLINK, else CTL_FAILED.
 */
int complain_errno(const char *what, const char *doing, int err, const char *sentence);

/* P, or the process ends. */
void *need_memory(void *p);

#endif
