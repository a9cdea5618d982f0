/* SPDX-License-Identifier: GPL-2.0-or-later */
/* handoff: what a migration or a storage snapshot needs of the source host. */
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "base/util.h"
#include "ctl/ctl.h"
#include "ctl/report.h"
#include "ctl/target.h"
#include "ctl/text.h"

static bool left(uint64_t bytes)
{
	return bytes != 0 && bytes != CACHEFS_UNKNOWN;
}

static void print_left(const char *name, const struct cachefs_handoff *h)
{
	char cached[TEXT_SMALL], dirty[TEXT_SMALL], under[TEXT_SMALL];

	printf("%s: flushed, but left: %s cached, %s dirty, %s under write-back\n", name,
	       text_bytes(h->cached_bytes, cached), text_bytes(h->dirty_bytes, dirty),
	       text_bytes(h->writeback_bytes, under));
}

/* Who keeps it there. */
static void print_why(const struct target *t, const struct cachefs_handoff *h)
{
	struct file_status f;

	if (h->writers)
		printf("  opens left: %u, of these for writing: %u: pause or stop the guest, then "
		       "hand "
		       "off again\n",
		       h->opens, h->writers);
	else if (h->opens)
		printf(
		    "  opens left, for reading: %u: pages come back by reads, mappings keep them; "
		    "close the file, then hand off again\n",
		    h->opens);
	else
		printf("  not open on this mount: mapped or locked in memory (mlock), or read or "
		       "written in the backing directory itself\n");
	if (file_status_read(&f, t))
		return;
	print_clients(&f, stdout);
	file_status_free(&f);
}

static int hand_off(const char *path)
{
	_cleanup_free_ char *name = text_escape(path);
	struct cachefs_handoff h = {0};
	struct target t;
	int code = target_open(&t, path);

	if (code == CTL_OK && !target_is_file(&t)) {
		complain(path, "a directory: give the files to hand off");
		code = CTL_FAILED;
	} else if (code == CTL_OK && ioctl(t.fd, CACHEFS_IOC_HANDOFF, &h) < 0)
		code = complain_errno(path, "not handed off, nothing was dropped", errno,
				      errno == ENOTTY ? "the daemon of this mount is older than "
							"cachefsctl: mount again"
						      : NULL);
	else if (code == CTL_OK &&
		 (left(h.cached_bytes) || left(h.dirty_bytes) || left(h.writeback_bytes))) {
		print_left(name, &h);
		print_why(&t, &h);
		code = CTL_REFUSED;
	} else if (code == CTL_OK && h.cached_bytes == CACHEFS_UNKNOWN) {
		complain(path, "flushed and dropped, but what is left cannot be known: that needs "
			       "cachestat(2), Linux 6.5");
		code = CTL_FAILED;
	} else if (code == CTL_OK) {
		printf("%s: flushed; nothing cached\n", name);
		if (h.writers)
			printf("  opens left, for writing: %u: what is written from now on is "
			       "not handed off\n",
			       h.writers);
	}
	target_close(&t);
	return code;
}

int cmd_handoff(const struct ctl_args *a)
{
	int worst = CTL_OK;

	for (int i = 0; i < a->words_count; i++) {
		int code = hand_off(a->words[i]);

		worst = MAX(worst, code);
	}
	return worst;
}
