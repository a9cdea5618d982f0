/* SPDX-License-Identifier: GPL-2.0-or-later */
/* top: looks again and again, and shows the difference. */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"
#include "ctl/ctl.h"
#include "ctl/rates.h"
#include "ctl/sample.h"
#include "ctl/term.h"
#include "ctl/text.h"

struct top {
	struct sample_source source;
	struct report before, now;
	enum rate_column sorted;
	bool reverse, batch;
	int signals;
	unsigned long looks;
};

static void print_title(const struct top *t)
{
	time_t now = time(NULL);
	struct tm tm;
	char clock[16];

	localtime_r(&now, &tm);
	strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	printf("cachefsctl top - %s, %zu files%s\n", clock, t->now.files_count,
	       t->batch ? "" : "  (s: sort, r: reverse, q: quit)");
}

static void show(const struct top *t)
{
	size_t height = term_height(), count;
	struct rate_row *rows = rates(t->looks > 1 ? &t->before : NULL, &t->now, &count);
	struct table *table;

	rates_sort(rows, count, t->sorted, t->reverse);
	table = rates_table(rows, count, t->sorted);
	if (!t->batch)
		fputs("\033[H\033[2J", stdout);
	print_title(t);
	/* the title, the table's own, and the line of the cursor */
	table_print(table, stdout, term_width(),
		    t->batch	 ? 0
		    : height > 4 ? height - 3
				 : 1,
		    term_colours());
	fflush(stdout);
	table_free(table);
	free(rows);
}

static int look(struct top *t)
{
	struct report next;
	int code = sample_take(&t->source, &next);

	if (code)
		return code;
	report_free(&t->before);
	t->before = t->now;
	t->now = next;
	t->looks++;
	return CTL_OK;
}

/* False: the user has seen enough. */
static bool key(struct top *t, char c)
{
	if (c == 's')
		t->sorted = (t->sorted + 1) % RATE_COLUMNS_COUNT;
	else if (c == 'r')
		t->reverse = !t->reverse;
	else if (c == 'q' || c == 'Q' || c == 4 /* ^D */)
		return false;
	show(t);
	return true;
}

/* Keys and sizes until the next look is due. False: the end. */
static bool wait_for_next(struct top *t, double delay)
{
	uint64_t due = clock_nsec() + (uint64_t)(delay * 1e9), now;

	while ((now = clock_nsec()) < due) {
		char c = 0;

		switch (term_wait(t->signals, !t->batch, due - now, &c)) {
		case TERM_END:
			return false;
		case TERM_KEY:
			if (!key(t, c))
				return false;
			break;
		case TERM_RESIZED:
			if (!t->batch)
				show(t);
			break;
		case TERM_TIMEOUT:
			break;
		}
	}
	return true;
}

static int run(struct top *t, const struct ctl_args *a)
{
	int code;

	for (;;) {
		code = look(t);
		if (code)
			return code;
		show(t);
		if (ferror(stdout) || (a->count && t->looks == a->count))
			return CTL_OK;
		if (!wait_for_next(t, a->delay))
			return CTL_OK;
	}
}

static int begin(struct top *t)
{
	int err;

	/* a reader that has gone, head(1) say, is an end like another */
	signal(SIGPIPE, SIG_IGN);
	t->signals = term_signals();
	if (t->signals < 0)
		return complain_errno("top", "signals", -t->signals, NULL);
	err = t->batch ? 0 : screen_begin();
	if (!err)
		return CTL_OK;
	complain("top", "standard input and output are no terminal: give -b for plain lines");
	return CTL_FAILED;
}

int cmd_top(const struct ctl_args *a)
{
	struct top t = {
	    .sorted = RATE_COLUMN_WRITE_BYTES, .batch = a->options & CTL_OPT_BATCH, .signals = -1};
	int code = sample_open(&t.source, a->words_count ? a->words[0] : NULL);

	/* what can fail at once fails before the screen is taken */
	if (!code)
		code = sample_take(&t.source, &t.before);
	report_free(&t.before);
	if (!code)
		code = begin(&t);
	if (!code)
		code = run(&t, a);
	screen_end();
	report_free(&t.before);
	report_free(&t.now);
	sample_close(&t.source);
	cleanup_fd(&t.signals);
	return code;
}
