/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ioctl(2): what QEMU asks of XFS, and the control interface of include/cachefs.h. */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/log.h"
#include "base/util.h"
#include "cachefs.h"
#include "config/rules.h"
#include "fuse/control_internal.h"
#include "fuse/dispatch.h"
#include "fuse/ops.h"
#include "fuse/session.h"
#include "supervisor/supervisor.h"

/* <xfs/xfs_fs.h>; QEMU asks it of any file to learn the alignment of direct I/O
 * (block/file-posix.c) */
struct xfs_dioattr {
	uint32_t mem, min_io, max_io;
};
#define IOC_XFS_DIOINFO _IOR('X', 30, struct xfs_dioattr)

static int do_dioinfo(const struct ioctl_call *c)
{
	struct xfs_dioattr *d = c->out;

	d->max_io = 0x7fffffff & ~4095u;
	return fs_dio_alignment(c->s->fs, c->in->fh, &d->mem, &d->min_io);
}

static int do_info(const struct ioctl_call *c)
{
	struct cachefs_info *info = c->out;

	memset(info, 0, sizeof(*info));
	info->version = CACHEFS_IOC_VERSION;
	info->pid = getpid();
	if (c->s->supervision)
		info->supervisor_pid = atomic_load(&c->s->supervision->supervisor);
	pthread_mutex_lock(&c->s->options_lock);
	options_describe(c->s->options, info->options, sizeof(info->options));
	pthread_mutex_unlock(&c->s->options_lock);
	return 0;
}

/* Those, or the file's owner. */
static bool may_flush(const struct ioctl_call *c)
{
	uint32_t uid = c->req->in->uid;
	struct statx st;

	if (is_administrator(c))
		return true;
	return !fs_getattr(c->s->fs, c->req->in->nodeid, FS_NO_HANDLE, &st) && st.stx_uid == uid;
}

static int do_flush(const struct ioctl_call *c)
{
	if (!may_flush(c))
		return -EPERM;
	if (is_root_dir(c))
		return fs_flush_all(c->s->fs);
	return c->in->flags & FUSE_IOCTL_DIR ? -ENOTTY : fs_flush_file(c->s->fs, c->in->fh);
}

/* ---- the mount's mode and rules ---- */

static int explain_switch(int err, char *error, size_t size)
{
	if (err == -EBUSY)
		snprintf(error, size,
			 "files are open on the kernel path and cannot follow into that mode: "
			 "close them, or mount with kernel-path=never");
	else if (err == -EOPNOTSUPP)
		snprintf(error, size,
			 "the backing filesystem has no direct I/O, which that mode needs: use "
			 "writeback, writethrough or unsafe");
	else if (err)
		snprintf(
		    error, size,
		    "the mode is in force, but what was written before could not be flushed: %s",
		    strerror(-err));
	return err;
}

/*
 * With options_lock held: a successor has these, too. Before they are in force as well, since who
 * is told by a signal asks nobody again.
 */
static void options_changed(struct session *s)
{
	if (s->changed)
		s->changed(s->server);
}

/* With options_lock held: RULES (consumed) are those of the options, and in force. */
static void rules_renew(struct session *s, struct rules *rules, struct fs_switched *switched)
{
	rules_unref(s->options->parsed_rules);
	s->options->parsed_rules = rules_ref(rules);
	options_changed(s);
	fs_set_rules(s->fs, rules, switched);
}

/* A mode that files could not follow into is as if it had not been asked for. */
static int switches_renew(struct session *s, struct switches before, char *error, size_t size)
{
	struct options *o = s->options;
	int err = fs_set_switches(s->fs, o->switches);

	if (err == -EBUSY || err == -EOPNOTSUPP)
		o->switches = o->mode = o->override = before;
	return explain_switch(err, error, size);
}

static int checkpoint_renew(struct session *s, char *error, size_t size)
{
	int err = fs_set_checkpoint(s->fs, s->options->checkpoint);

	if (err)
		snprintf(
		    error, size, "checkpoint=%u: %s", s->options->checkpoint,
		    err == -EOPNOTSUPP
			? "the backing filesystem has no reflinks: use XFS or btrfs, or leave "
			  "it out"
		    : err == -EBUSY
			? "another mount of the same SOURCE owns its checkpoints: unmount that "
			  "one"
			: strerror(-err));
	return err ? -EBUSY : 0;
}

