/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "handover.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/util.h"
#include "fs/shared.h"
#include "fuse/mount.h"
#include "server_internal.h"
#include "settings.h"
#include "supervisor/guardian.h"
#include "supervisor/supervisor.h"
#include "transport/transport.h"

#define CHECK_MSEC 10000
#define GUARDIAN_TEXT 64 /* bytes; what it adds to what is said */

extern char **environ;

int handover_program(char *path, size_t size)
{
	static const char deleted[] = " (deleted)";
	ssize_t n = readlink("/proc/self/exe", path, size);

	if (n < 0 || (size_t)n >= size)
		return n < 0 ? -errno : -ENAMETOOLONG;
	path[n] = '\0';
	/* an installation replaces the file: what runs has no name any more, its successor has */
	if (n > (ssize_t)strlen(deleted) && !strcmp(path + n - strlen(deleted), deleted))
		path[(size_t)n - strlen(deleted)] = '\0';
	return 0;
}

/* ---- what is said ---- */

static void put(FILE *f, const char *key, const char *value)
{
	fprintf(f, "%s=%s", key, value);
	fputc('\0', f);
}

static void put_number(FILE *f, const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	put(f, key, text);
}

static void put_numbers(FILE *f, const struct server *s)
{
	put_number(f, "format", HANDOVER_FORMAT);
	put_number(f, "source-fd", (uint64_t)s->source_fd);
	put_number(f, "device-fd", (uint64_t)s->session.fd);
	put_number(f, "minor", s->session.minor);
	put_number(f, "flags", s->session.flags);
	put_number(f, "max-write", s->session.max_write);
	put_number(f, "backing-depth", (uint64_t)(s->session.backing_depth + 1));
	put_number(f, "owner", s->session.owner);
	put_number(f, "loops", s->loops);
	put_number(f, "mount-id", mount_identity(s->mount));
	put_number(f, "no-mtab", s->options->no_mtab);
	put_number(f, "settings-fd", (uint64_t)settings_fd(s->settings));
	put_number(f, "restarts", atomic_load(&s->supervision->restarts));
	put_number(f, "upgrades", atomic_load(&s->supervision->upgrades) + 1);
}

static void put_capabilities(FILE *f, const struct server *s)
{
#define PUT(id, field, name)                                                                       \
	if (s->caps.field)                                                                         \
		put(f, "capability", name);
	CAPABILITY_TABLE(PUT)
#undef PUT
}

static void put_device_fds(FILE *f, const struct server *s)
{
	for (unsigned i = 0; i < TRANSPORT_FDS * s->loops; i++)
		put_number(f, "transport-fd", (uint64_t)s->device_fds[i]);
}

/* A memfd, or a negative errno. */
static int handover_write(const struct server *s)
{
	char shown[16384], shared[FS_SHARED_TEXT];
	int fd = sysret(memfd_create("cachefs-handover", MFD_CLOEXEC)), own, err;
	FILE *f;

	if (fd < 0)
		return fd;
	own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	f = own < 0 ? NULL : fdopen(own, "w");
	err = f ? fs_shared_describe(s->shared, shared, sizeof(shared)) : -errno;
	if (err < 0) {
		close(fd);
		return err;
	}
	options_describe(s->options, shown, sizeof(shown));
	put_numbers(f, s);
	put_device_fds(f, s);
	put_capabilities(f, s);
	put(f, "shared", shared);
	put(f, "options", shown);
	put(f, "source", s->options->source);
	put(f, "mountpoint", s->options->mountpoint);
	err = fclose(f) ? -EIO : 0;
	if (!err && lseek(fd, 0, SEEK_SET) == 0)
		return fd;
	close(fd);
	return err ? err : -EIO;
}

/* ---- the check ---- */

/* Under its own number in the child; dup2(2) of a descriptor to itself in there clears CLOEXEC. */
static void inherit(void *arg, int fd)
{
	posix_spawn_file_actions_adddup2(arg, fd, fd);
}

