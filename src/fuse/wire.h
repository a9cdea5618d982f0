/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Decoding arguments and encoding replies. Nothing past the end of a request is ever read. */
#ifndef CACHEFS_FUSE_WIRE_H
#define CACHEFS_FUSE_WIRE_H

#include "fuse/request.h"

/* Goes through the arguments of a request. */
struct wire_reader {
	const uint8_t *pos, *end;
};

struct wire_reader wire_args(const struct request *req);
/* SIZE bytes, or NULL where there are fewer. */
const void *wire_take(struct wire_reader *r, size_t size);
/* A NUL-terminated string of at most MAX bytes (without the NUL), or NULL. */
const char *wire_string(struct wire_reader *r, size_t max);
/* A name: one component, not empty, not "." or "..", without a slash, or NULL. */
const char *wire_name(struct wire_reader *r);

/* Replies; the request is over after any of them. ERR: 0 or a negative errno. */
void reply_error(struct request *req, int err);
void reply_data(struct request *req, const void *data, size_t size);
/* Size of a value where the client asks for it (SIZE 0), or the value, or the error in N. */
void reply_value(struct request *req, ssize_t n, const void *data, bool size_only);
/* -ENOENT from the transport (nobody will know of what the reply names), else 0. */
int reply_data_checked(struct request *req, const void *data, size_t size);

void wire_attr(struct fuse_attr *out, const struct statx *st);
void wire_entry(const struct session *s, struct fuse_entry_out *out, const struct fs_entry *e);
void wire_timeout(double seconds, uint64_t *sec, uint32_t *nsec);

#endif
