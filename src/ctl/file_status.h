/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is known of one file: the same from CACHEFS_IOC_STATUS and from status.json, and the same
 * JSON out again. One table of fields for all three. Memory that lacks ends the process.
 */
#ifndef CACHEFS_CTL_FILE_STATUS_H
#define CACHEFS_CTL_FILE_STATUS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cachefs.h"

/*
 * X(type, name, expression): what has one number each. The names are those of status.json, the
 * expression is over "const struct cachefs_status *s". Types: NUMBER; BYTES, a size; BOOL; AGE,
 * seconds, unknown where negative; SECONDS, with fractions.
 */
#define FILE_FIELDS(X)                                                                             \
	X(NUMBER, opens, s->opens)                                                                 \
	X(NUMBER, writers, s->writers)                                                             \
	X(BOOL, kernel_path, s->kernel_path == CACHEFS_KERNEL_PATH_USED)                           \
	X(BOOL, flushing, s->flushing)                                                             \
	X(BOOL, tainted, s->tainted)                                                               \
	X(BOOL, deleted, s->deleted)                                                               \
	X(NUMBER, direct_align, s->direct_align)                                                   \
	X(BYTES, size, s->size)                                                                    \
	X(BYTES, cached_bytes, s->cached_bytes)                                                    \
	X(BYTES, dirty_bytes, s->dirty_bytes)                                                      \
	X(BYTES, writeback_bytes, s->writeback_bytes)                                              \
	X(AGE, checkpoint_age_s, (uint64_t)s->checkpoint_age_s)                                    \
	X(NUMBER, reads, s->reads.count)                                                           \
	X(SECONDS, read_seconds, (double)s->reads.nsec / 1e9)                                      \
	X(NUMBER, writes, s->writes.count)                                                         \
	X(SECONDS, write_seconds, (double)s->writes.nsec / 1e9)                                    \
	X(SECONDS, flush_seconds, (double)s->flushes.nsec / 1e9)

#define FILE_CTYPE_NUMBER uint64_t
#define FILE_CTYPE_BYTES uint64_t
#define FILE_CTYPE_BOOL uint64_t
#define FILE_CTYPE_AGE uint64_t
#define FILE_CTYPE_SECONDS double
#define FILE_MEMBER_(type, name, expression) FILE_CTYPE_##type name;
#define FILE_COUNTER_MEMBER_(name, help) uint64_t name;

struct file_client {
	int64_t pid; /* 0: not known */
	char *comm;  /* "" when it has ended */
	char *flags; /* "O_RDWR|O_DIRECT" */
	bool kernel_path;
};

struct file_status {
	char *path;   /* under the mount, or as the user gave it */
	int switches; /* CACHEFS_DIRECT...; -1: not known */
	char *origin; /* NULL: not known */
	bool pending; /* the two below are to come */
	int pending_switches;
	char *pending_origin;
	char *kernel_path_reason;
	char *error; /* of a flush that failed; NULL: none */
	/* CACHEFS_UNKNOWN, or NAN for seconds, is what was not said */
	FILE_FIELDS(FILE_MEMBER_)
	CACHEFS_COUNTERS(FILE_COUNTER_MEMBER_)
	struct file_client *clients;
	size_t clients_count;
	uint64_t clients_total;
};

/* Nothing known of PATH, which is copied. */
void file_status_init(struct file_status *f, const char *path);
void file_status_free(struct file_status *f);

void file_status_from_ioctl(struct file_status *f, const char *path,
			    const struct cachefs_status *s);

/* OBJECT may lack anything and have more. 0, or -EINVAL for what is no object with a path. */
int file_status_from_json(struct file_status *f, const json_t *object);

/* A new reference. */
json_t *file_status_to_json(const struct file_status *f);

/*
 * A string; bytes that are no UTF-8, which JSON cannot have, as \xhh, as in status.json. A new
 * reference.
 */
json_t *text_to_json(const char *text);

/* FILE_FIELDS and CACHEFS_COUNTERS as a table. */
struct file_field {
	const char *name;
	enum { FIELD_NUMBER, FIELD_BYTES, FIELD_BOOL, FIELD_AGE, FIELD_SECONDS } type;
	size_t offset; /* in struct file_status: a uint64_t, or a double */
};
extern const struct file_field file_fields[];
extern const size_t file_fields_count;
/* "-" for unknown; BUF has TEXT_SMALL bytes. */
const char *file_field_text(const struct file_status *f, const struct file_field *field, char *buf);

/* "none", "cache.direct=on,...", "-" for -1. BUF has MODE_TEXT bytes. */
#define MODE_TEXT 80
const char *switches_text(int switches, char *buf);

/* "O_RDWR|O_DIRECT", to be freed. */
char *open_flags_text(unsigned flags);

#endif
