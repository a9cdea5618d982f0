/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The reports of a mount: status.json and metrics, made from what others have collected. Nothing
 * here knows how; pure functions but for the memory.
 */
#ifndef CACHEFS_OBSERVE_STATUS_H
#define CACHEFS_OBSERVE_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "cachefs.h"
#include "observe/stats.h"

struct status_mount {
	const char *version, *source, *mountpoint, *transport, *engine;
	char options[8192]; /* in force */
	bool recover;
	pid_t supervisor_pid; /* 0: none */
	pid_t worker_pid;
	unsigned worker_restarts;
	unsigned upgrades;	  /* to another program */
	uint64_t requests_resent; /* to workers that took over */
	struct status_death {
		pid_t pid;  /* 0: none has died yet */
		int signal; /* or 0, and it ended with */
		int exit_status;
		bool hung;	     /* it made no progress, and was ended */
		uint64_t at;	     /* seconds since the Epoch */
		uint64_t pause_nsec; /* until its successor served */
	} last_death;
	uint32_t switches;  /* of the mount, CACHEFS_DIRECT... */
	int sync_error;	    /* errno of a flush of the whole mount that failed, or 0 */
	unsigned rules;	    /* how many */
	struct stats total; /* of all files since the start */
};

struct status_file {
	/* under the mount, without a leading slash; "": has none; any bytes but NUL; owned */
	char *path;
	uint64_t inode; /* of the backing file */
	struct cachefs_status s;
};

struct status {
	struct status_mount mount;
	struct status_file *files; /* by path; owned */
	size_t count;
};

void status_free(struct status *s);

/* Text (*LEN bytes and a NUL), to be freed with free(3); NULL: no memory. */
char *status_json(const struct status *s, size_t *len);
char *status_metrics(const struct status *s, size_t *len);

#endif