/* The options are those WANTED, in force, or as they were. */
static int remount_to(struct session *s, struct options *wanted, struct rules *rules, char *error,
		      size_t size)
{
	struct options *o = s->options;
	struct switches before = o->switches;
	struct fs_switched switched;
	char undone[OPTIONS_ERROR_SIZE];
	int err = options_remount(o, wanted, error, size);

	if (err) {
		rules_unref(rules);
		return err;
	}
	options_changed(s);
	err = checkpoint_renew(s, error, size);
	if (!err)
		err = switches_renew(s, before, error, size);
	if (err == -EBUSY || err == -EOPNOTSUPP) {
		options_remount(o, wanted, undone, sizeof(undone)); /* swaps them back */
		o->switches = o->mode = o->override = before;
		checkpoint_renew(s, undone, sizeof(undone));
		rules_unref(rules);
		return err;
	}
	fs_set_flush_on_close(s->fs, o->on_close == ON_CLOSE_FLUSH);
	log_level_set(o->log_level);
	fs_set_modes_by(s->fs, o->modes_by == MODES_BY_ROOT);
	fs_set_limits(s->fs, &o->budget);
	if (rules)
		rules_renew(s, rules, &switched);
	return err;
}

/* With the lock held, so that two remounts do not mix. */
static int remount_locked(struct session *s, const char *string, char *error, size_t size)
{
	struct options wanted;
	struct rules *rules = NULL;
	int err;

	options_init(&wanted);
	err = options_parse_string(&wanted, string, error, size);
	/* bad ones change nothing, and neither does anything else here then */
	if (!err && (options_given(&wanted, OPTION_RULES) || options_given(&wanted, OPTION_RULE)))
		err = options_load_rules(s->options, &wanted, &rules, error, size);
	if (!err)
		err = remount_to(s, &wanted, rules, error, size);
	options_free(&wanted);
	return err;
}

static int do_remount(const struct ioctl_call *c)
{
	const struct cachefs_remount *arg = c->arg;
	struct cachefs_remount *out = c->out;
	char string[sizeof(arg->options)];
	int err;

	if (!is_root_dir(c))
		return -ENOTTY;
	if (!is_administrator(c))
		return -EPERM;
	memcpy(string, arg->options, sizeof(string));
	if (!memchr(string, 0, sizeof(string)))
		return -EINVAL;
	memset(out, 0, sizeof(*out));
	pthread_mutex_lock(&c->s->options_lock);
	err = remount_locked(c->s, string, out->error, sizeof(out->error));
	options_changed(c->s);
	pthread_mutex_unlock(&c->s->options_lock);
	if (!err)
		log_info("remounted with %s", string);
	return err;
}

/* With the lock held. One that kills whoever tries it is not tried for ever. */
static int reload_locked(struct session *s, struct cachefs_reload *out, struct fs_switched *n)
{
	struct rules *rules;
	int err;

	if (!supervision_reload_begin(s->supervision)) {
		snprintf(out->error, sizeof(out->error),
			 "%d processes in a row died while they read them again: see the log for "
			 "why, and try again in a minute",
			 RELOAD_SUCCESSORS + 1);
		return -EAGAIN;
	}
	err = options_load_rules(NULL, s->options, &rules, out->error, sizeof(out->error));
	if (!err) {
		out->rules = (uint32_t)rules_count(rules);
		rules_renew(s, rules, n);
	}
	supervision_reload_end(s->supervision);
	return err;
}

int control_reload(struct session *s, struct cachefs_reload *out)
{
	struct fs_switched n = {0};
	int err;

	memset(out, 0, sizeof(*out));
	pthread_mutex_lock(&s->options_lock);
	err = reload_locked(s, out, &n);
	pthread_mutex_unlock(&s->options_lock);
	out->switched = n.switched;
	out->pending = n.pending;
	out->failed = n.failed;
	if (err)
		log_error("the rules stay as they were: %s", out->error);
	else
		log_info(
		    "read %u rules again: %u open files switched, %u will when they are closed, "
		    "%u could not be flushed",
		    out->rules, n.switched, n.pending, n.failed);
	return err;
}

static int do_reload(const struct ioctl_call *c)
{
	if (!is_root_dir(c))
		return -ENOTTY;
	return is_administrator(c) ? control_reload(c->s, c->out) : -EPERM;
}

/* ---- modes ---- */

