/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The options and rules in force, as text in memory that outlives the worker: what remounts and
 * reloads have made of those of the mount. The rules file itself may be another one by now, and
 * counts only when somebody says "reload".
 */
#ifndef CACHEFS_SETTINGS_H
#define CACHEFS_SETTINGS_H

#include "config/options.h"

struct settings;

/* In memory that is shared with child processes. 0 or a negative errno. */
int settings_create(struct settings **out);
void settings_destroy(struct settings *s);
/* The memory's descriptor, for another program; and from there. 0, or -EPROTO and other negative
 * errno, and the descriptor stays open. */
int settings_fd(const struct settings *s);
int settings_adopt(int fd, struct settings **out);

/*
 * O is in force now, with its parsed_rules. One caller at a time; who is killed in here leaves
 * what was there before.
 */
void settings_save(struct settings *s, const struct options *o);
/*
 * O, as it was at the mount, becomes what was saved last; its parsed_rules, too. 0 (also when
 * nothing was saved) or a negative errno, with a line in the log.
 */
int settings_load(const struct settings *s, struct options *o);

#endif
