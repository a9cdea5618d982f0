/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What on a mount leads past it: links, device nodes, the names in images. */
#ifndef CACHEFS_CTL_LEADS_H
#define CACHEFS_CTL_LEADS_H

#include <stdbool.h>
#include <sys/types.h>

#include "ctl/judge.h"

/* A place in a tree, and what was found there. */
typedef void found_fn(void *arg, const char *path, struct findings *f);

/* The regular file PATH of the filesystem DEV, if it is a qcow2 image. */
void leads_of_image(const char *path, dev_t dev, struct findings *out);

/*
 * All below DIRECTORY that lies on the filesystem DEV, in the order of names. FOUND is called for
 * each path with findings, which it owns. False after a complaint: not all could be looked at.
 */
bool leads_of_tree(const char *directory, dev_t dev, found_fn *found, void *arg);

#endif
