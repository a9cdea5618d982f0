/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The terminal: its size, colours, and a screen of our own for a live view. One thread. */
#ifndef CACHEFS_CTL_TERM_H
#define CACHEFS_CTL_TERM_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Columns of the terminal on standard output, else what COLUMNS says, else 80. 0, which is "do not
 * cut", where standard output is no terminal.
 */
size_t term_width(void);
/* Rows of the terminal on standard output; 24 where it does not say. */
size_t term_height(void);

/* Standard output is a terminal, and NO_COLOR is not set (https://no-color.org). */
bool term_colours(void);

/*
 * The other screen, keys without Enter and unseen. 0, or a negative errno (-ENOTTY). The old state
 * comes back by screen_end(), and when the process ends by exit(3).
 */
int screen_begin(void);
void screen_end(void);

/* What the user did. */
enum term_event { TERM_TIMEOUT, TERM_KEY, TERM_RESIZED, TERM_END };

/*
 * Before screen_begin(): SIGINT, SIGTERM, SIGHUP and SIGWINCH come through a descriptor from now
 * on, which is returned, or a negative errno. Without a terminal it is as useful.
 */
int term_signals(void);

/*
 * Waits for NSEC at most. KEY: which one. SIGNALS: of term_signals(). INTERACTIVE: look at standard
 * input too. A terminal that went away is TERM_END.
 */
enum term_event term_wait(int signals, bool interactive, unsigned long long nsec, char *key);

#endif
