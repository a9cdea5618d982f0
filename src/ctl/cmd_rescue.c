/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * trust and rollback: what is done about a file that may have lost data when the host went down. It
 * cannot be opened, so its directory is asked.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "base/util.h"
#include "ctl/ctl.h"
#include "ctl/target.h"
#include "ctl/text.h"

/* The rest is what errno says, or complain_errno(). */
static const char *sentence_for(int err)
{
	switch (err) {
	case ENOTTY:
		return "the daemon of this mount is older than cachefsctl: mount again";
	case EINVAL:
		return "cachefs's own: give a file of yours";
	case EROFS:
		return "the backing directory is read-only: make it writable, then mount again";
	case ENOSPC:
	case EDQUOT:
		return "no space is left in the backing directory: nothing has changed; make room";
	case EOPNOTSUPP:
		return "the backing filesystem has no file handles, so there is no way for a "
		       "single file: trust the mount point";
	case EFBIG:
		return "too many files were trusted one by one: trust the mount point";
	default:
		return NULL;
	}
}

/* ---- trust ---- */

static int trust_file(const char *path)
{
	_cleanup_free_ char *name = text_escape(path);
	struct cachefs_trust trust = {0};
	struct target t;
	int code = target_open_parent(&t, path, trust.name);

	if (!code && ioctl(t.fd, CACHEFS_IOC_TRUST, &trust) < 0)
		code = complain_errno(path, "not trusted", errno, sentence_for(errno));
	else if (!code)
		printf("%s: trusted as it is\n", name);
	target_close(&t);
	return code;
}

static int trust_mount(const char *path)
{
	_cleanup_free_ char *name = text_escape(path);
	const struct cachefs_trust trust = {0};
	struct target t;
	int code = target_open(&t, path);

	if (!code && ioctl(t.fd, CACHEFS_IOC_TRUST, &trust) < 0)
		code = complain_errno(
		    path, "not trusted", errno,
		    errno == ENOTTY  ? "not the root of its mount: give the mount point, or a file"
		    : errno == EPERM ? "only root and who mounted may: give a file of yours"
				     : sentence_for(errno));
	else if (!code)
		printf("%s: all files of the mount are trusted as they are\n", name);
	target_close(&t);
	return code;
}

int cmd_trust(const struct ctl_args *a)
{
	const char *path = a->words[0];
	struct stat st;

	/* what cannot be looked at is complained of as a file */
	return stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? trust_mount(path) : trust_file(path);
}

/* ---- rollback ---- */

static const char *sentence_for_rollback(int err)
{
	switch (err) {
	case ENOENT:
		return "there is no checkpoint of it: take a backup, or cachefsctl trust; for the "
		       "next time there is checkpoint= (mount.cachefs(8))";
	case EBUSY:
		return "it is open, or its last close is still being flushed, or another mount of "
		       "the same directory owns its checkpoints: close it (cachefsctl status says "
		       "who has it open), wait, or use the other mount";
	case EMLINK:
		return "it has other names (hard links), which would go on leading to the harmed "
		       "file: remove them first";
	default:
		return sentence_for(err);
	}
}

/* "2026-11-21 07:39:31 +0100 (12 minutes ago)", to be freed. */
static char *when(time_t taken, time_t now)
{
	char age[TEXT_SMALL], local[64] = "?";
	struct tm tm;

	if (localtime_r(&taken, &tm))
		strftime(local, sizeof(local), "%Y-%m-%d %H:%M:%S %z", &tm);
	if (taken > now)
		return text_format("%s (in the future: the clock was set back)", local);
	return text_format("%s (%s ago)", local, text_age((uint64_t)(now - taken), age));
}

/* KEPT in the directory of PATH, as that was given; to be freed. */
static char *beside(const char *path, const char *kept)
{
	_cleanup_free_ char *real = realpath(path, NULL);
	_cleanup_free_ char *all = NULL;
	const char *slash = strrchr(real ? real : path, '/');
	int directory = slash ? (int)(slash - (real ? real : path)) + 1 : 0;

	all = text_format("%.*s%s", directory, real ? real : path, kept);
	return text_escape(all);
}

static void print_rollback(const char *path, struct cachefs_rollback *r)
{
	_cleanup_free_ char *name = text_escape(path);
	_cleanup_free_ char *taken = when((time_t)r->taken_s, time(NULL));
	_cleanup_free_ char *kept = NULL;
	char own[TEXT_SMALL];

	if (r->flags & CACHEFS_ROLLBACK_DRY_RUN) {
		/* where it would be kept is told by the time of a rollback, which this is not */
		printf("%s: can be put back to its checkpoint of %s; the file that is there would "
		       "be kept beside it\n",
		       name, taken);
		if (r->own_bytes != CACHEFS_UNKNOWN)
			printf("%s: the checkpoint takes %s that the file does not share\n", name,
			       text_bytes(r->own_bytes, own));
		return;
	}
	r->kept[sizeof(r->kept) - 1] = '\0';
	kept = beside(path, r->kept);
	printf("%s: put back to its checkpoint of %s; the file that was there is %s\n", name, taken,
	       kept);
}

int cmd_rollback(const struct ctl_args *a)
{
	struct cachefs_rollback r = {0};
	bool dry_run = a->options & CTL_OPT_DRY_RUN;
	struct target t;
	int code = target_open_parent(&t, a->words[0], r.name);

	if (dry_run)
		r.flags = CACHEFS_ROLLBACK_DRY_RUN;
	if (!code && ioctl(t.fd, CACHEFS_IOC_ROLLBACK, &r) < 0)
		code = complain_errno(t.path, dry_run ? "cannot be put back" : "not put back",
				      errno, sentence_for_rollback(errno));
	else if (!code)
		print_rollback(t.path, &r);
	target_close(&t);
	return code;
}
