/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A look at what a user named: all mounts, one mount, or one file, as one report. For the verbs
 * that look twice.
 */
#ifndef CACHEFS_CTL_SAMPLE_H
#define CACHEFS_CTL_SAMPLE_H

#include "ctl/report.h"

struct sample_source {
	struct target target; /* with a path */
	bool whole;	      /* without: all mounts */
	bool looked;	      /* at all of them, once */
	struct mounts mounts;
};

/* PATH or NULL. CTL_OK or another exit status after a complaint; sample_close() in both cases. */
int sample_open(struct sample_source *s, const char *path);
void sample_close(struct sample_source *s);

/*
 * One look. Of mounts, the paths are those that the user has: the mount point's in front. CTL_OK,
 * or another exit status after a complaint; report_free() it.
 */
int sample_take(struct sample_source *s, struct report *r);

#endif
