/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files ops_*.c share. */
#ifndef CACHEFS_FUSE_OPS_H
#define CACHEFS_FUSE_OPS_H

#include "fuse/request.h"
#include "fuse/wire.h"

/* An entry with one lookup of ours in it, or ERR. */
void reply_entry(struct request *req, int err, const struct fs_entry *e);
void reply_malformed(struct request *req);

/*
 * Who creates something: the header's ids, UMASK, and what the kernel appended about groups. False
 * when that is malformed. Shortens R to what stands in front of it.
 */
bool wire_caller(const struct request *req, struct wire_reader *r, uint32_t umask,
		 struct fs_caller *c);

/* control.c: is it the mount's mode, as an extended attribute of the root? Sets it; the errno. */
bool control_is_mount_mode(const struct request *req, const char *name);
int control_set_mount_mode(struct request *req, const char *value, size_t size);

#endif
