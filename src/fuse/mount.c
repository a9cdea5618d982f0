/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuse/mount.h"

#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/unserved.h"
#include "base/util.h"

extern char **environ;

#ifndef STATX_MNT_ID_UNIQUE /* Linux 6.8 */
#define STATX_MNT_ID_UNIQUE 0x4000U
#endif

struct mount {
	struct fuse_session *session; /* NULL: adopted */
	int device_fd;		      /* of an adopted one; borrowed */
	char *source, *mountpoint;
	uint64_t id; /* of the mount (STATX_MNT_ID), to unmount this one and no other */
	bool attached;
};

/* Asks no filesystem: ours may have nobody to answer any more. */
uint64_t mount_at(const char *mountpoint)
{
	const int flags = AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT;
	struct statx st;

	if (statx(AT_FDCWD, mountpoint, flags, STATX_MNT_ID_UNIQUE, &st) == 0 &&
	    st.stx_mask & STATX_MNT_ID_UNIQUE)
		return st.stx_mnt_id;
	/* one that may be another's when ours is gone */
	if (statx(AT_FDCWD, mountpoint, flags, STATX_MNT_ID, &st) < 0 ||
	    !(st.stx_mask & STATX_MNT_ID))
		return 0;
	return st.stx_mnt_id;
}

/* Flags that libfuse knows by these names; the others are set after the mount. */
static const struct {
	unsigned long flag;
	const char *set, *clear;
} flag_names[] = {
    {MS_RDONLY, "ro", "rw"},	       {MS_NOSUID, "nosuid", "suid"},
    {MS_NODEV, "nodev", "dev"},	       {MS_NOEXEC, "noexec", "exec"},
    {MS_SYNCHRONOUS, "sync", "async"}, {MS_DIRSYNC, "dirsync", NULL},
    {MS_NOATIME, "noatime", "atime"},
};
#define LATER_FLAGS (MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME)

static int add_option(struct fuse_args *args, const char *name, const char *value)
{
	_cleanup_free_ char *option = NULL;
	char *escaped = NULL;
	int err = 0;

	/* a comma or a backslash in a value is escaped for libfuse's own parser */
	if (asprintf(&option, "%s%s%s", name, value ? "=" : "", value ? value : "") < 0)
		return -ENOMEM;
	if (fuse_opt_add_arg(args, "-o"))
		return -ENOMEM;
	if (value ? fuse_opt_add_opt_escaped(&escaped, option) : !(escaped = strdup(option)))
		err = -ENOMEM;
	if (!err && fuse_opt_add_arg(args, escaped))
		err = -ENOMEM;
	free(escaped);
	return err;
}

static int add_flags(struct fuse_args *args, const struct options *o, bool privileged)
{
	/* as for other filesystems, root's mounts have devices and suid unless told otherwise */
	unsigned long clear = o->ms_clear | (privileged ? (MS_NOSUID | MS_NODEV) & ~o->ms_set : 0);
	int err = 0;

	for (size_t i = 0; !err && i < ARRAY_SIZE(flag_names); i++) {
		if (o->ms_set & flag_names[i].flag)
			err = add_option(args, flag_names[i].set, NULL);
		else if (clear & flag_names[i].flag && flag_names[i].clear &&
			 flag_names[i].flag != MS_NOATIME)
			err = add_option(args, flag_names[i].clear, NULL);
	}
	return err;
}

static int build_args(struct fuse_args *args, const struct options *o, bool privileged)
{
	char security[4096];
	int err = fuse_opt_add_arg(args, "cachefs") ? -ENOMEM : 0;

	if (!err)
		err = add_option(args, "fsname", o->source);
	if (!err)
		err = add_option(args, "subtype", "cachefs");
	if (!err)
		err = add_option(args, "default_permissions", NULL);
	if (!err && privileged)
		err = add_option(args, "allow_other", NULL);
	if (!err)
		err = add_flags(args, o, privileged);
	options_security_data(o, security, sizeof(security));
	if (!err && *security && (fuse_opt_add_arg(args, "-o") || fuse_opt_add_arg(args, security)))
		err = -ENOMEM;
	return err;
}

/* What libfuse and fusermount3 print belongs into our one line: stderr is a file meanwhile. */
struct captured {
	int file, saved;
};

static struct captured capture_begin(void)
{
	struct captured c = {memfd_create("cachefs-stderr", MFD_CLOEXEC), -1};

	fflush(stderr);
	if (c.file >= 0) {
		c.saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
		dup2(c.file, STDERR_FILENO);
	}
	return c;
}

static void capture_end(struct captured *c, char *line, size_t size)
{
	ssize_t n = 0;

	fflush(stderr);
	if (c->saved >= 0) {
		dup2(c->saved, STDERR_FILENO);
		close(c->saved);
	}
	if (c->file >= 0) {
		n = pread(c->file, line, size - 1, 0);
		close(c->file);
	}
	line[MAX(n, 0)] = '\0';
	line[strcspn(line, "\n")] = '\0';
}

static int check_device(char *err, size_t errsize)
{
	_cleanup_fd_ int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	int code = -errno;

	if (fd >= 0)
		return 0;
	snprintf(err, errsize, "/dev/fuse: %s: %s", strerror(-code),
		 code == -ENOENT || code == -ENODEV ? "load the module with 'modprobe fuse'"
						    : "ask the administrator for access to it");
	return code;
}

