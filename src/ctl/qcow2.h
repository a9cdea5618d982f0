/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The names of other files in the header of a qcow2 image (docs/interop/qcow2.txt in QEMU). Images
 * are a guest's, so nothing in them is believed.
 */
#ifndef CACHEFS_CTL_QCOW2_H
#define CACHEFS_CTL_QCOW2_H

#include <stddef.h>
#include <stdint.h>

/* All of an image that can hold what is looked for: the first cluster, at most. */
#define QCOW2_CLUSTER_MAX (2u << 20)

struct qcow2_names {
	char *backing;	 /* as written in the image; NULL: none; owned */
	char *data_file; /* likewise */
};

/*
 * IMAGE: the first LEN bytes. 0; -EINVAL: no qcow2 image, or one that is cut or contradicts itself.
 * qcow2_free() after 0.
 */
int qcow2_parse(const uint8_t *image, size_t len, struct qcow2_names *out);
void qcow2_free(struct qcow2_names *n);

/*
 * The path that NAME means on this host: of "file:PATH", "json:{...}", "PATH". To be freed; NULL
 * for what is no file (nbd:, rbd:, https: ...).
 */
char *qcow2_path(const char *name);

#endif