static pid_t spawn_check(struct server *s, const char *program, int state, int out)
{
	char number[16];
	char *argv[] = {(char *)(uintptr_t)program, (char *)(uintptr_t)TAKE_OVER_CHECK, number,
			NULL};
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int err;

	snprintf(number, sizeof(number), "%d", state);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	inherit(&actions, state);
	inherit(&actions, settings_fd(s->settings));
	fs_shared_each_memory(s->shared, inherit, &actions);
	err = posix_spawn(&pid, program, &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return err ? -err : pid;
}

/* Until its end, or CHECK_MSEC: a program that hangs is none that can take over. */
static void read_all(int fd, char *text, size_t size)
{
	uint64_t until = clock_nsec() + CHECK_MSEC * UINT64_C(1000000);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	size_t len = 0;
	ssize_t n = 1;

	while (n > 0 && len < size - 1 && clock_nsec() < until) {
		int ready = poll(&p, 1, CHECK_MSEC);

		if (ready < 0 && errno == EINTR)
			continue; /* a loop is kicked for a while after a resume */
		if (ready <= 0)
			break;
		n = read(fd, text + len, size - 1 - len);
		len += n > 0 ? (size_t)n : 0;
	}
	text[len] = '\0';
	text[strcspn(text, "\n")] = '\0';
}

static int wait_or_kill(pid_t pid)
{
	int status;

	for (int i = 0; i < 100; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
		usleep(10000);
	}
	kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static int check_result(int status, const char *text, const char *program, char *version,
			size_t version_size, char *error, size_t error_size)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && *text) {
		snprintf(version, version_size, "%s", text);
		return 0;
	}
	if (WIFEXITED(status) && *text)
		snprintf(error, error_size, "%s", text);
	else
		snprintf(error, error_size,
			 "%s ended with %s %d when it was asked whether it can take over: is it a "
			 "cachefs that knows of upgrades?",
			 program, WIFSIGNALED(status) ? "signal" : "exit status",
			 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	return -EPROTO;
}

int handover_check(struct server *s, const char *program, char *version, size_t version_size,
		   char *error, size_t error_size)
{
	_cleanup_fd_ int state = -1;
	int out[2], status, err = 0;
	char text[512] = "";
	pid_t pid;

	pthread_mutex_lock(&s->session.options_lock);
	state = handover_write(s);
	pthread_mutex_unlock(&s->session.options_lock);
	if (state < 0)
		err = state;
	if (!err && pipe2(out, O_CLOEXEC) < 0)
		err = -errno;
	if (err) {
		snprintf(error, error_size, "the upgrade could not be prepared: %s",
			 strerror(-err));
		return err;
	}
	pid = spawn_check(s, program, state, out[1]);
	close(out[1]);
	if (pid > 0)
		read_all(out[0], text, sizeof(text));
	close(out[0]);
	if (pid < 0) {
		snprintf(error, error_size, "%s could not be run: %s", program, strerror(-pid));
		return pid;
	}
	status = wait_or_kill(pid);
	return check_result(status, text, program, version, version_size, error, error_size);
}

/* ---- the exec ---- */

static void set_inherited(void *arg, int fd)
{
	/* the only flag that there is */
	fcntl(fd, F_SETFD, *(const bool *)arg ? 0 : FD_CLOEXEC);
}

static void set_all_inherited(struct server *s, int state, int program, bool on)
{
	fs_shared_each_fd(s->shared, set_inherited, &on);
	for (unsigned i = 0; i < TRANSPORT_FDS * s->loops; i++)
		set_inherited(&on, s->device_fds[i]);
	set_inherited(&on, s->source_fd);
	set_inherited(&on, s->session.fd);
	set_inherited(&on, settings_fd(s->settings));
	set_inherited(&on, state);
	set_inherited(&on, program);
}

static int exec_fd(int program, const char *name, int state, int back)
{
	char number[16], own[16];
	char *argv[] = {(char *)(uintptr_t)name, (char *)(uintptr_t)TAKE_OVER, number, own, NULL};

	snprintf(number, sizeof(number), "%d", state);
	snprintf(own, sizeof(own), "%d", back);
	return sysret(execveat(program, "", argv, environ, AT_EMPTY_PATH));
}

struct way_back {
	struct server *s;
	int state, program;
};

/* In the guardian: the program of PROGRAM was ours, and is again. */
static void take_back(void *arg, bool hung)
{
	struct way_back *w = arg;
	bool off = false;

	log_error("%s: the program that took over %s: the one before goes on",
		  w->s->options->mountpoint, hung ? "hung and was ended" : "ended at once");
	set_inherited(&off, w->program);
	supervision_give_back_signals(w->s->supervision); /* the program may have had them */
	exec_fd(w->program, "mount.cachefs", w->state, TAKE_OVER_DIED);
	log_error("%s: it could not be started again: %s: the mount is dead: unmount it, and mount "
		  "anew",
		  w->s->options->mountpoint, strerror(errno));
}

/* Behind the text, whose length is END then: a page that the other program maps as well. */
static atomic_int *make_turn(int state, off_t *end, off_t *at)
{
	void *turn;

	*end = lseek(state, 0, SEEK_END);
	*at = (off_t)align_up((size_t)*end + GUARDIAN_TEXT, (size_t)sysconf(_SC_PAGESIZE));
	if (*end < 0 || ftruncate(state, *at + (off_t)sizeof(atomic_int)) < 0)
		return NULL;
	turn = mmap(NULL, sizeof(atomic_int), PROT_READ | PROT_WRITE, MAP_SHARED, state, *at);
	return turn == MAP_FAILED ? NULL : turn;
}

static int name_guardian(int state, pid_t pid, off_t end, off_t at)
{
	char text[GUARDIAN_TEXT];
	int len = snprintf(text, sizeof(text), "guardian=%d%cguardian-turn=%lld", (int)pid, '\0',
			   (long long)at) +
		  1;

	return pwrite(state, text, (size_t)len, end) == len ? 0 : -EIO;
}

static int exec_guarded(struct server *s, const char *name, int program, int state, int own)
{
	struct way_back back = {s, state, own};
	struct guardian g = {.patience = GUARDIAN_PATIENCE_NSEC};
	off_t end, at;
	int err;

	g.turn = make_turn(state, &end, &at);
	if (!g.turn)
		return -errno;
	err = guardian_start(&g, take_back, &back);
	if (!err) {
		err = name_guardian(state, g.pid, end, at);
		if (!err)
			err = exec_fd(program, name, state, own);
		if (!guardian_end(&g))
			_exit(EXIT_SYSTEM); /* the exec took so long that it takes the mount back */
	}
	munmap(g.turn, sizeof(*g.turn));
	return err;
}

int handover_exec(struct server *s, const char *program)
{
	_cleanup_fd_ int fd = open(program, O_RDONLY | O_CLOEXEC);
	_cleanup_fd_ int own = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	_cleanup_fd_ int state = -1;
	int err;

	if (fd < 0 || own < 0)
		return -errno;
	state = handover_write(s);
	if (state < 0)
		return state;
	set_all_inherited(s, state, own, true);
	err = exec_guarded(s, program, fd, state, own);
	set_all_inherited(s, state, own, false);
	return err;
}

void handover_keep(struct server *s, int state, int program)
{
	set_all_inherited(s, state, program, false);
}

void handover_return(struct server *s, int fd, int program)
{
	bool off = false;

	if (s->supervisor)
		set_all_inherited(s, fd, program, true);
	set_inherited(&off, program); /* else it would be open for good */
	exec_fd(program, "mount.cachefs", fd, TAKE_OVER_BACK);
	log_error("the program before could not be started again: %s", strerror(errno));
}
