/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A mount from its start to its end. What is made in front (the mount itself, what was found out
 * about the system, memory and descriptors) outlives whoever serves it: serve.c.
 */
#include "server.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/cap.h"
#include "base/log.h"
#include "base/util.h"
#include "fs/probe.h"
#include "fs/shared.h"
#include "fuse/abi.h"
#include "fuse/mount.h"
#include "fuse/refuse.h"
#include "handover.h"
#include "process.h"
#include "server_internal.h"
#include "settings.h"
#include "supervisor/daemon.h"
#include "supervisor/guardian.h"
#include "supervisor/supervisor.h"
#include "transport/transport.h"

/* ---- the way to a mount that can be served ---- */

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

int server_backing_open(void *arg, int fd)
{
	return session_backing_open(&((struct server *)arg)->session, fd);
}

void server_backing_close(void *arg, int id)
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
		err = probe_kernel_path(s->source_fd, server_backing_open, server_backing_close, s);
	s->caps.kernel_path = !err;
	if (err)
		log_info("kernel path: not used: %s; the daemon serves all reads and writes",
			 kernel_path_refusal(err));
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

/* What the options say of a session; its descriptor and what was negotiated are not touched. */
static void fill_session(struct server *s)
{
	const struct options *o = s->options;
	const double forever = 1u << 30; /* seconds; the kernel knows no infinity */
	struct session *session = &s->session;

	session->attr_timeout = o->exclusive ? forever : o->attr_timeout;
	session->entry_timeout = o->exclusive ? forever : o->entry_timeout;
	session->negative_timeout = o->exclusive ? forever : o->negative_timeout;
	session->options = s->options;
	pthread_mutex_init(&session->options_lock, NULL);
}

static int start_session(struct server *s)
{
	const struct options *o = s->options;
	bool kernel_path = o->kernel_path != KERNEL_PATH_NEVER && s->privileged && !s->engine->null;

	/* of our own: libfuse closes its one at an unmount, and the number would become another's
	 */
	s->session.fd = fcntl(mount_fd(s->mount), F_DUPFD_CLOEXEC, 3);
	s->session.backing_depth = kernel_path ? probe_stack_depth(s->source_fd) : -1;
	s->session.owner = getuid();
	fill_session(s);
	return session_init(&s->session);
}

static int attach(struct server *s)
{
	char message[512] = "out of memory";

	if (mount_attach(s->options, s->privileged, &s->mount, message, sizeof(message))) {
		log_error("%s", message);
		return EXIT_MOUNT;
	}
	if (s->privileged)
		cap_drop_unneeded();
	return 0;
}

/* What is to outlive whoever serves. */
static int make_lasting(struct server *s)
{
	int err = fs_shared_create(&s->shared);

	if (!err)
		err = settings_create(&s->settings);
	if (err)
		return err;
	settings_save(s->settings, s->options);
	s->loops = loops_wanted(s->options);
	s->device_fds = calloc(TRANSPORT_FDS * s->loops, sizeof(int));
	if (!s->device_fds)
		return -ENOMEM;
	err = transport_dev_open(&s->session, s->loops, s->device_fds);
	if (err) {
		free(s->device_fds);
		s->device_fds = NULL;
	}
	return err;
}

static int prepare(struct server *s)
{
	int code = probe(s), err;

	if (!code)
		code = choose_engine(s);
	if (!code)
		code = attach(s);
	if (code)
		return code;
	err = start_session(s);
	if (!err) {
		mount_answers(s->mount);
		s->caps.resend = s->session.flags & FUSE_HAS_RESEND &&
				 !(s->options->masked_capabilities & CAPABILITY_RESEND);
		find_kernel_path(s);
		err = make_lasting(s);
	}
	if (err)
		log_error("%s could not be served at %s: %s", s->options->source,
			  s->options->mountpoint, strerror(-err));
	return err ? EXIT_SYSTEM : 0;
}

/* ---- with a supervisor ---- */

static int work(void *arg, bool resumed)
{
	return server_serve(arg, resumed);
}

