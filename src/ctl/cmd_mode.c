/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mode: shown, or switched live. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/util.h"
#include "config/mode.h"
#include "config/suggest.h"
#include "ctl/ctl.h"
#include "ctl/file_status.h"
#include "ctl/report.h"
#include "ctl/target.h"
#include "ctl/text.h"

static const char *origin_name(uint32_t origin)
{
	static const char *const names[] = {
#define ORIGIN_(id, value, name) [value] = name,
	    CACHEFS_ORIGINS(ORIGIN_)
#undef ORIGIN_
	};

	return origin < ARRAY_SIZE(names) ? names[origin] : "-";
}

static int usage(const char *what, const char *why)
{
	complain(what, "%s: see cachefsctl mode --help", why);
	return CTL_USAGE;
}

static int unknown_mode(const char *text)
{
	size_t word = strcspn(text, ", \t");
	struct suggestion s;

	suggest_begin(&s, text, word);
	for (size_t i = 0; i < cache_modes_count; i++)
		suggest_offer(&s, cache_modes[i].name);
	/* a name that is right has something wrong behind it */
	if (s.best && (strlen(s.best) != word || strncmp(s.best, text, word) != 0))
		complain(text, "no such mode: is \"%s\" meant?", s.best);
	else
		complain(text,
			 "no such mode: give writethrough, writeback, none, directsync or unsafe, "
			 "with cache.direct=, cache.writeback= or cache.no-flush=on|off behind it; "
			 "writeback=off with no-flush=on contradicts itself");
	return CTL_USAGE;
}

/* The arguments as what the ioctl takes. CTL_OK or CTL_USAGE after a complaint. */
static int wanted(const struct ctl_args *a, struct cachefs_mode *m)
{
	const char *text = a->words_count > 1 ? a->words[1] : NULL;
	struct switches sw;

	*m = (struct cachefs_mode){0};
	if (text && a->options & CTL_OPT_CLEAR)
		return usage(text, "--clear takes a setting back, and no MODE");
	if (a->options & CTL_OPT_CLEAR)
		m->flags = CACHEFS_MODE_CLEAR;
	else if (text && mode_parse(text, strlen(text), &sw))
		return unknown_mode(text);
	else if (text) {
		m->flags = CACHEFS_MODE_SET;
		m->switches = switches_pack(sw);
	} else if (a->options & CTL_OPT_PERSIST)
		return usage("--persist", "MODE or --clear is missing");
	if (a->options & CTL_OPT_PERSIST)
		m->flags |= CACHEFS_MODE_PERSIST;
	return CTL_OK;
}

static void print_in_force(const struct cachefs_mode *m)
{
	char mode[MODE_TEXT];

	printf("%s (%s)\n", switches_text((int)(m->switches & 7), mode), origin_name(m->origin));
}

/* Why the mode is pending, and who has to close the file. */
static void print_pending(const struct target *t, const struct cachefs_mode *m)
{
	char mode[MODE_TEXT];
	struct file_status f;

	printf("pending: %s (%s), when all have closed the file: an open on the kernel path keeps "
	       "the mode that it was made in\n",
	       switches_text((int)(m->pending_switches & 7), mode), origin_name(m->pending_origin));
	if (file_status_read(&f, t))
		return;
	print_clients(&f, stdout);
	file_status_free(&f);
}

/* ASKED: the flags of the request; the daemon's answer has none. */
static int complain_mode(const struct target *t, struct cachefs_mode *m, unsigned asked, int err)
{
	const char *sentence = NULL;

	m->error[sizeof(m->error) - 1] = '\0';
	if (*m->error)
		sentence = m->error;
	else if (err == EOPNOTSUPP && target_is_file(t))
		sentence = "the backing filesystem cannot: direct modes need direct I/O, --persist "
			   "needs extended attributes";
	else if (err == EOPNOTSUPP && asked & (CACHEFS_MODE_CLEAR | CACHEFS_MODE_PERSIST))
		sentence =
		    "--persist and --clear are for files: give one, or a mount point and MODE "
		    "alone";
	else if (err == EOPNOTSUPP)
		sentence = "a directory has no mode: give a file, or the mount point";
	else if (err == EBUSY)
		sentence = "an open file cannot follow: close it first, or mount with "
			   "kernel-path=never";
	else if (err == ENOTTY)
		sentence = "the daemon of this mount is older than cachefsctl: mount again";
	return complain_errno(t->path, asked ? "mode not changed" : "mode not known", err,
			      sentence);
}

static int run(const struct target *t, struct cachefs_mode *m)
{
	const unsigned asked = m->flags;

	/* the mount's mode has no pending: there it is EBUSY */
	if (asked && target_is_file(t))
		m->flags |= CACHEFS_MODE_PENDING_OK;
	if (ioctl(t->fd, CACHEFS_IOC_MODE, m) < 0)
		return complain_mode(t, m, asked, errno);
	print_in_force(m);
	if (!m->pending)
		return CTL_OK;
	print_pending(t, m);
	return asked ? CTL_REFUSED : CTL_OK;
}

int cmd_mode(const struct ctl_args *a)
{
	struct cachefs_mode m;
	struct target t;
	int code = wanted(a, &m);

	if (code)
		return code;
	code = target_open(&t, a->words[0]);
	if (!code)
		code = run(&t, &m);
	target_close(&t);
	return code;
}
