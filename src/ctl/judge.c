/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/judge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "ctl/text.h"

const struct finding_text finding_texts[FINDINGS_COUNT] = {
#define TEXT_(id, name, means, advice) {name, means, advice},
    FINDINGS(TEXT_)
#undef TEXT_
};

void findings_add(struct findings *f, enum finding_id id, char *seen)
{
	f->list = need_memory(realloc(f->list, (f->count + 1) * sizeof(*f->list)));
	f->list[f->count++] = (struct finding){id, seen};
}

void findings_free(struct findings *f)
{
	for (size_t i = 0; i < f->count; i++)
		free(f->list[i].seen);
	free(f->list);
	*f = (struct findings){0};
}

/* Of what is not known nothing is concluded. */
static bool some(uint64_t n)
{
	return n > 0 && n != CACHEFS_UNKNOWN;
}

/* On the kernel path the daemon sees no writes, but the page cache does. */
static bool wrote(const struct file_status *f)
{
	return some(f->write_bytes) ||
	       (f->kernel_path == 1 && some(f->writers) && some(f->dirty_bytes));
}

static bool any_client_has(const struct file_status *f, const char *flag)
{
	for (size_t i = 0; i < f->clients_count; i++)
		if (strstr(f->clients[i].flags, flag))
			return true;
	return false;
}

static bool writes_synchronously(const struct file_status *f)
{
	return some(f->opens_sync) || any_client_has(f, "O_SYNC") || any_client_has(f, "O_DSYNC");
}

/*
 * Every client that writes waits for stable storage by itself. By the clients, not by opens_total:
 * opens of readers, ours too, are in that.
 */
static bool only_synchronous(const struct file_status *f)
{
	size_t writers = 0;

	if (f->clients_total != f->clients_count)
		return false;
	for (size_t i = 0; i < f->clients_count; i++) {
		const char *flags = f->clients[i].flags;

		if (strstr(flags, "O_RDONLY"))
			continue;
		if (!strstr(flags, "O_SYNC") && !strstr(flags, "O_DSYNC"))
			return false;
		writers++;
	}
	return writers > 0;
}

static bool never_flushes(const struct file_status *f)
{
	return f->switches >= 0 && f->switches & CACHEFS_WRITEBACK &&
	       !(f->switches & CACHEFS_NO_FLUSH) && wrote(f) && f->flushes_received == 0 &&
	       !writes_synchronously(f);
}

int effective_switches(const struct file_status *f, const char **why)
{
	*why = NULL;
	if (f->switches < 0)
		return -1;
	if (never_flushes(f)) {
		*why = "the client writes and never flushes";
		return f->switches | CACHEFS_NO_FLUSH;
	}
	if (f->switches & CACHEFS_WRITEBACK && !(f->switches & CACHEFS_NO_FLUSH) &&
	    only_synchronous(f)) {
		*why = "the client opens it with O_SYNC or O_DSYNC";
		return f->switches & ~CACHEFS_WRITEBACK;
	}
	return f->switches;
}

static void judge_clients(const struct evidence *e, struct findings *out)
{
	const struct file_status *f = e->after;
	bool cached = f->switches >= 0 && !(f->switches & CACHEFS_DIRECT);
	char text[TEXT_SMALL];

	if (never_flushes(f))
		findings_add(
		    out, FINDING_NEVER_FLUSHES,
		    some(f->write_bytes)
			? text_format("%s written, and no flush since it was opened",
				      text_bytes(f->write_bytes, text))
			: text_format("%s dirty, and no flush since it was opened (what was "
				      "written is not counted on the kernel path; it may be older)",
				      text_bytes(f->dirty_bytes, text)));
	if (cached && (some(f->opens_direct) || any_client_has(f, "O_DIRECT")))
		findings_add(out, FINDING_DIRECT_CACHED,
			     text_format("opened with O_DIRECT, under a mode that uses the page "
					 "cache"));
	if (cached && e->client_io)
		findings_add(out, FINDING_AIO_CACHED,
			     text_format("%s has %s, under a mode that uses the page cache",
					 e->client ? e->client : "a client",
					 e->client_io & CLIENT_AIO
					     ? "a ring of Linux AIO (aio=native)"
					     : "an io_uring"));
}

/*
 * The share of the time that each writer spent in flushes from which the device is the limit. A
 * flush counts when it has ended, so a busy device may seem to lack one in the time of the looks.
 */
#define FLUSH_SHARE 0.7
/* What may come and go without meaning anything. */
#define DIRTY_STEP (1 << 20)

static void judge_rates(const struct evidence *e, struct findings *out)
{
	const struct file_status *a = e->before, *b = e->after;
	char now[TEXT_SMALL], per[TEXT_SMALL];
	double share;

	if (!a || e->seconds <= 0)
		return;
	share = (b->flush_seconds - a->flush_seconds) / e->seconds /
		(double)(some(b->writers) ? b->writers : 1);
	if (share > FLUSH_SHARE) /* false for NAN */
		findings_add(
		    out, FINDING_FLUSH_RATE,
		    text_format("%.0f flushes/s take %.0f %% of each writer's time",
				(double)(b->flushes_honoured - a->flushes_honoured) / e->seconds,
				100 * MIN(share, 1.0)));
	if (a->dirty_bytes != CACHEFS_UNKNOWN && some(b->dirty_bytes) &&
	    b->dirty_bytes > a->dirty_bytes + DIRTY_STEP)
		findings_add(
		    out, FINDING_DIRTY_GROWS,
		    text_format("%s dirty, %s more each second", text_bytes(b->dirty_bytes, now),
				text_bytes((uint64_t)((double)(b->dirty_bytes - a->dirty_bytes) /
						      e->seconds),
					   per)));
}

/* Under cached modes alignment costs nothing. Below one in a hundred it does not matter. */
static void judge_alignment(const struct file_status *f, struct findings *out)
{
	double msec = 0;

	if (f->switches < 0 || !(f->switches & CACHEFS_DIRECT) || !some(f->unaligned_writes) ||
	    !some(f->writes) || (double)f->unaligned_writes < 0.01 * (double)f->writes)
		return;
	if (some(f->rmw_writes) && some(f->rmw_nsec))
		msec = (double)f->rmw_nsec / (double)f->rmw_writes / 1e6;
	findings_add(
	    out, FINDING_UNALIGNED,
	    text_format("%.0f %% of the writes (%llu) are not aligned to %llu bytes; %llu "
			"were done as read-modify-write, %.3f ms each",
			100.0 * MIN((double)f->unaligned_writes / (double)f->writes, 1.0),
			(unsigned long long)f->unaligned_writes,
			(unsigned long long)(some(f->direct_align) ? f->direct_align : 512),
			(unsigned long long)(some(f->rmw_writes) ? f->rmw_writes : 0), msec));
}

static void judge_state(const struct file_status *f, struct findings *out)
{
	char mode[MODE_TEXT];

	if (f->error)
		findings_add(out, FINDING_FLUSH_FAILED,
			     text_format("a flush failed: %s", f->error));
	if (f->tainted == 1)
		findings_add(out, FINDING_TAINTED,
			     text_format("unflushed when the host went down"));
	if (f->pending)
		findings_add(
		    out, FINDING_PENDING,
		    text_format("%s is pending", switches_text(f->pending_switches, mode)));
}

void judge(const struct evidence *e, struct findings *out)
{
	judge_state(e->after, out);
	judge_clients(e, out);
	judge_rates(e, out);
	judge_alignment(e->after, out);
}
