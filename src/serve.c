/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Serving a mount: the parts are made, joined, and undone in the reverse order. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "config/rules.h"
#include "durability/private_dir.h"
#include "durability/progress.h"
#include "fs/cred.h"
#include "fs/shared.h"
#include "fuse/mount.h"
#include "handover.h"
#include "observe/stats.h"
#include "observe/status.h"
#include "server_internal.h"
#include "settings.h"
#include "supervisor/journal.h"
#include "supervisor/supervisor.h"
#include "transport/transport.h"

#define DRAIN_NSEC UINT64_C(1000000000) /* for requests in progress, at an upgrade */

static void invalidate(void *arg, uint64_t id, int64_t off, int64_t len)
{
	struct server *s = arg;

	session_invalidate(&s->session, id, off, len);
}

static void invalidate_entry(void *arg, uint64_t parent, const char *name)
{
	struct server *s = arg;

	session_invalidate_entry(&s->session, parent, name);
}

static void pool_thread_init(enum lane lane)
{
	if (lane == LANE_META)
		cred_thread_init();
}

static void describe_supervision(struct supervision *v, struct status_mount *m)
{
	const struct obituary *o = &v->obituary;

	m->recover = true;
	m->supervisor_pid = atomic_load(&v->supervisor);
	m->worker_restarts = atomic_load(&v->restarts);
	m->upgrades = atomic_load(&v->upgrades);
	m->requests_resent = atomic_load(&v->resent_sum);
	m->last_death = (struct status_death){.pid = o->pid,
					      .signal = o->signal,
					      .exit_status = o->status,
					      .hung = o->hung,
					      .at = o->when,
					      .pause_nsec = o->pause_usec * UINT64_C(1000)};
}

/* Never waits for a remount, which may wait for a slow disk: until it is over it is not in force.
 */
static void describe(void *arg, struct status_mount *m)
{
	struct server *s = arg;
	struct options *o = s->options;

	if (!pthread_mutex_trylock(&s->session.options_lock)) {
		pthread_mutex_lock(&s->shown_lock);
		options_describe(o, s->shown, sizeof(s->shown));
		pthread_mutex_unlock(&s->shown_lock);
		pthread_mutex_unlock(&s->session.options_lock);
	}
	pthread_mutex_lock(&s->shown_lock);
	memcpy(m->options, s->shown, sizeof(m->options));
	pthread_mutex_unlock(&s->shown_lock);
	m->version = PACKAGE_VERSION;
	m->source = o->source; /* as the others, the same until the end */
	m->mountpoint = o->mountpoint;
	m->transport = "dev";
	m->engine = s->engine->name;
	m->worker_pid = getpid();
	if (s->supervision)
		describe_supervision(s->supervision, m);
}

static int start_fs(struct server *s, bool resumed)
{
	struct fs_config config = {
	    /* each worker has its own */
	    .source_fd = fcntl(s->source_fd, F_DUPFD_CLOEXEC, 3),
	    .shared = s->shared,
	    .resumed = resumed,
	    .witness = s->supervision != NULL,
	    .switches = s->options->switches,
	    .rules = rules_ref(s->options->parsed_rules),
	    .limits = s->options->budget,
	    .flush_on_close = s->options->on_close == ON_CLOSE_FLUSH,
	    .trust_after_crash = s->options->after_crash == AFTER_CRASH_TRUST,
	    .rollback_after_crash = s->options->after_crash == AFTER_CRASH_ROLLBACK,
	    .checkpoint = s->options->checkpoint,
	    .modes_by_root = s->options->modes_by == MODES_BY_ROOT,
	    .caps = s->caps,
	    .engine = s->engine,
	    .privileged = s->privileged,
	    .kernel_path = s->options->kernel_path,
	    .backing_open = server_backing_open,
	    .backing_close = server_backing_close,
	    .backing_arg = s,
	    .page_timeout = s->options->exclusive ? -1 : s->options->attr_timeout,
	    .invalidate = invalidate,
	    .invalidate_entry = invalidate_entry,
	    .invalidate_arg = s,
	    .describe = describe,
	    .describe_arg = s};
	int err = pool_create(&s->pool, pool_thread_init);

	if (err)
		return err;
	config.pool = s->pool;
	return fs_create(&config, &s->fs);
}

static void settings_changed(void *arg)
{
	struct server *s = arg;

	settings_save(s->settings, s->options);
}

