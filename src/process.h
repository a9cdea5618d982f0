/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a process that serves a mount is to the system; its workers inherit it. */
#ifndef CACHEFS_PROCESS_H
#define CACHEFS_PROCESS_H

/*
 * Before any thread: all of them leave signals to signal_thread(), or to the supervisor. But those
 * of faults end the process also when they are sent, which is how one asks for a core. An exec
 * keeps both what is blocked and what is pending.
 */
void process_block_signals(void);
/* Limits, reclaim, the OOM killer, umask and working directory, as far as the system lets us. */
void process_prepare(void);

#endif
