/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mount.cachefs: options → session → loops → goodbye. */
#include <signal.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/unserved.h"
#include "base/util.h"
#include "cachefs.h"
#include "config/options.h"
#include "fuse/mount.h"
#include "handover.h"
#include "server.h"

/*
 * Nothing is mounted over a mount that nobody serves: an unmount would lay it bare again. While the
 * kernel has its attributes in memory it looks like any other.
 */
static bool is_served(const char *path)
{
	_cleanup_free_ char *text = unserved_text(path);

	if (text)
		log_error("%s: %s", path, text);
	return !text;
}

/* PATH, absolute and without symbolic links, to be freed; NULL after a complaint that names WHAT.
 */
static char *directory(const char *path, const char *what)
{
	char *real = realpath(path, NULL);
	struct stat st;

	if (!real || stat(real, &st) < 0)
		log_error("%s: %s: %s must be an existing directory", path, strerror(errno), what);
	else if (!S_ISDIR(st.st_mode))
		log_error("%s: not a directory: %s must be an existing directory", path, what);
	else
		return real;
	free(real);
	return NULL;
}

/* Both as absolute paths without symbolic links: what mountinfo will say. */
static int canonical_paths(struct options *o)
{
	char *source, *target;

	if (!is_served(o->source) || !is_served(o->mountpoint))
		return EXIT_MOUNT;
	source = directory(o->source, "SOURCE");
	target = source ? directory(o->mountpoint, "MOUNTPOINT") : NULL;
	if (!target) {
		free(source);
		return EXIT_MOUNT;
	}
	free(o->source);
	free(o->mountpoint);
	o->source = source;
	o->mountpoint = target;
	return 0;
}

/* The daemon's working directory is another one. A symbolic link stays: a reload follows it anew.
 */
static int absolute_rules(struct options *o)
{
	_cleanup_free_ char *here = NULL;
	char *path;

	if (!o->rules || o->rules[0] == '/')
		return 0;
	here = getcwd(NULL, 0);
	if (!here || asprintf(&path, "%s/%s", here, o->rules) < 0) {
		log_error("rules=%s: no working directory to find it from: %s: give its absolute "
			  "path",
			  o->rules, strerror(errno));
		return EXIT_SYSTEM;
	}
	free(o->rules);
	o->rules = path;
	return 0;
}

/* Before anything is mounted: a bad file is the caller's mistake, and told to the caller. */
static int load_rules(struct options *o)
{
	char message[OPTIONS_ERROR_SIZE];

	if (options_load_rules(NULL, o, &o->parsed_rules, message, sizeof(message)) == 0)
		return 0;
	log_error("%s", message);
	return EXIT_USAGE;
}

static int enter_namespace(const char *ns)
{
	char path[64];
	_cleanup_fd_ int fd = -1;

	if (ns[strspn(ns, "0123456789")] == '\0') {
		snprintf(path, sizeof(path), "/proc/%.20s/ns/mnt", ns);
		ns = path;
	}
	fd = open(ns, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && setns(fd, CLONE_NEWNS) == 0)
		return 0;
	log_error("-N %s: %s: give the path of a mount namespace, or a process id", ns,
		  strerror(errno));
	return EXIT_MOUNT;
}

/* ---- remount ---- */

static int update_options_shown(const struct options *o)
{
	_cleanup_fd_ int fd = open(o->mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct cachefs_info info;

	if (fd >= 0 && ioctl(fd, CACHEFS_IOC_INFO, &info) == 0)
		utab_set(o->source, o->mountpoint, info.options);
	return 0;
}

static int remount(const struct options *o)
{
	_cleanup_fd_ int fd = open(o->mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	static struct cachefs_remount arg;
	int err;

	/* only what was given, so that the rest keeps its value */
	if (options_describe_given(o, arg.options, sizeof(arg.options)) >=
	    (int)sizeof(arg.options)) {
		log_error("%s: these options are longer than %zu bytes: put the rules into a file "
			  "(rules=)",
			  o->mountpoint, sizeof(arg.options) - 1);
		return EXIT_USAGE;
	}
	if (fd < 0 || ioctl(fd, CACHEFS_IOC_REMOUNT, &arg) < 0) {
		if (errno == ENOTTY || errno == EINVAL || errno == EBADF)
			log_error("%s: %s", o->mountpoint,
				  *arg.error ? arg.error
					     : "not a cachefs mount: nothing to remount");
		else
			log_error("%s: remount failed: %s", o->mountpoint,
				  *arg.error ? arg.error : strerror(errno));
		return EXIT_MOUNT;
	}
	err = mount_change_flags(o);
	if (err) {
		log_error("%s: the kernel refused the mount flags: %s", o->mountpoint,
			  strerror(-err));
		return EXIT_MOUNT;
	}
	return o->no_mtab ? 0 : update_options_shown(o);
}

static int run(struct options *o)
{
	int code = o->namespace ? enter_namespace(o->namespace) : 0;

	if (!code)
		code = canonical_paths(o);
	if (!code)
		code = absolute_rules(o);
	/* at a remount the daemon reads them */
	if (!code && !o->remount)
		code = load_rules(o);
	if (code || o->fake)
		return code;
	if (o->remount)
		return remount(o);
	return server_run(o);
}

int main(int argc, char **argv)
{
	char text[8192];
	struct options o;
	int code = 0;

	/* who ignores it has that inherited, and then the dead cannot be waited for: waitpid(2) */
	signal(SIGCHLD, SIG_DFL);
	log_open("cachefs", LOG_TO_STDERR, LOG_LEVEL_INFO);
	/* not for people: what an upgrade starts */
	if (argc == 4 && !strcmp(argv[1], TAKE_OVER))
		return server_take_over(atoi(argv[2]), atoi(argv[3]));
	if (argc == 3 && !strcmp(argv[1], TAKE_OVER_CHECK))
		return server_take_over_check(atoi(argv[2]));
	options_init(&o);
	if (options_parse_args(&o, argc, argv, text, OPTIONS_ERROR_SIZE)) {
		log_error("%s", text);
		code = EXIT_USAGE;
	} else if (o.help) {
		options_help(argv[0], text, sizeof(text));
		fputs(text, stdout);
	} else if (o.version) {
		puts(PACKAGE_STRING);
	} else {
		log_open("cachefs", LOG_TO_STDERR,
			 o.foreground || o.verbose ? o.log_level
						   : MIN(o.log_level, LOG_LEVEL_WARN));
		code = run(&o);
	}
	options_free(&o);
	return code;
}
