/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A mount from its start to its end: the parts are made, joined, and undone in the reverse order.
 */
#include "server.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/cap.h"
#include "base/log.h"
#include "base/util.h"
#include "cachefs.h"
#include "config/rules.h"
#include "durability/private_dir.h"
#include "durability/progress.h"
#include "fs/cred.h"
#include "fs/fs.h"
#include "fs/probe.h"
#include "fuse/abi.h"
#include "fuse/mount.h"
#include "fuse/session.h"
#include "observe/stats.h"
#include "observe/status.h"
#include "supervisor/daemon.h"
#include "transport/transport.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

struct server {
	struct options *options;
	bool privileged;
	int source_fd;
	struct capabilities caps;
	const struct engine *engine;
	struct mount *mount;
	struct session session;
	struct pool *pool;
	struct fs *fs;
	struct transport *transport;
	pthread_t signals;
	bool have_signals;
	atomic_bool ending;
	atomic_bool told_to_end;    /* by a signal: files may be open still */
	pthread_mutex_t shown_lock; /* shown; after session.options_lock */
	char shown[8192];	    /* the options in force, as last seen */
};

/* ---- the way to a mount that answers ---- */

static int probe(struct server *s)
{
	struct options *o = s->options;
	char mode[96];

	s->source_fd = probe_source(o->source, &s->caps.open_tree);
	if (s->source_fd < 0) {
		log_error("%s: %s: SOURCE could not be opened", o->source, strerror(-s->source_fd));
		return EXIT_MOUNT;
	}
	probe_backing(s->source_fd, s->privileged, &s->caps);
	s->caps.io_uring = loop_ring_probe() == 0;
	capabilities_mask(&s->caps, o->masked_capabilities);
	if (!s->caps.backing_direct_io && o->switches.direct) {
		mode_describe(o->switches, mode, sizeof(mode));
		log_error(
		    "%s: its filesystem has no direct I/O, which cache=%s needs: use writeback, "
		    "writethrough or unsafe, or another SOURCE",
		    o->source, mode);
		return EXIT_MOUNT;
	}
	return 0;
}

static int choose_engine(struct server *s)
{
	static const struct engine *const engines[] = {[ENGINE_URING] = &engine_uring,
						       [ENGINE_THREADS] = &engine_threads,
						       [ENGINE_NULL] = &engine_null};
	enum engine_kind kind = s->options->engine;

	if (kind == ENGINE_URING && !s->caps.io_uring) {
		log_error("engine=uring: io_uring is not permitted here (%s): use engine=auto or "
			  "allow it (kernel.io_uring_disabled, seccomp)",
			  strerror(loop_ring_probe() ? -loop_ring_probe() : EPERM));
		return EXIT_MOUNT;
	}
	if (kind == ENGINE_AUTO) {
		kind = s->caps.io_uring ? ENGINE_URING : ENGINE_THREADS;
		if (!s->caps.io_uring)
			log_info("io_uring is not permitted here: file I/O runs on threads");
	}
	s->engine = engines[kind];
	return 0;
}

static void prepare_process(void)
{
	struct rlimit r;
	int fd;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
		r.rlim_cur = r.rlim_max = MAX(r.rlim_max, 1048576u);
		if (setrlimit(RLIMIT_NOFILE, &r) < 0 && getrlimit(RLIMIT_NOFILE, &r) == 0) {
			r.rlim_cur = r.rlim_max;
			setrlimit(RLIMIT_NOFILE, &r);
		}
	}
	/* memory reclaim may have to wait for what we write */
	prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (write(fd, "-900", 4) < 0)
			log_debug("oom_score_adj stays as it is: %s", strerror(errno));
		close(fd);
	}
	signal(SIGPIPE, SIG_IGN);
	umask(0);
	if (chdir("/") < 0)
		log_debug("chdir: %s", strerror(errno));
}

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

static int backing_open(void *arg, int fd)
{
	return session_backing_open(&((struct server *)arg)->session, fd);
}

static void backing_close(void *arg, int id)
{
	session_backing_close(&((struct server *)arg)->session, id);
}

