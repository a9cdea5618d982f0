/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where requests pass or wait. A request that must wait (delay, freeze) is copied to a list and
 * executed later by one thread of ours: never does it hold one of the few threads that read
 * /dev/fuse, or the command that would thaw the disk could not be read.
 */
#include "disk.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct waiting {
	struct waiting *next;
	uint64_t due_ns; /* CLOCK_MONOTONIC */
	int error;	 /* verdict of the rules */
	struct disk_request req;
	uint8_t data[];
};

struct gate {
	struct rules *rules;
	struct store *store;
	pthread_t thread;
	pthread_mutex_t lock;	 /* all below; never held while executing or answering */
	pthread_cond_t changed;	 /* new waiting request, thaw, end: the thread looks again */
	pthread_cond_t idle;	 /* executing became 0 */
	struct waiting *waiting; /* by due_ns, equal ones in order of arrival */
	unsigned executing;
	bool frozen, ending;
	struct gate_stats stats;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int execute_read(struct gate *gate, const struct disk_request *req)
{
	void *buf = malloc(req->length ? req->length : 1);
	int ret;

	if (!buf)
		return -ENOMEM;
	ret = store_read(gate->store, buf, req->offset, req->length);
	if (ret == 0)
		req->reply(req->cookie, 0, buf, req->length);
	free(buf);
	return ret;
}

static void execute(struct gate *gate, const struct disk_request *req, int error)
{
	int ret = -error;

	if (ret == 0 && req->op == DISK_READ) {
		ret = execute_read(gate, req);
		if (ret == 0)
			return;
	} else if (ret == 0 && req->op == DISK_WRITE) {
		ret = store_write(gate->store, req->data, req->offset, req->length, req->fua);
	} else if (ret == 0 && req->op == DISK_DISCARD) {
		ret = store_write(gate->store, NULL, req->offset, req->length, false);
	} else if (ret == 0) {
		ret = store_flush(gate->store);
	}
	if (ret < 0) {
		pthread_mutex_lock(&gate->lock);
		gate->stats.failed++;
		pthread_mutex_unlock(&gate->lock);
	}
	req->reply(req->cookie, -ret, NULL, ret < 0 ? 0 : req->length);
}

/* Under the lock; returns with it released. The caller has made sure that we are not frozen. */
static void execute_unlocked(struct gate *gate, const struct disk_request *req, int error)
{
	gate->executing++;
	pthread_mutex_unlock(&gate->lock);
	execute(gate, req, error);
	pthread_mutex_lock(&gate->lock);
	if (--gate->executing == 0)
		pthread_cond_broadcast(&gate->idle);
	pthread_mutex_unlock(&gate->lock);
}

/* Under the lock. Copies the request to the list. */
static int wait_until(struct gate *gate, const struct disk_request *req, uint64_t due_ns, int error)
{
	size_t length = req->data ? req->length : 0;
	struct waiting *item = malloc(sizeof(*item) + length), **at = &gate->waiting;

	if (!item)
		return -ENOMEM;
	item->due_ns = due_ns;
	item->error = error;
	item->req = *req;
	if (req->data) {
		memcpy(item->data, req->data, length);
		item->req.data = item->data;
	}
	while (*at && (*at)->due_ns <= due_ns)
		at = &(*at)->next;
	item->next = *at;
	*at = item;
	gate->stats.waiting++;
	pthread_cond_signal(&gate->changed);
	return 0;
}

void gate_submit(struct gate *gate, const struct disk_request *req)
{
	unsigned delay_ms;
	int error;

	pthread_mutex_lock(&gate->lock);
	rules_match(gate->rules, req, &delay_ms, &error);
	gate->stats.requests[req->op]++;
	gate->stats.bytes[req->op] += req->length;
	if (req->fua)
		gate->stats.fua_writes++;
	if (delay_ms > 0)
		gate->stats.delayed++;
	if (delay_ms > 0 || gate->frozen) {
		uint64_t due_ns = now_ns() + delay_ms * UINT64_C(1000000);

		if (wait_until(gate, req, due_ns, error) == 0) {
			pthread_mutex_unlock(&gate->lock);
			return;
		}
		gate->stats.failed++;
		pthread_mutex_unlock(&gate->lock);
		req->reply(req->cookie, ENOMEM, NULL, 0);
		return;
	}
	execute_unlocked(gate, req, error);
}

/* Takes the first waiting request off the list if it may pass now. Under the lock; may sleep. */
static struct waiting *next_due(struct gate *gate)
{
	struct waiting *item = gate->waiting;
	uint64_t now;