static int set_mount_mode(struct session *s, uint32_t uid, struct switches sw, char *error,
			  size_t size)
{
	struct options *o = s->options;
	struct switches before;
	int err = uid == s->owner ? 0 : fs_may_set_mode(s->fs, FUSE_ROOT_ID, uid);

	if (err)
		return err;
	pthread_mutex_lock(&s->options_lock);
	before = o->switches;
	o->switches = o->mode = o->override = sw;
	options_changed(s);
	err = switches_renew(s, before, error, size);
	options_changed(s);
	pthread_mutex_unlock(&s->options_lock);
	return err;
}

bool control_is_mount_mode(const struct request *req, const char *name)
{
	return req->in->nodeid == FUSE_ROOT_ID && !strcmp(name, CACHEFS_XATTR_NOW);
}

int control_set_mount_mode(struct request *req, const char *value, size_t size)
{
	struct switches sw;
	char error[256];

	if (mode_parse(value, size, &sw))
		return -EINVAL;
	return set_mount_mode(req->session, req->in->uid, sw, error, sizeof(error));
}

static int show_mode(const struct ioctl_call *c, struct cachefs_mode *out)
{
	struct fs_mode_shown m;
	int err = fs_mode_show(c->s->fs, c->req->in->nodeid, &m);

	if (err)
		return err;
	out->switches = switches_pack(m.switches);
	out->origin = m.origin;
	out->pending = m.pending;
	out->pending_switches = switches_pack(m.pending_switches);
	out->pending_origin = m.pending_origin;
	return 0;
}

#define MODE_CHANGES (CACHEFS_MODE_SET | CACHEFS_MODE_CLEAR)
#define MODE_FLAGS (MODE_CHANGES | CACHEFS_MODE_PERSIST | CACHEFS_MODE_PENDING_OK)
#define SWITCHES (CACHEFS_DIRECT | CACHEFS_WRITEBACK | CACHEFS_NO_FLUSH)

static int mode_request_check(const struct cachefs_mode *m)
{
	if (!all_zero(m->reserved, sizeof(m->reserved)))
		return -EINVAL;
	if (m->flags & ~(uint32_t)MODE_FLAGS || (m->flags & MODE_CHANGES) == MODE_CHANGES ||
	    (!(m->flags & MODE_CHANGES) && m->flags))
		return -EINVAL;
	if (m->flags & CACHEFS_MODE_SET &&
	    (m->switches & ~(uint32_t)SWITCHES || !switches_valid(switches_unpack(m->switches))))
		return -EINVAL;
	return 0;
}

/* Of one file's mode; what the mount's says of the kernel path and of flushes holds here too. */
static int explain_change(int err, const struct fs_mode_change *c, char *error, size_t size)
{
	if (err == -EPERM)
		snprintf(error, size,
			 "only root and the file's owner may set its mode, and with "
			 "modes-by=root only root");
	else if (err == -EOPNOTSUPP)
		snprintf(error, size,
			 "only regular files have modes, to store one takes extended attributes, "
			 "and cache.direct=on takes direct I/O of the backing filesystem");
	else if (err == -ESTALE)
		snprintf(error, size, "the file cannot be found in the backing any more");
	else if (err && err != -EBUSY && c->persist)
		snprintf(error, size,
			 "the mode could not be stored with the file, or it is in force and what "
			 "was written before could not be flushed: %s",
			 strerror(-err));
	else
		explain_switch(err, error, size);
	return err;
}

static int change_mode(const struct ioctl_call *c, const struct cachefs_mode *m, char *error,
		       size_t size)
{
	struct fs_mode_change change = {.switches = switches_unpack(m->switches),
					.clear = m->flags & CACHEFS_MODE_CLEAR,
					.persist = m->flags & CACHEFS_MODE_PERSIST,
					.in_force = true,
					.pending_ok = m->flags & CACHEFS_MODE_PENDING_OK,
					/* so that all of it is done, whatever was before */
					.again = c->req->once.resent,
					.uid = c->req->in->uid};
	int err;

	if (!is_root_dir(c)) {
		err = fs_mode_change(c->s->fs, c->req->in->nodeid, &change);
		if (err == -ENODATA && change.clear)
			err = 0; /* none was stored: as it was asked for */
		return explain_change(err, &change, error, size);
	}
	if (change.clear || change.persist)
		return -EOPNOTSUPP;
	return set_mount_mode(c->s, change.uid, change.switches, error, size);
}

