/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backing inode's sync attribute (FS_SYNC_FL, chattr +S) makes every write through it
 * synchronous, the kernel path's included (ext4, XFS, btrfs). It outlives us, so each use of it is
 * recorded first, durably, in the backing directory's own .cachefs/sync-attr/: what a process that
 * died left set is found and cleared by the next mount. A file that had the attribute before us is
 * left alone.
 */
#ifndef CACHEFS_DURABILITY_SYNC_ATTR_H
#define CACHEFS_DURABILITY_SYNC_ATTR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct private_dir;
struct sync_attr;

/* Names of files whose attribute is relied on still, although whoever set it is gone. */
struct sync_attr_kept {
	uint64_t *names;
	size_t count;
};

/*
 * OWN: of the backing directory ROOT_FD (readable); both borrowed until sync_attr_destroy(). With
 * NEEDED the attribute will be used, and we become the owner until then: the errors of
 * private_dir_own(), -EBUSY where another daemon is it, -EROFS on a read-only backing. Without,
 * what was left behind is cleared if there is any and nobody owns it: 0, and *OUT is NULL. KEPT
 * (NULL: none) says what is not to be cleared: it is as if we had set it.
 */
int sync_attr_create(struct private_dir *own, int root_fd, bool needed,
		     const struct sync_attr_kept *kept, struct sync_attr **out);
void sync_attr_destroy(struct sync_attr *s);

/*
 * Sets it on the file of PATH_FD (any descriptor of it) / clears what was set. The caller counts
 * the users of a file and sets and clears once. NAME: chosen by the caller, the same for both. Both
 * block. Set: 1 when it had the attribute already (do not clear it), 0, or a negative errno
 * (-EOPNOTSUPP: a filesystem without it).
 */
int sync_attr_set(struct sync_attr *s, int fd, uint64_t name);
int sync_attr_clear(struct sync_attr *s, int fd, uint64_t name);

#endif