	if (!item || gate->frozen) {
		pthread_cond_wait(&gate->changed, &gate->lock);
		return NULL;
	}
	now = now_ns();
	if (item->due_ns > now) {
		struct timespec ts = {.tv_sec = (time_t)(item->due_ns / 1000000000u),
				      .tv_nsec = (long)(item->due_ns % 1000000000u)};

		pthread_cond_timedwait(&gate->changed, &gate->lock, &ts);
		return NULL;
	}
	gate->waiting = item->next;
	gate->stats.waiting--;
	return item;
}

static void *gate_thread(void *arg)
{
	struct gate *gate = arg;

	pthread_mutex_lock(&gate->lock);
	while (!gate->ending) {
		struct waiting *item = next_due(gate);

		if (!item)
			continue;
		execute_unlocked(gate, &item->req, item->error);
		free(item);
		pthread_mutex_lock(&gate->lock);
	}
	pthread_mutex_unlock(&gate->lock);
	return NULL;
}

void gate_freeze(struct gate *gate)
{
	pthread_mutex_lock(&gate->lock);
	gate->frozen = true;
	while (gate->executing > 0)
		pthread_cond_wait(&gate->idle, &gate->lock);
	pthread_mutex_unlock(&gate->lock);
}

void gate_thaw(struct gate *gate)
{
	pthread_mutex_lock(&gate->lock);
	gate->frozen = false;
	pthread_cond_signal(&gate->changed);
	pthread_mutex_unlock(&gate->lock);
}

void gate_get_stats(struct gate *gate, struct gate_stats *stats)
{
	pthread_mutex_lock(&gate->lock);
	*stats = gate->stats;
	stats->frozen = gate->frozen;
	pthread_mutex_unlock(&gate->lock);
}

void gate_reset_stats(struct gate *gate)
{
	pthread_mutex_lock(&gate->lock);
	gate->stats = (struct gate_stats){.waiting = gate->stats.waiting};
	pthread_mutex_unlock(&gate->lock);
}

int gate_new(struct gate **result, struct rules *rules, struct store *store)
{
	struct gate *gate = calloc(1, sizeof(*gate));
	pthread_condattr_t attr;
	int ret;

	if (!gate)
		return -ENOMEM;
	gate->rules = rules;
	gate->store = store;
	pthread_mutex_init(&gate->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&gate->changed, &attr);
	pthread_cond_init(&gate->idle, NULL);
	pthread_condattr_destroy(&attr);
	ret = pthread_create(&gate->thread, NULL, gate_thread, gate);
	if (ret != 0) {
		free(gate);
		return -ret;
	}
	*result = gate;
	return 0;
}

void gate_free(struct gate *gate)
{
	struct waiting *item;

	if (!gate)
		return;
	pthread_mutex_lock(&gate->lock);
	gate->ending = true;
	pthread_cond_signal(&gate->changed);
	pthread_mutex_unlock(&gate->lock);
	pthread_join(gate->thread, NULL);
	while ((item = gate->waiting)) {
		gate->waiting = item->next;
		item->req.reply(item->req.cookie, EIO, NULL, 0);
		free(item);
	}
	pthread_cond_destroy(&gate->changed);
	pthread_cond_destroy(&gate->idle);
	pthread_mutex_destroy(&gate->lock);
	free(gate);
}
