/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A mount's status.json, read. Memory that lacks ends the process. */
#ifndef CACHEFS_CTL_REPORT_H
#define CACHEFS_CTL_REPORT_H

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

#include "ctl/file_status.h"
#include "ctl/target.h"

struct report {
	json_t *json;		   /* as it was read; owned; NULL for one that was put together */
	struct file_status *files; /* owned */
	size_t files_count;
	double seconds; /* when, CLOCK_MONOTONIC */
};

/* 0, or -EINVAL with a line in ERROR. TEXT has LEN bytes. */
int report_parse(struct report *r, const char *text, size_t len, char *error, size_t size);
void report_free(struct report *r);

/* Appends F, which is owned from then on. */
void report_add(struct report *r, const struct file_status *f);

/* A file by its path, or NULL. */
const struct file_status *report_find(const struct report *r, const char *path);

/*
 * Of the mount whose root is open as FD; POINT is named in complaints. CTL_OK or another exit
 * status after a complaint, which QUIET leaves out.
 */
int report_read(struct report *r, int fd, const char *point, bool quiet);

/* Of one file, by CACHEFS_IOC_STATUS. CTL_OK or another exit status after a complaint. */
int file_status_read(struct file_status *f, const struct target *t);

/* Of T without a descriptor (target_open_any()): tainted, its size, and its mode. */
void file_status_unopened(struct file_status *f, const struct target *t);

/* A text of the mount, "-" where it is missing. Valid as long as R. */
const char *report_text(const struct report *r, const char *name);

/* Who has F open, a line each with two blanks in front. */
void print_clients(const struct file_status *f, FILE *out);

/* Prints and releases JSON. CTL_OK, or CTL_FAILED after a complaint. */
int print_json(json_t *json);

#endif