static int begin_upgrade(void *arg, char *version, size_t version_size, char *error,
			 size_t error_size)
{
	struct server *s = arg;
	int err;

	if (s->options->namespace) {
		/* what has the program's name there is somebody else's */
		snprintf(error, error_size,
			 "mounted in another mount namespace (-N): unmount, and mount anew");
		return -EPROTO;
	}
	if (tasks_wait_for_storage()) {
		snprintf(error, error_size,
			 "a request waits for storage, and all others would have to wait with it: "
			 "try again later");
		return -EBUSY;
	}
	err = handover_check(s, s->program, version, version_size, error, error_size);
	if (err)
		return err;
	log_info("%s: %s (%s) takes over", s->options->mountpoint, s->program, version);
	return worker_ask_upgrade(s->supervisor);
}

static int start_transport(struct server *s)
{
	struct transport_config config = {.session = &s->session,
					  .loops = s->loops,
					  .fds = s->device_fds,
					  .ring = s->engine->needs_ring,
					  .resident = s->supervisor != NULL};

	/* before anyone can ask for it */
	options_describe(s->options, s->shown, sizeof(s->shown));
	s->session.fs = s->fs;
	s->session.pool = s->pool;
	if (s->supervisor)
		s->session.journal = s->shared->journal;
	s->session.changed = settings_changed;
	s->session.upgrade = begin_upgrade;
	s->session.server = s;
	return transport_dev_start(&config, &s->transport);
}

/* What the backing refuses is no error of the system. */
static int exit_code(int err)
{
	switch (err) {
	case 0:
		return 0;
	case -EBUSY:
	case -EOPNOTSUPP:
	case -EACCES:
	case -EPERM:
		return EXIT_MOUNT;
	default:
		return EXIT_SYSTEM;
	}
}

static void explain_start(const struct server *s, int err)
{
	const struct options *o = s->options;

	if (err == -EBUSY)
		log_error("%s: another mount of it owns the sync attributes, the crash marker and "
			  "the checkpoints in its %s, which kernel-path=always, unsafe and "
			  "checkpoint need: unmount that one, or do without these",
			  o->source, PRIVATE_DIR);
	else if (err == -EACCES || err == -EPERM)
		log_error("%s: its %s belongs to another user, and what that says of files after a "
			  "crash cannot be known: mount as that user, or have it removed",
			  o->source, PRIVATE_DIR);
	else if (err == -EOPNOTSUPP && o->checkpoint)
		log_error("checkpoint=%u: the filesystem of %s has no reflinks: use XFS or btrfs, "
			  "or leave it out",
			  o->checkpoint, o->source);
	else if (err)
		log_error("%s could not be served at %s: %s", o->source, o->mountpoint,
			  strerror(-err));
}

static int start(struct server *s, bool resumed)
{
	int err = resumed ? journal_resume(s->shared->journal) : 0;

	if (!err)
		err = start_fs(s, resumed);
	if (!err && resumed)
		err = session_resend(&s->session);
	/* the mount went while nobody served: the loops notice that as well, and all is flushed */
	if (!err || err == -ENODEV || err == -ENOTCONN)
		err = start_transport(s);
	explain_start(s, err);
	return exit_code(err);
}

/* ---- serving, and the end ---- */

static void log_stats(struct server *s)
{
	struct stats sum;

	fs_stats(s->fs, &sum);
	stats_log(&sum);
}

/*
 * Everything flushed, the mount gone (lazily, where it is in use), then the end. Until that,
 * clients with open files get the error that they will get afterwards: a thread of ours in a
 * notification may wait for a page that one of them has locked for a request.
 */
static void stop_serving(struct server *s)
{
	int err;

	if (atomic_exchange(&s->told_to_end, true))
		return;
	if (s->supervision)
		atomic_store(&s->supervision->told_to_end, true);
	server_unmount(s);
	err = refuser_start(&s->refuser, &s->session, s->device_fds[1], -ENOTCONN);
	if (err)
		log_warn("%s: requests that still come wait until the end: %s",
			 s->options->mountpoint, strerror(-err));
	transport_stop(s->transport);
}

static void told(struct server *s, int sig)
{
	if (sig == SIGUSR1) {
		log_stats(s);
		return;
	}
	log_info("%s: told to end by signal %d", s->options->mountpoint, sig);
	stop_serving(s);
}

