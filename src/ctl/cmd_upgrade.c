/* SPDX-License-Identifier: GPL-2.0-or-later */
/* upgrade: the mount is served by the newly installed program. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "base/util.h"
#include "ctl/ctl.h"
#include "ctl/target.h"
#include "ctl/text.h"

#define WAIT_NSEC UINT64_C(60000000000)

static const char *sentence_for(int err)
{
	switch (err) {
	case ENOTTY:
		return "not the root of a mount whose daemon knows upgrades: give the mount "
		       "point, or mount anew";
	case EOPNOTSUPP:
		return "mounted with recover=off, or on a kernel before Linux 6.9: unmount, and "
		       "mount anew";
	case EPERM:
		return "only root and who mounted may";
	default:
		return NULL;
	}
}

/* Why the program that served before goes on, or NULL: ERR says it. */
static const char *sentence_for_return(int err)
{
	switch (err) {
	case 0:
		return "it died meanwhile: try again";
	case EPROTO:
		return "the installed one took over and could not serve: see the log, and install "
		       "another";
	case EOWNERDEAD:
		return "the installed one ended or hung when it took over: see the log, and "
		       "install another";
	default:
		return NULL;
	}
}

/* The process that serves for good, once it is another one than BEFORE's; 0, or an errno. */
static int wait_for_successor(const struct target *t, const struct cachefs_upgrade *before,
			      struct cachefs_upgrade *now)
{
	const struct timespec pause = {.tv_nsec = 2000000};
	uint64_t until = clock_nsec() + WAIT_NSEC;

	do {
		nanosleep(&pause, NULL);
		*now = (struct cachefs_upgrade){.flags = CACHEFS_UPGRADE_LOOK};
		if (ioctl(t->fd, CACHEFS_IOC_UPGRADE, now) < 0)
			return errno;
		/* its first answer may come before it is sure that it can go on */
		if (now->pid != before->pid && now->last_error != EINPROGRESS)
			return 0;
	} while (clock_nsec() < until);
	return ETIMEDOUT;
}

static int upgrade(const struct target *t)
{
	_cleanup_free_ char *name = text_escape(t->path);
	struct cachefs_upgrade asked = {0}, now;
	int err;

	if (ioctl(t->fd, CACHEFS_IOC_UPGRADE, &asked) < 0)
		return complain_errno(t->path, "not upgraded", errno,
				      *asked.error ? asked.error : sentence_for(errno));
	err = wait_for_successor(t, &asked, &now);
	if (err)
		return complain_errno(t->path, "the upgrade began, and did not end", err,
				      err == ETIMEDOUT
					  ? "a request is in progress for long: look again later"
					  : NULL);
	if (now.upgrades == asked.upgrades)
		return complain_errno(t->path, "not upgraded, the old program goes on",
				      (int)now.last_error,
				      sentence_for_return((int)now.last_error));
	printf("%s: %s serves, process %u\n", name, asked.version, now.pid);
	return CTL_OK;
}

int cmd_upgrade(const struct ctl_args *a)
{
	struct target t;
	int code = target_open(&t, a->words[0]);

	if (!code)
		code = upgrade(&t);
	target_close(&t);
	return code;
}