void server_ready(struct server *s)
{
	struct options *o = s->options;
	char shown[8192];

	options_describe(o, shown, sizeof(shown));
	if (s->privileged && !o->no_mtab)
		utab_set(o->source, o->mountpoint, shown);
	log_info("%s at %s: %s, engine %s, %u loops%s", o->source, o->mountpoint, shown,
		 s->engine->name, s->loops, s->supervisor ? "" : ", not recoverable");
	if (!o->foreground) {
		log_open("cachefs", LOG_TO_SYSLOG, o->log_level);
		server_forget_descriptor(s, daemon_descriptor());
		daemon_ready();
	}
}

/* There is no way back from here, and none is needed. */
static void forget_predecessor(struct server *s)
{
	server_forget_descriptor(s, s->predecessor);
	server_forget_descriptor(s, s->predecessor_state);
	if (s->predecessor >= 0) {
		atomic_fetch_add(&s->supervision->upgrades, 1);
		atomic_store(&s->supervision->upgrade_error, 0);
	}
	handover_keep(s, s->predecessor_state, s->predecessor);
	cleanup_fd(&s->predecessor_state);
	cleanup_fd(&s->predecessor);
	s->predecessor = s->predecessor_state = -1;
}

static void ready(void *arg)
{
	struct server *s = arg;

	if (!s->took_over)
		server_ready(s);
	else
		forget_predecessor(s);
}

static void go_back(void *arg)
{
	struct server *s = arg;

	if (s->predecessor < 0)
		return;
	log_error("%s: this program took over and cannot serve: back to the one before",
		  s->options->mountpoint);
	if (s->supervision)
		supervision_give_back_signals(s->supervision);
	handover_return(s, s->predecessor_state, s->predecessor);
	log_release();
}

static bool refuse(void *arg, int signal_fd)
{
	struct server *s = arg;
	/* what the dead one has read would wait in vain otherwise */
	int err = session_resend(&s->session);

	if (err == -ENODEV || err == -ENOTCONN)
		return true;
	return session_refuse(&s->session, s->device_fds[1], -EIO, signal_fd);
}

/* What is mounted there later is another's, be it of the same number. */
static bool has_left(const struct server *s)
{
	return s->supervision && atomic_load(&s->supervision->detached);
}

void server_leave_mount(struct server *s)
{
	if (s->mount && !has_left(s))
		mount_detach(s->mount);
	if (s->supervision)
		atomic_store(&s->supervision->detached, true);
}

void server_unmount(struct server *s)
{
	if (s->privileged && !has_left(s) && mount_is_there(s->mount))
		utab_remove(s->options->mountpoint);
	server_leave_mount(s);
}

static void detach(void *arg)
{
	server_unmount(arg);
}

static int upgrade(void *arg)
{
	struct server *s = arg;

	return handover_exec(s, s->program);
}

static bool recoverable(const struct server *s)
{
	if (!s->options->recover)
		return false;
	if (s->caps.resend)
		return true;
	log_info("recover: off: the kernel cannot send requests again (Linux 6.9): should the "
		 "process that serves die, the mount is dead, too");
	return false;
}

static int supervise(struct server *s, bool resumed)
{
	struct supervisor_config config = {.name = s->options->mountpoint,
					   .hang_timeout = s->options->hang_timeout,
					   .work = work,
					   .ready = ready,
					   .go_back = go_back,
					   .refuse = refuse,
					   .detach = detach,
					   .upgrade = upgrade,
					   .arg = s};
	int err = handover_program(s->program, sizeof(s->program));

	log_release(); /* its socket is none of those that stay */
	if (!err)
		err = supervisor_create(&config, &s->supervisor);
	if (!err) {
		s->supervision = s->session.supervision = supervisor_memory(s->supervisor);
		atomic_store(&s->supervision->restarts, s->restarts);
		atomic_store(&s->supervision->upgrades, s->upgrades);
		atomic_store(&s->supervision->upgrade_error, s->upgrade_error);
		err = server_keep_descriptors(s);
	}
	if (err) {
		log_error("%s: no supervisor: %s", s->options->mountpoint, strerror(-err));
		return EXIT_SYSTEM;
	}
	/* from here on a worker that dies is noticed by us */
	if (!guardian_release(s->guardian, s->guardian_turn))
		_exit(EXIT_SYSTEM); /* the mount is the guardian's: nothing of it is undone */
	s->guardian = 0;
	return supervisor_run(s->supervisor, resumed);
}

