/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A path as the user gave it, opened, and known to lie on a cachefs mount. */
#ifndef CACHEFS_CTL_TARGET_H
#define CACHEFS_CTL_TARGET_H

#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "cachefs.h"
#include "ctl/mounts.h"

struct target {
	const char *path; /* as given; not owned */
	int fd;		  /* O_RDONLY | O_APPEND; owned; -1: none */
	struct stat st;
	struct cachefs_info info;
};

/*
 * CTL_OK, or another exit status after a complaint. Neither devices nor anything but regular files
 * and directories are opened: that alone could do something. target_close() in both cases.
 */
int target_open(struct target *t, const char *path);
/*
 * The same, but CTL_OK with fd -1 for a file of a cachefs mount that cannot be opened because the
 * host went down with unflushed data of it (EUCLEAN); its info is empty.
 */
int target_open_any(struct target *t, const char *path);
/*
 * The directory of the regular file PATH, which itself is not opened; its name there goes to NAME.
 * T's path is PATH, for complaints.
 */
int target_open_parent(struct target *t, const char *path, char name[NAME_MAX + 1]);
void target_close(struct target *t);

bool target_is_file(const struct target *t);

/*
 * The mount that T lies on, opened at its root. *ENTRY points into MOUNTS; *BELOW is the path of T
 * under the root, to be freed. The descriptor, or the negative of an exit status after a complaint.
 */
int target_mount(const struct target *t, const struct mounts *mounts,
		 const struct mount_entry **entry, char **below);

/* The root of the mount at ENTRY, or a negative errno (-ESTALE: something else is mounted there
 * now). */
int mount_open(const struct mount_entry *entry);

#endif