static int finish(struct server *s)
{
	struct progress *progress;
	int err = 0;

	if (s->supervision)
		atomic_store(&s->supervision->ending, true);
	server_end_signals(s);
	worker_end(s->supervisor);
	server_leave_mount(s);
	progress = progress_begin(s->options->mountpoint);
	if (s->fs)
		fs_stop(s->fs);
	pool_destroy(s->pool); /* what was taken on is done to its end */
	if (s->fs)
		err = fs_finish(s->fs, s->told_to_end);
	progress_end(progress);
	if (err)
		log_error("%s: flushing what was written failed: %s: data was lost",
			  s->options->source, strerror(-err));
	fs_destroy(s->fs);
	refuser_stop(&s->refuser);
	transport_free(s->transport);
	return err == -EBUSY ? EXIT_MOUNT : err ? EXIT_SYSTEM : 0;
}

/* ---- what the supervisor asks ---- */

static void tell_health(void *arg, struct health *h)
{
	struct server *s = arg;

	transport_count(s->transport, &h->answered, &h->waiting);
	h->idle = transport_idle(s->transport) && pool_idle(s->pool) && !fs_holds_up(s->fs);
}

/*
 * As if it had been killed, but at a moment when no request is in progress. One that still is after
 * a while comes again to the successor.
 */
static void hand_over(void *arg)
{
	struct server *s = arg;
	uint64_t until;

	if (!server_leave_signals(s))
		return; /* it ends by itself */
	until = clock_nsec() + DRAIN_NSEC;
	atomic_store(&s->handing_over, true);
	if (transport_stop_within(s->transport, DRAIN_NSEC))
		while (!pool_idle(s->pool) && clock_nsec() < until)
			usleep(200);
	server_keep_pending_signals(s);
	atomic_store(&s->supervision->handover, true);
	_exit(0);
}

static void orphaned(void *arg)
{
	struct server *s = arg;

	log_warn("%s: the supervisor is gone: all is flushed, and the mount ends",
		 s->options->mountpoint);
	stop_serving(s);
}

static void kick(void *arg)
{
	transport_kick(((struct server *)arg)->transport);
}

static void log_resent(void *arg)
{
	struct server *s = arg;
	uint64_t n = atomic_load(&s->session.resent);

	if (n)
		log_info("%s: %llu requests came again", s->options->mountpoint,
			 (unsigned long long)n);
}

static void log_obituary(struct server *s)
{
	struct obituary *o = &s->supervision->obituary;
	const char *by = o->signal ? "signal" : "exit status";

	if (!o->died)
		return;
	o->pause_usec = (uint32_t)MIN((clock_nsec() - o->died) / 1000, UINT32_MAX);
	o->died = 0; /* told */
	log_warn("%s: process %d, which served, %s by %s %d; process %d goes on after "
		 "%u ms",
		 s->options->mountpoint, o->pid, o->hung ? "hung and was ended" : "ended", by,
		 o->signal ? o->signal : o->status, getpid(), o->pause_usec / 1000);
}

static int report_for_duty(struct server *s, bool resumed)
{
	struct worker_calls calls = {.health = tell_health,
				     .hand_over = hand_over,
				     .orphaned = orphaned,
				     .settled = log_resent,
				     .kick = kick,
				     .arg = s};

	if (!s->options->foreground)
		log_open("cachefs", LOG_TO_SYSLOG, s->options->log_level);
	if (resumed)
		log_obituary(s);
	return worker_ready(s->supervisor, &calls, resumed);
}

static int serve(struct server *s, bool resumed)
{
	int code = start(s, resumed), err = 0;

	/* who took over has promises to keep that only another successor could */
	if (code && !resumed)
		finish(s);
	if (code)
		return code;
	server_begin_signals(s, told);
	if (s->supervisor)
		err = report_for_duty(s, resumed);
	else
		server_ready(s);
	if (err)
		log_error("%s: no thread for the supervisor's questions: %s",
			  s->options->mountpoint, strerror(-err));
	if (err && resumed)
		_exit(EXIT_SYSTEM); /* see above: as if it had been killed */
	if (err || (s->supervision && atomic_load(&s->supervision->told_to_end)))
		stop_serving(s);
	transport_wait(s->transport);
	while (atomic_load(&s->handing_over))
		pause(); /* the process ends elsewhere */
	log_stats(s);
	return finish(s);
}

int server_serve(struct server *s, bool resumed)
{
	if (s->supervisor)
		worker_begin(s->supervisor);
	if (resumed) {
		server_close_leftovers(s);
		if (settings_load(s->settings, s->options))
			return EXIT_SYSTEM;
		log_level_set(s->options->log_level);
	}
	if (s->supervision)
		atomic_store(&s->supervision->swept, true);
	return serve(s, resumed);
}