static int apply_later_flags(const struct options *o)
{
	unsigned long want = o->ms_set & LATER_FLAGS;

	return want ? mount_change_flags(o) : 0;
}

static int attach(struct mount *m, const struct options *o, bool privileged, char *line,
		  size_t size)
{
	static const struct fuse_lowlevel_ops none; /* requests never pass through libfuse */
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct captured c = capture_begin();
	int err = build_args(&args, o, privileged);

	if (!err) {
		m->session = fuse_session_new(&args, &none, sizeof(none), NULL);
		err = m->session ? 0 : -EINVAL;
	}
	if (!err && fuse_session_mount(m->session, m->mountpoint))
		err = errno ? -errno : -EIO;
	m->attached = !err;
	fuse_opt_free_args(&args);
	capture_end(&c, line, size);
	return err;
}

int mount_attach(const struct options *o, bool privileged, struct mount **out, char *err,
		 size_t errsize)
{
	struct mount *m = calloc(1, sizeof(*m));
	char line[256] = "";
	int code;

	if (!m)
		return -ENOMEM;
	m->source = strdup(o->source);
	m->mountpoint = strdup(o->mountpoint);
	code = m->source && m->mountpoint ? check_device(err, errsize) : -ENOMEM;
	if (!code) {
		code = attach(m, o, privileged, line, sizeof(line));
		if (code)
			snprintf(err, errsize, "%s could not be mounted at %s: %s", o->source,
				 o->mountpoint, *line ? line : strerror(-code));
	}
	if (!code && apply_later_flags(o))
		log_warn("%s: the kernel refused some of the mount flags", o->mountpoint);
	if (code) {
		mount_free(m);
		return code;
	}
	*out = m;
	return 0;
}

int mount_adopt(const char *mountpoint, uint64_t id, int device_fd, struct mount **out)
{
	struct mount *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->mountpoint = strdup(mountpoint);
	if (!m->mountpoint) {
		free(m);
		return -ENOMEM;
	}
	m->id = id;
	m->device_fd = device_fd;
	m->attached = true;
	*out = m;
	return 0;
}

uint64_t mount_identity(const struct mount *m)
{
	return m->id;
}

int mount_fd(const struct mount *m)
{
	return m->session ? fuse_session_fd(m->session) : m->device_fd;
}

void mount_answers(struct mount *m)
{
	m->id = mount_at(m->mountpoint);
}

bool mount_is_there(const struct mount *m)
{
	return m->attached && (!m->id || mount_at(m->mountpoint) == m->id);
}

/* Nobody has the mount any more: libfuse sees that too, and only gives up what it holds. */
static bool connection_ended(const struct mount *m)
{
	struct pollfd p = {.fd = mount_fd(m), .events = 0};

	return poll(&p, 1, 0) == 1 && p.revents & POLLERR;
}

/* What libfuse does for a mount of its own. */
static void unmount_lazily(char *mountpoint)
{
	char *argv[] = {"fusermount3", "-u", "-z", "-q", "--", mountpoint, NULL};
	pid_t pid;

	if (geteuid() == 0) {
		if (umount2(mountpoint, MNT_DETACH) < 0)
			log_warn("%s: could not be unmounted: %s", mountpoint, strerror(errno));
		return;
	}
	if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ) == 0)
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
}

void mount_detach(struct mount *m)
{
	if (m->attached && !m->session) {
		if (!connection_ended(m) && mount_is_there(m))
			unmount_lazily(m->mountpoint);
	} else if (m->attached && (mount_is_there(m) || connection_ended(m))) {
		fuse_session_unmount(m->session);
	}
	m->attached = false;
}

void mount_free(struct mount *m)
{
	if (!m)
		return;
	mount_detach(m);
	if (m->session)
		fuse_session_destroy(m->session);
	free(m->source);
	free(m->mountpoint);
	free(m);
}

bool mount_detach_left(const char *source, const char *mountpoint, uint64_t before)
{
	struct mount_entry e;
	bool left;

	if (mount_at(mountpoint) == before || mount_of(mountpoint, &e))
		return false;
	left = !strcmp(e.source, source) && unserved(mountpoint);
	if (left)
		unmount_lazily(e.point);
	mount_entry_free(&e);
	return left;
}

int mount_change_flags(const struct options *o)
{
	static const struct {
		unsigned long st, ms;
	} map[] = {{ST_RDONLY, MS_RDONLY},
		   {ST_NOSUID, MS_NOSUID},
		   {ST_NODEV, MS_NODEV},
		   {ST_NOEXEC, MS_NOEXEC},
		   {ST_SYNCHRONOUS, MS_SYNCHRONOUS},
		   {ST_NOATIME, MS_NOATIME},
		   {ST_NODIRATIME, MS_NODIRATIME},
		   {ST_RELATIME, MS_RELATIME}};
	struct statvfs st;
	unsigned long now = 0, want;

	if (statvfs(o->mountpoint, &st) < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(map); i++)
		now |= st.f_flag & map[i].st ? map[i].ms : 0;
	if (o->ms_set & (MS_NOATIME | MS_RELATIME | MS_STRICTATIME))
		now &= ~(unsigned long)(MS_NOATIME | MS_RELATIME | MS_STRICTATIME);
	want = (now | o->ms_set) & ~o->ms_clear;
	return want == now ? 0 : sysret(mount(NULL, o->mountpoint, NULL, MS_REMOUNT | want, NULL));
}
