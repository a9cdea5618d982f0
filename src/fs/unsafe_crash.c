/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files whose flushes were dropped when the host went down, or the process. */
#include <string.h>

#include "base/log.h"
#include "fs/internal.h"
#include "fs/unsafe_internal.h"

bool unsafe_tainted(const struct fs *fs)
{
	const struct unsafe *u = fs->unsafe;

	if (atomic_load(&u->refuse_all))
		return true;
	return !atomic_load(&u->trust_all) && u->met_tainted && marker_tainted(u->marker);
}

void unsafe_concern(const struct node *n, const char *path, struct concerned *out)
{
	*out = (struct concerned){.kind = MARKER_FILE, .text = path};
	node_file_id(n, &out->id);
}

int unsafe_check(struct fs *fs, struct node *n)
{
	_cleanup_path_ struct path_fd p = PATH_FD_NONE;
	_cleanup_free_ char *paths = NULL;
	struct file_id id;
	struct statx st;
	int err;

	if (!unsafe_tainted(fs))
		return 0;
	if (atomic_load(&fs->unsafe->refuse_all))
		return -EUCLEAN;
	node_file_id(n, &id);
	paths = node_paths(fs, n);
	err = path_fd_get(fs, n, &p);
	if (!err)
		err = fs_statx_fd(p.fd, &st);
	if (!err && marker_concerns(fs->unsafe->marker, &id, paths, &st))
		err = -EUCLEAN;
	return err;
}

static void warn_tainted(struct unsafe *u)
{
	char what[512];

	marker_describe(u->marker, what, sizeof(what));
	log_warn("the host went down while flushes were dropped: %s may have lost data. Opening "
		 "them fails (EUCLEAN) until you put them back to their last checkpoint "
		 "(cachefsctl rollback), say that they are good (cachefsctl trust), or mount with "
		 "after-crash=rollback or after-crash=trust",
		 what);
}

static bool rollback_concerned(void *arg, int fd, const char *path)
{
	struct unsafe *u = arg;
	_cleanup_free_ char *paths = calloc(1, strlen(path) + 2); /* a list of one */
	struct file_id id;
	struct statx st;

	if (!paths || !file_id_of(fd, &id) || fs_statx_fd(fd, &st))
		return false;
	strcpy(paths, path);
	/* what is there now gets a name beside it that no pattern may match */
	return marker_concerns(u->marker, &id, paths, &st) &&
	       !marker_keep(u->marker, &id, paths, &st, NULL);
}

static void rollback_done(void *arg, const char *path, int err, const struct fs_rollback *r)
{
	struct unsafe *u = arg;

	if (!err)
		err = marker_trust_file(u->marker, &r->id, path);
	if (err)
		log_error("%s: it could not be put back to its checkpoint: %s", path,
			  strerror(-err));
	else
		log_warn("%s: put back to its checkpoint; the file that was there is %s beside it",
			 path, r->kept);
}

static void rollback_all(struct unsafe *u)
{
	unsigned n =
	    checkpointer_rollback_all(u->fs->checkpointer, rollback_concerned, rollback_done, u);

	log_warn("after-crash=rollback: %u files were put back; those without a checkpoint stay "
		 "refused",
		 n);
}

/*
 * A process died, but not the host: what it wrote is in the page cache still. Where the marker
 * cannot be written, the mount goes on all the same: who uses SOURCE without it would meet nothing
 * that refuses.
 */
static void resolve_same_boot(struct unsafe *u, enum marker_found *found)
{
	int err = fs_sync_backing(u->fs), gone;

	if (*found == MARKER_SAME_BOOT)
		log_warn("an earlier process ended without flushing: %s",
			 err ? strerror(-err) : "flushed now, nothing is lost");
	gone = marker_resolve(u->marker, -err);
	*found = marker_tainted(u->marker) ? MARKER_TAINTED : MARKER_CLEAN;
	if (!gone || !err)
		return; /* what stays there is flushed again by the next mount */
	atomic_store(&u->refuse_all, true);
	unsafe_note(u);
	log_warn("what it wrote may be lost, and that could not be written to the crash marker: "
		 "%s: opening any file fails (EUCLEAN) until you trust the mount (cachefsctl "
		 "trust), or mount again when the disk works",
		 strerror(-gone));
}

