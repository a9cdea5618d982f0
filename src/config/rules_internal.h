/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the text of rules and the set of them share. */
#ifndef CACHEFS_CONFIG_RULES_INTERNAL_H
#define CACHEFS_CONFIG_RULES_INTERNAL_H

#include "config/pattern.h"
#include "config/rules.h"

/* An empty set, with one user; NULL: no memory. */
struct rules *rules_new(void);

/* Behind the rules that are there. Takes PATTERN, on errors too. 0, -ENOMEM. */
int rules_add(struct rules *r, const struct rule *rule, struct pattern *pattern);

/* R was read from the file NAME with TEXT, LEN bytes. 0, -ENOMEM. */
int rules_set_source(struct rules *r, const char *name, const char *text, size_t len);

#endif