static void finish(struct server *s)
{
	server_leave_mount(s);
	for (unsigned i = 0; s->device_fds && i < TRANSPORT_FDS * s->loops; i++)
		close(s->device_fds[i]);
	free(s->device_fds);
	free(s->kept);
	supervisor_destroy(s->supervisor);
	settings_destroy(s->settings);
	fs_shared_destroy(s->shared);
	if (s->session.fd > 0)
		close(s->session.fd);
	mount_free(s->mount);
	cleanup_fd(&s->source_fd);
}

/* In front, where the process in the background can say nothing any more. */
static void explain_failed_daemon(void *arg, int status)
{
	const struct server *s = arg;
	const struct options *o = s->options;

	if (mount_detach_left(o->source, o->mountpoint, s->covered) && s->privileged)
		utab_remove(o->mountpoint);
	if (WIFSIGNALED(status))
		log_error("%s could not be mounted at %s: the process that was to serve it was "
			  "ended by signal %d (%s): mount it again",
			  o->source, o->mountpoint, WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		log_error("%s could not be mounted at %s: the process that was to serve it was "
			  "told to end, or the mount was taken away: mount it again",
			  o->source, o->mountpoint);
}

int server_run(struct options *o)
{
	struct server s = {.options = o,
			   .privileged = geteuid() == 0,
			   .covered = mount_at(o->mountpoint),
			   .source_fd = -1,
			   .predecessor = -1,
			   .predecessor_state = -1,
			   .shown_lock = PTHREAD_MUTEX_INITIALIZER};
	int code, err;

	if (!o->foreground && (err = daemon_fork(explain_failed_daemon, &s))) {
		log_error("no process for the mount: %s", strerror(-err));
		return EXIT_SYSTEM;
	}
	process_block_signals();
	process_prepare();
	code = prepare(&s);
	if (!code)
		code = recoverable(&s) ? supervise(&s, false) : server_serve(&s, false);
	finish(&s);
	return code;
}

int server_take_over_check(int fd)
{
	char error[512];
	struct options o;
	struct server s = {.options = &o};
	int err;

	options_init(&o);
	err = handover_receive(fd, &s, error, sizeof(error));
	puts(err ? error : PACKAGE_STRING);
	fflush(stdout);
	_exit(err ? EXIT_SYSTEM : 0); /* the mount is not ours: nothing of it is undone */
}

/* errno, as in struct supervision, of the attempt that this start is a part of. */
static int attempt_error(int program)
{
	if (program >= 0)
		return EINPROGRESS;
	return program == TAKE_OVER_DIED ? EOWNERDEAD : EPROTO;
}

int server_take_over(int fd, int program)
{
	static struct options o;
	static struct server s = {.options = &o, .shown_lock = PTHREAD_MUTEX_INITIALIZER};
	char error[512];
	int code, err;

	process_block_signals();
	options_init(&o);
	err = handover_receive(fd, &s, error, sizeof(error));
	if (err) {
		log_error("an upgrade failed: %s", error);
		if (program >= 0) /* back to who served before */
			handover_return(&s, fd, program);
		return EXIT_SYSTEM;
	}
	s.privileged = geteuid() == 0;
	s.upgrade_error = attempt_error(program);
	s.upgrades--; /* it counts when a worker of ours serves */
	s.took_over = true;
	s.predecessor = program;
	s.predecessor_state = fd;
	if (!o.foreground)
		log_open("cachefs", LOG_TO_SYSLOG, o.log_level);
	log_level_set(o.log_level);
	process_prepare();
	if (s.privileged)
		cap_drop_unneeded();
	fill_session(&s);
	code = choose_engine(&s);
	if (!code)
		code = supervise(&s, true);
	if (!has_left(&s))
		go_back(&s); /* no worker of ours has served */
	if (s.guardian > 0)
		_exit(EXIT_SYSTEM); /* it takes the mount back, as soon as we have ended */
	finish(&s);
	options_free(&o);
	return code;
}