static void trust_after_crash(struct unsafe *u)
{
	char what[512];
	int err;

	marker_describe(u->marker, what, sizeof(what));
	log_warn("the host went down while flushes were dropped: %s may have lost data, and is "
		 "trusted all the same (after-crash=trust)",
		 what);
	err = marker_trust_all(u->marker);
	if (!err)
		return;
	atomic_store(&u->trust_all, true);
	unsafe_note(u);
	log_warn("the crash marker could not be changed: %s: the next mount will ask again",
		 strerror(-err));
}

void unsafe_note(struct unsafe *u)
{
	const struct {
		bool is;
		unsigned flag;
	} all[] = {{u->met, OWES_UNSAFE_MET},
		   {u->met_tainted, OWES_UNSAFE_MET_TAINTED},
		   {atomic_load(&u->refuse_all), OWES_UNSAFE_REFUSE_ALL},
		   {atomic_load(&u->trust_all), OWES_UNSAFE_TRUST_ALL},
		   {u->failed, OWES_UNSAFE_FAILED},
		   {u->untold, OWES_UNSAFE_UNTOLD}};
	unsigned flags = 0;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		flags |= all[i].is ? all[i].flag : 0;
	atomic_store(&u->fs->owes->failed_files, u->failed_files);
	atomic_store(&u->fs->owes->unsafe, flags);
}

static void recall(struct unsafe *u, unsigned flags)
{
	u->met = true;
	u->met_tainted = flags & OWES_UNSAFE_MET_TAINTED;
	atomic_store(&u->refuse_all, flags & OWES_UNSAFE_REFUSE_ALL);
	atomic_store(&u->trust_all, flags & OWES_UNSAFE_TRUST_ALL);
	u->failed = flags & OWES_UNSAFE_FAILED;
	u->untold = flags & OWES_UNSAFE_UNTOLD;
	u->failed_files = atomic_load(&u->fs->owes->failed_files);
}

int unsafe_meet_again(struct unsafe *u, enum marker_found found)
{
	unsigned flags = atomic_load(&u->fs->owes->unsafe);

	if (!(flags & OWES_UNSAFE_MET)) /* nothing was served before */
		return unsafe_meet(u, found);
	recall(u, flags);
	return marker_adopt(u->marker);
}

static void meet_tainted(struct unsafe *u)
{
	int err;

	u->met_tainted = true;
	if (u->fs->config.rollback_after_crash)
		rollback_all(u);
	err = marker_seen(u->marker);
	if (err)
		log_warn("the crash marker could not be changed: %s: files made from now on count "
			 "as harmed, too",
			 strerror(-err));
	warn_tainted(u);
}

int unsafe_meet(struct unsafe *u, enum marker_found found)
{
	if (found != MARKER_CLEAN)
		resolve_same_boot(u, &found);
	if (found == MARKER_TAINTED && u->fs->config.trust_after_crash)
		trust_after_crash(u);
	else if (found == MARKER_TAINTED)
		meet_tainted(u);
	u->met = true;
	unsafe_note(u);
	return 0;
}

int unsafe_trust_id(struct fs *fs, const struct file_id *id, const char *name)
{
	return marker_tainted(fs->unsafe->marker) ? marker_trust_file(fs->unsafe->marker, id, name)
						  : 0;
}

int unsafe_trust(struct fs *fs, int fd, const char *name)
{
	struct file_id id;

	return file_id_of(fd, &id) ? unsafe_trust_id(fs, &id, name) : -EOPNOTSUPP;
}

void unsafe_forgiven(struct fs *fs)
{
	struct unsafe *u = fs->unsafe;

	pthread_mutex_lock(&u->lock);
	u->failed_files -= u->failed_files > 0;
	unsafe_note(u);
	pthread_cond_broadcast(&u->changed);
	pthread_mutex_unlock(&u->lock);
}

int unsafe_trust_all(struct fs *fs)
{
	struct unsafe *u = fs->unsafe;
	int err;

	pthread_mutex_lock(&u->lock);
	u->failed = u->untold = false;
	u->failed_files = 0;
	unsafe_note(u);
	pthread_cond_broadcast(&u->changed);
	pthread_mutex_unlock(&u->lock);
	err = atomic_load(&u->refuse_all) ? marker_resolve(u->marker, 0) : 0;
	if (!err)
		err = marker_trust_all(u->marker);
	if (err)
		return err;
	pthread_mutex_lock(&u->lock);
	atomic_store(&u->refuse_all, false);
	unsafe_note(u);
	pthread_mutex_unlock(&u->lock);
	return 0;
}
