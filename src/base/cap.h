/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Capabilities of single threads (capabilities(7): they are per thread; libcap's and glibc's
 * wrappers act on the process or allocate, so the system calls are used as they are).
 */
#ifndef CACHEFS_BASE_CAP_H
#define CACHEFS_BASE_CAP_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Before threads exist: gives up, for good, what serving a mount never needs. CAP_SYS_RESOURCE goes
 * too, since it lets writes pass quotas and reserved blocks that must give EDQUOT and ENOSPC. 0 or
 * a negative errno. A process without privilege has nothing to give up: 0.
 */
int cap_drop_unneeded(void);

/*
 * CAP_FSETID of this thread, which is what makes the backing filesystem keep (on) or kill (off)
 * suid and sgid bits at a write. Remembered per thread: no system call when nothing changes.
 */
void cap_thread_fsetid(bool on);
/* After setfsuid(2), which changes it on its own (capabilities(7)). */
void cap_thread_fsetid_changed(void);

/* Raises CAPS (a bit mask of CAP_ numbers < 32) that are permitted. */
void cap_thread_raise(uint32_t caps);

#endif
