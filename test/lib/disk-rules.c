/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which requests are delayed or fail. */
#include "disk.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define RULES_MAX 64

struct rules {
	pthread_mutex_t lock; /* all below; a leaf */
	unsigned count;
	struct disk_rule rule[RULES_MAX];
	uint64_t seen[RULES_MAX]; /* requests that matched */
};

struct rules *rules_new(void)
{
	struct rules *rules = calloc(1, sizeof(*rules));

	if (rules)
		pthread_mutex_init(&rules->lock, NULL);
	return rules;
}

void rules_free(struct rules *rules)
{
	if (!rules)
		return;
	pthread_mutex_destroy(&rules->lock);
	free(rules);
}

int rules_add(struct rules *rules, const struct disk_rule *rule)
{
	int ret = 0;

	pthread_mutex_lock(&rules->lock);
	if (rules->count == RULES_MAX) {
		ret = -ENOSPC;
	} else {
		rules->rule[rules->count] = *rule;
		rules->seen[rules->count++] = 0;
	}
	pthread_mutex_unlock(&rules->lock);
	return ret;
}

void rules_clear(struct rules *rules)
{
	pthread_mutex_lock(&rules->lock);
	rules->count = 0;
	pthread_mutex_unlock(&rules->lock);
}

unsigned rules_count(struct rules *rules)
{
	unsigned count;

	pthread_mutex_lock(&rules->lock);
	count = rules->count;
	pthread_mutex_unlock(&rules->lock);
	return count;
}

static bool concerns(const struct disk_rule *rule, const struct disk_request *req)
{
	if (!rule->ops[req->op])
		return false;
	if (!rule->ranged)
		return true;
	if (req->op == DISK_FLUSH || req->length == 0)
		return false;
	return req->offset <= rule->last && req->offset + req->length - 1 >= rule->first;
}

void rules_match(struct rules *rules, const struct disk_request *req, unsigned *delay_ms,
		 int *error)
{
	*delay_ms = 0;
	*error = 0;
	pthread_mutex_lock(&rules->lock);
	for (unsigned i = 0; i < rules->count; i++) {
		const struct disk_rule *rule = &rules->rule[i];
		uint64_t seen;

		if (!concerns(rule, req))
			continue;
		seen = ++rules->seen[i];
		if (seen < rule->nth || seen - rule->nth >= rule->count)
			continue;
		if (rule->delay_ms > *delay_ms)
			*delay_ms = rule->delay_ms;
		if (*error == 0)
			*error = rule->error;
	}
	pthread_mutex_unlock(&rules->lock);
}
