/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs/cred.h"

#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/cap.h"
#include "fs/internal.h"

#define GROUPS_MAX 256 /* beyond it, membership is not seen: never more rights, only fewer */

void cred_thread_init(void)
{
	unshare(CLONE_FS); /* umask(2) is shared between threads otherwise */
	umask(0);
}

/* "Groups:" of /proc/PID/status; the caller waits for our answer, so it is still there. */
static size_t read_groups(pid_t pid, gid_t *groups)
{
	char path[32], *line = NULL;
	size_t n = 0, size = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	while (getline(&line, &size, f) > 0) {
		char *p = line + strlen("Groups:"), *end;

		if (strncmp(line, "Groups:", strlen("Groups:")) != 0)
			continue;
		while (n < GROUPS_MAX) {
			unsigned long g = strtoul(p, &end, 10);

			if (end == p)
				break;
			groups[n++] = (gid_t)g;
			p = end;
		}
		break;
	}
	free(line);
	fclose(f);
	return n;
}

static bool setgid_dir(int dir_fd)
{
	struct stat st;

	return fstat(dir_fd, &st) == 0 && (st.st_mode & S_ISGID);
}

static int assume_groups(const struct fs_caller *c, int dir_fd, enum cred_rights rights)
{
	gid_t groups[GROUPS_MAX];
	size_t n = 0;

	if (rights == CRED_CALLER || (!c->group_known && setgid_dir(dir_fd)))
		n = read_groups(c->pid, groups);
	else if (c->group_known)
		groups[n++] = c->group;
	/* glibc's setgroups() would change every thread of the process */
	return sysret((int)syscall(SYS_setgroups, n, groups));
}

/* setfsuid(2) and setfsgid(2) say what was, not whether they did it; -1 changes nothing. */
static bool became(const struct fs_caller *c)
{
	return (uid_t)syscall(SYS_setfsuid, -1) == c->uid &&
	       (gid_t)syscall(SYS_setfsgid, -1) == c->gid;
}

struct cred cred_assume(struct fs *fs, const struct fs_caller *c, int dir_fd,
			enum cred_rights rights)
{
	struct cred cred = {0};

	umask(c->umask);
	cap_thread_fsetid(
	    true); /* root may set sgid for any group; others lose it by setfsuid(2) */
	if (!fs->config.privileged || (c->uid == 0 && c->gid == 0))
		return cred;
	cred.assumed = true;
	cred.error = assume_groups(c, dir_fd, rights);
	syscall(SYS_setfsgid, c->gid);
	syscall(SYS_setfsuid, c->uid);
	if (!became(c))
		cred.error = -EPERM;
	if (rights == CRED_OVERRIDE)
		cap_thread_raise(1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH |
				 1u << CAP_MKNOD);
	return cred;
}

/* What the kernel takes from a thread whose filesystem uid stops being 0 (CAP_FS_SET). */
#define FS_CAPS                                                                                    \
	(1u << CAP_CHOWN | 1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH | 1u << CAP_FOWNER | \
	 1u << CAP_FSETID | 1u << CAP_LINUX_IMMUTABLE | 1u << CAP_MKNOD)

void fs_thread_allocator(const struct fs *fs, uid_t uid)
{
	static _Thread_local uid_t current; /* 0: as the thread was made */

	if (uid == current || !fs->config.privileged || uid == (uid_t)-1)
		return;
	syscall(SYS_setfsuid, uid);
	if (!current)
		cap_thread_raise(FS_CAPS);
	if (!current || !uid)
		cap_thread_fsetid_changed();
	current = uid;
}

void cred_restore(struct cred *c)
{
	int saved = errno;

	if (!c->assumed)
		return;
	c->assumed = false;
	syscall(SYS_setfsuid, 0);
	syscall(SYS_setfsgid, 0);
	syscall(SYS_setgroups, 0, NULL);
	cap_thread_fsetid_changed();
	errno = saved;
}
