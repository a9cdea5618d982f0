/* SPDX-License-Identifier: GPL-2.0-or-later */
/* flush and reload: one ioctl each. */
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "base/util.h"
#include "ctl/ctl.h"
#include "ctl/target.h"
#include "ctl/text.h"

/* ENOTTY, of a descriptor that answered INFO. */
static const char *sentence_for(const struct target *t, int err)
{
	if (err != ENOTTY)
		return NULL;
	return target_is_file(t) ? "the daemon of this mount is older than cachefsctl: mount again"
				 : "not the root of its mount: give the mount point, or a file";
}

static int flush(const char *path)
{
	struct target t;
	int code = target_open(&t, path);

	if (!code && ioctl(t.fd, CACHEFS_IOC_FLUSH) < 0)
		code = complain_errno(path, "not flushed", errno, sentence_for(&t, errno));
	target_close(&t);
	return code;
}

int cmd_flush(const struct ctl_args *a)
{
	int worst = CTL_OK;

	for (int i = 0; i < a->words_count; i++) {
		int code = flush(a->words[i]);

		worst = MAX(worst, code);
	}
	return worst;
}

static int print_reload(const char *path, const struct cachefs_reload *r)
{
	_cleanup_free_ char *name = text_escape(path);

	printf("%s: %u rules; %u open files switched", name, r->rules, r->switched);
	printf(r->pending ? ", %u pending until they are closed\n" : "\n", r->pending);
	if (r->failed) {
		complain(path,
			 "%u open files are in their new mode, but what was written before could "
			 "not be flushed: see cachefsctl status %s",
			 r->failed, path);
		return CTL_FAILED;
	}
	return r->pending ? CTL_REFUSED : CTL_OK;
}

int cmd_reload(const struct ctl_args *a)
{
	struct cachefs_reload r = {0};
	struct target t;
	int code = target_open(&t, a->words[0]);

	if (!code && ioctl(t.fd, CACHEFS_IOC_RELOAD, &r) < 0) {
		int err = errno;

		r.error[sizeof(r.error) - 1] = '\0';
		code = complain_errno(t.path, "not reloaded", err,
				      *r.error ? r.error
				      : target_is_file(&t) && err == ENOTTY
					  ? "a file: give the mount point"
					  : sentence_for(&t, err));
	} else if (!code)
		code = print_reload(t.path, &r);
	target_close(&t);
	return code;
}
