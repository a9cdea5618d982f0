/* SPDX-License-Identifier: GPL-2.0-or-later */
/* opstorm: which bytes are held by whom, the size, and the log of operations. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include "opstorm.h"

#define LOG_SIZE 65536u
#define LOG_SHOWN 40u
#define END UINT64_MAX

struct range {
	uint64_t start, end; /* [start, end) */
	int shared;
};

struct held {
	int n;
	struct range r[2];
};

/* One mutex guards all of this; held only for moments, never over an operation. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t freed = PTHREAD_COND_INITIALIZER;
static struct held held[MAX_THREADS];
static uint64_t size, next_seq;
static struct op oplog[LOG_SIZE]; /* by seq, in the order in which ranges were held */

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static int conflict(const struct held *want, unsigned int self)
{
	for (unsigned int t = 0; t < MAX_THREADS; t++) {
		for (int i = 0; t != self && i < held[t].n; i++) {
			const struct range *h = &held[t].r[i];

			for (int k = 0; k < want->n; k++) {
				const struct range *w = &want->r[k];

				if (h->start < w->end && w->start < h->end &&
				    !(h->shared && w->shared))
					return 1;
			}
		}
	}
	return 0;
}

static struct range write_range(const struct op *op)
{
	if (op->off + op->len > size)
		return (struct range){min64(op->off, size), END, 0};
	return (struct range){op->off, op->off + op->len, 0};
}

/* What op must hold, the size being what it is now; -1 if the operation is then empty. */
static int ranges_of(struct op *op, struct held *h)
{
	h->n = 1;
	switch (ops[op->id].touch) {
	case TOUCH_READ:
		h->r[0] = (struct range){op->off, op->off + op->len, 1};
		return 0;
	case TOUCH_WRITE:
		h->r[0] = write_range(op);
		return 0;
	case TOUCH_INSIDE:
		h->r[0] = (struct range){op->off, op->off + op->len, 0};
		return 0;
	case TOUCH_APPEND:
		op->off = size;
		h->r[0] = (struct range){size, END, 0};
		return size + op->len > set.max_size ? -1 : 0;
	case TOUCH_SIZE:
		h->r[0] = (struct range){min64(op->len, size), END, 0};
		return 0;
	case TOUCH_ALL:
		h->r[0] = (struct range){0, END, 1};
		return 0;
	case TOUCH_NONE:
		h->n = 0;
		return 0;
	case TOUCH_COPY:
		if (op->src + op->len > size ||
		    (op->src < op->off + op->len && op->off < op->src + op->len))
			return -1;
		h->n = 2;
		h->r[0] = write_range(op);
		h->r[1] = (struct range){op->src, op->src + op->len, 1};
		return 0;
	case TOUCH_MAP_READ:
	case TOUCH_MAP_WRITE:
		if (op->off >= size)
			return -1;
		op->len = min64(op->len, size - op->off);
		h->r[0].start = op->off & ~(uint64_t)(PAGE - 1);
		h->r[0].end = (op->off + op->len + PAGE - 1) & ~(uint64_t)(PAGE - 1);
		h->r[0].shared = ops[op->id].touch == TOUCH_MAP_READ;
		return 0;
	}
	return -1;
}

int range_hold(struct op *op)
{
	struct held want;

	pthread_mutex_lock(&mutex);
	for (;;) {
		if (ranges_of(op, &want)) {
			pthread_mutex_unlock(&mutex);
			return -1;
		}
		if (!conflict(&want, op->thread))
			break;
		pthread_cond_wait(&freed, &mutex);
	}
	held[op->thread] = want;
	op->seq = next_seq++;
	op->result = OP_RUNNING;
	oplog[op->seq % LOG_SIZE] = *op;
	pthread_mutex_unlock(&mutex);
	return 0;
}

void range_release(const struct op *op)
{
	pthread_mutex_lock(&mutex);
	if (oplog[op->seq % LOG_SIZE].seq == op->seq)
		oplog[op->seq % LOG_SIZE] = *op;
	if (op->result >= 0 && ops[op->id].touch == TOUCH_SIZE)
		size = op->len;
	else if (op->result >= 0 && ops[op->id].tail_end && op->off + op->len > size)
		size = op->off + op->len;
	held[op->thread].n = 0;
	pthread_cond_broadcast(&freed);
	pthread_mutex_unlock(&mutex);
}

uint64_t range_size(void)
{
	uint64_t s;

	pthread_mutex_lock(&mutex);
	s = size;
	pthread_mutex_unlock(&mutex);
	return s;
}

static int touched(const struct op *op, uint64_t off)
{
	switch (ops[op->id].touch) {
	case TOUCH_SIZE:
		return op->len <= off + PAGE;
	case TOUCH_ALL:
	case TOUCH_NONE:
		return 0;
	default:
		return op->off <= off && off < op->off + op->len;
	}
}

void op_print(const struct op *op)
{
	fprintf(stderr, "  #%" PRIu64 " thread %u %s [%" PRIu64 ", %" PRIu64 ")", op->seq,
		op->thread, ops[op->id].name, op->off, op->off + op->len);
	if (ops[op->id].touch == TOUCH_COPY)
		fprintf(stderr, " from %" PRIu64, op->src);
	if (op->direct)
		fprintf(stderr, " O_DIRECT");
	if (op->result == OP_RUNNING)
		fprintf(stderr, " running\n");
	else
		fprintf(stderr, " = %ld\n", op->result);
}

void range_print_log(uint64_t off)
{
	uint64_t first, shown = 0;

	pthread_mutex_lock(&mutex);
	first = next_seq > LOG_SIZE ? next_seq - LOG_SIZE : 0;
	for (uint64_t s = next_seq; s > first && shown < LOG_SHOWN; s--) {
		if (!touched(&oplog[(s - 1) % LOG_SIZE], off))
			continue;
		shown++;
		first = shown == LOG_SHOWN ? s - 1 : first;
	}
	for (uint64_t s = first; s < next_seq; s++)
		if (touched(&oplog[s % LOG_SIZE], off))
			op_print(&oplog[s % LOG_SIZE]);
	pthread_mutex_unlock(&mutex);
}