static const char *kernel_path_refusal(int err)
{
	switch (err) {
	case -EPERM:
		return "it needs root";
	case -EOPNOTSUPP:
		return "it needs Linux 6.9 with CONFIG_FUSE_PASSTHROUGH";
	case -ELOOP:
		return "the backing filesystem is stacked too deep";
	default:
		return strerror(-err);
	}
}

/* Asked once, in front of all: a file that cannot be on it is noticed at its open. */
static void find_kernel_path(struct server *s)
{
	int err = s->privileged ? 0 : -EPERM;

	if (s->options->kernel_path == KERNEL_PATH_NEVER || s->engine->null)
		return;
	if (!err && (!(s->session.flags & FUSE_PASSTHROUGH) ||
		     s->options->masked_capabilities & CAPABILITY_KERNEL_PATH))
		err = -EOPNOTSUPP;
	if (!err)
		err = probe_kernel_path(s->source_fd, backing_open, backing_close, s);
	s->caps.kernel_path = !err;
	if (err)
		log_info("kernel path: not used: %s; the daemon serves all reads and writes",
			 kernel_path_refusal(err));
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
}

static int start_fs(struct server *s)
{
	struct fs_config config = {
	    .source_fd = s->source_fd,
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
	    .backing_open = backing_open,
	    .backing_close = backing_close,
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
	s->source_fd = -1; /* the fs owns it now */
	return fs_create(&config, &s->fs);
}

/*
 * One loop a processor, and by default eight more: a loop runs what blocks itself while another one
 * is free to serve, which spares the hand-over to a pool thread. Eight writers with O_DIRECT, two
 * processors: 32 000/s with two loops, 41 000 to 47 000 with ten; buffered reads and single writers
 * do not notice.
 */
#define SPARE_LOOPS 8

static unsigned loops_wanted(const struct options *o)
{
	cpu_set_t set;

	if (o->threads)
		return o->threads;
	return SPARE_LOOPS +
	       (sched_getaffinity(0, sizeof(set), &set) ? 1 : (unsigned)CPU_COUNT(&set));
}

static int start_session(struct server *s)
{
	const struct options *o = s->options;
	/* of our own: libfuse closes its one at an unmount, and the number would become another's
	 */
	int fd = fcntl(mount_fd(s->mount), F_DUPFD_CLOEXEC, 3);
	const double forever = 1u << 30; /* seconds; the kernel knows no infinity */
	bool kernel_path = o->kernel_path != KERNEL_PATH_NEVER && s->privileged && !s->engine->null;

	s->session =
	    (struct session){.fd = fd,
			     .attr_timeout = o->exclusive ? forever : o->attr_timeout,
			     .entry_timeout = o->exclusive ? forever : o->entry_timeout,
			     .negative_timeout = o->exclusive ? forever : o->negative_timeout,
			     .cache_dirs = o->exclusive,
			     .backing_depth = kernel_path ? probe_stack_depth(s->source_fd) : -1,
			     .options_lock = PTHREAD_MUTEX_INITIALIZER,
			     .options = s->options,
			     .owner = getuid()};
	return session_init(&s->session);
}

static int start_transport(struct server *s)
{
	struct transport_config config = {.session = &s->session,
					  .loops = loops_wanted(s->options),
					  .ring = s->engine->needs_ring};

	/* before anyone can ask for it */
	options_describe(s->options, s->shown, sizeof(s->shown));
	s->session.fs = s->fs;
	s->session.pool = s->pool;
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

static int start(struct server *s)
{
	char message[512] = "out of memory";
	int code = probe(s), err;

	if (!code)
		code = choose_engine(s);
	if (code)
		return code;
	err = mount_attach(s->options, s->privileged, &s->mount, message, sizeof(message));
	if (err) {
		log_error("%s", message);
		return EXIT_MOUNT;
	}
	if (s->privileged)
		cap_drop_unneeded();
	err = start_session(s);
	if (!err) {
		find_kernel_path(s);
		err = start_fs(s);
	}
	if (!err)
		err = start_transport(s);
	if (err == -EBUSY)
		log_error("%s: another mount of it owns the sync attributes, the crash marker and "
			  "the checkpoints in its %s, which kernel-path=always, unsafe and "
			  "checkpoint need: unmount that one, or do without these",
			  s->options->source, PRIVATE_DIR);
	else if (err == -EACCES || err == -EPERM)
		log_error("%s: its %s belongs to another user, and what that says of files after a "
			  "crash cannot be known: mount as that user, or have it removed",
			  s->options->source, PRIVATE_DIR);
	else if (err == -EOPNOTSUPP && s->options->checkpoint)
		log_error("checkpoint=%u: the filesystem of %s has no reflinks: use XFS or btrfs, "
			  "or leave it out",
			  s->options->checkpoint, s->options->source);
	else if (err)
		log_error("%s could not be served at %s: %s", s->options->source,
			  s->options->mountpoint, strerror(-err));
	return exit_code(err);
}

/* ---- serving, and the end ---- */

static void log_stats(struct server *s)
{
	struct stats sum;

	fs_stats(s->fs, &sum);
	stats_log(&sum);
}

/* SIGTERM: everything flushed, the mount gone (lazily, where it is in use), then the end. */
static void *signal_thread(void *arg)
{
	struct server *s = arg;
	sigset_t set;
	int sig;

	sigfillset(&set);
	while (!atomic_load(&s->ending)) {
		if (sigwait(&set, &sig) || atomic_load(&s->ending))
			continue;
		if (sig == SIGUSR1) {
			log_stats(s);
		} else if (sig == SIGHUP) {
			struct cachefs_reload reload;

			control_reload(&s->session, &reload); /* it logs what came of it */
		} else if (sig == SIGTERM || sig == SIGINT) {
			log_info("%s: told to end by signal %d", s->options->mountpoint, sig);
			s->told_to_end = true;
			/* umount(8) does this by itself */
			if (s->privileged && mount_is_there(s->mount))
				utab_remove(s->options->mountpoint);
			mount_detach(s->mount);
			transport_stop(s->transport);
		}
	}
	return NULL;
}

static void end_signals(struct server *s)
{
	if (!s->have_signals)
		return;
	atomic_store(&s->ending, true);
	pthread_kill(s->signals, SIGUSR1);
	pthread_join(s->signals, NULL);
}

static int finish(struct server *s)
{
	struct progress *progress;
	int err = 0;

	end_signals(s);
	if (s->mount)
		mount_detach(s->mount);
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
	if (s->session.fd > 0)
		close(s->session.fd);
	transport_free(s->transport);
	mount_free(s->mount);
	cleanup_fd(&s->source_fd);
	return err == -EBUSY ? EXIT_MOUNT : err ? EXIT_SYSTEM : 0;
}

static int serve(struct server *s)
{
	struct options *o = s->options;
	char shown[8192];
	int code = start(s);

	if (code) {
		finish(s);
		return code;
	}
	mount_answers(s->mount);
	options_describe(o, shown, sizeof(shown));
	if (s->privileged && !o->no_mtab)
		utab_set(o->source, o->mountpoint, shown);
	log_info("%s at %s: %s, engine %s, %u loops", o->source, o->mountpoint, shown,
		 s->engine->name, loops_wanted(o));
	if (!o->foreground) {
		log_open("cachefs", LOG_TO_SYSLOG, o->log_level);
		daemon_ready();
	}
	s->have_signals = pthread_create(&s->signals, NULL, signal_thread, s) == 0;
	transport_wait(s->transport);
	log_stats(s);
	return finish(s);
}

int server_run(struct options *o)
{
	struct server s = {.options = o,
			   .privileged = geteuid() == 0,
			   .source_fd = -1,
			   .shown_lock = PTHREAD_MUTEX_INITIALIZER};
	sigset_t all;
	int err;

	if (!o->foreground && (err = daemon_fork())) {
		log_error("no process for the mount: %s", strerror(-err));
		return EXIT_SYSTEM;
	}
	sigfillset(&all); /* before any thread: all of them leave signals to signal_thread() */
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	prepare_process();
	return serve(&s);
}