static int do_mode(const struct ioctl_call *c)
{
	const struct cachefs_mode m = *(const struct cachefs_mode *)c->arg;
	struct cachefs_mode *out = c->out;
	int err = mode_request_check(&m), show;

	memset(out, 0, sizeof(*out));
	if (!err && m.flags & MODE_CHANGES)
		err = change_mode(c, &m, out->error, sizeof(out->error));
	show = err == -EINVAL ? 0 : show_mode(c, out);
	return err ? err : show;
}

static int do_handoff(const struct ioctl_call *c)
{
	struct cachefs_handoff *out = c->out;
	struct cachefs_status s;
	int err;

	if (c->in->flags & FUSE_IOCTL_DIR)
		return -ENOTTY;
	if (!may_flush(c))
		return -EPERM;
	err = fs_file_status(c->s->fs, c->in->fh, &s); /* of descriptors that it cannot tell of */
	if (!err)
		err = fs_handoff(c->s->fs, c->in->fh);
	if (!err)
		err = fs_file_status(c->s->fs, c->in->fh, &s);
	if (err)
		return err;
	*out = (struct cachefs_handoff){.cached_bytes = s.cached_bytes,
					.dirty_bytes = s.dirty_bytes,
					.writeback_bytes = s.writeback_bytes,
					.opens = s.opens,
					.writers = s.writers};
	return 0;
}

/* The kernel lets nobody have a descriptor for reading who may not read. */
static int do_status(const struct ioctl_call *c)
{
	if (c->in->flags & FUSE_IOCTL_DIR)
		return -ENOTTY;
	return fs_file_status(c->s->fs, c->in->fh, c->out);
}

static const struct {
	uint32_t cmd;
	int (*run)(const struct ioctl_call *c);
} ioctls[] = {
    {IOC_XFS_DIOINFO, do_dioinfo},
    {CACHEFS_IOC_INFO, do_info},
    {CACHEFS_IOC_FLUSH, do_flush},
    {CACHEFS_IOC_REMOUNT, do_remount},
    {CACHEFS_IOC_MODE, do_mode},
    {CACHEFS_IOC_STATUS, do_status},
    {CACHEFS_IOC_HANDOFF, do_handoff},
    {CACHEFS_IOC_RELOAD, do_reload},
    {CACHEFS_IOC_TRUST, control_trust},
    {CACHEFS_IOC_ROLLBACK, control_rollback},
    {CACHEFS_IOC_UPGRADE, control_upgrade},
};

/* The kernel has made the sizes those of the command; a malformed request may not have. */
static int run_ioctl(struct ioctl_call *c)
{
	uint32_t cmd = c->in->cmd;
	size_t size = _IOC_SIZE(cmd);

	if (fs_is_report(c->req->in->nodeid))
		return -ENOTTY;
	for (size_t i = 0; i < ARRAY_SIZE(ioctls); i++) {
		if (ioctls[i].cmd != cmd)
			continue;
		if ((_IOC_DIR(cmd) & _IOC_WRITE && (c->in->in_size < size || !c->arg)) ||
		    (_IOC_DIR(cmd) & _IOC_READ && c->in->out_size < size))
			return -EINVAL;
		return ioctls[i].run(c);
	}
	return -ENOTTY;
}

void op_ioctl(struct request *req)
{
	struct wire_reader r = wire_args(req);
	const struct fuse_ioctl_in *in = wire_take(&r, sizeof(*in));
	struct ioctl_call c = {.req = req, .s = req->session, .in = in};
	/* behind the argument, which is at most 16 KiB (_IOC_SIZEBITS) */
	struct fuse_ioctl_out *out = (void *)(req->payload + 32768);
	size_t told;
	int err;

	if (!in || in->in_size > 16384 || in->out_size > 16384) {
		reply_malformed(req);
		return;
	}
	c.arg = wire_take(&r, in->in_size);
	c.out = out + 1;
	memset(c.out, 0, in->out_size); /* sent on errors, too: never another request's data */
	err = run_ioctl(&c);
	*out = (struct fuse_ioctl_out){.result = err};
	told = _IOC_DIR(in->cmd) & _IOC_READ ? MIN((size_t)_IOC_SIZE(in->cmd), in->out_size) : 0;
	if (err == -ENOTTY || (err && _IOC_DIR(in->cmd) == _IOC_NONE))
		reply_error(req, err);
	else
		reply_data(req, out, sizeof(*out) + told);
}
