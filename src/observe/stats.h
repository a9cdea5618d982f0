/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What was counted, for people. */
#ifndef CACHEFS_OBSERVE_STATS_H
#define CACHEFS_OBSERVE_STATS_H

/* One line in the log: flushes of the mount. Any thread. */
void stats_log(void);

#endif
