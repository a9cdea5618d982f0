/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * modectl: the ioctls of include/cachefs.h as a command, for tests.
 *
 *	modectl show PATH                       "MODE ORIGIN", then " pending MODE ORIGIN"
 *	modectl set [-p] [-k] PATH MODE         -p: PERSIST, -k: PENDING_OK; prints as show
 *	modectl clear [-p] [-k] PATH
 *	modectl status PATH FIELD...            a line a field: opens, writers, mode, dirty,
 *error... modectl handoff PATH                    "cached=N dirty=N writeback=N opens=N writers=N"
 *	modectl reload PATH                     "rules=N switched=N pending=N failed=N"
 *	modectl flush PATH
 *	modectl trust DIR [NAME]                without NAME: the whole mount, DIR is its root
 *	modectl rollback DIR NAME               prints "TAKEN KEPT": seconds, the tainted file's
 *name modectl dry-run DIR NAME                "TAKEN": whether it can be done modectl raw PATH CMD
 *SIZE               an ioctl of that number on SIZE bytes of chance
 *
 * PATH may be "-": descriptor 9, which the caller has open. MODE: a mode's name, or three
 * characters d, w, n (on) or - (off), for the switches. Exit status: 0, 1 and "modectl: VERB:
 * MESSAGE (errno N)[: what the mount says]" for an ioctl that failed, 2 for wrong usage.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <unistd.h>

#include "cachefs.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static const struct {
	const char *name;
	uint32_t switches;
} modes[] = {
    {"writeback", CACHEFS_WRITEBACK},
    {"writethrough", 0},
    {"none", CACHEFS_DIRECT | CACHEFS_WRITEBACK},
    {"directsync", CACHEFS_DIRECT},
    {"unsafe", CACHEFS_WRITEBACK | CACHEFS_NO_FLUSH},
};

#define ORIGIN_NAME(id, value, name) [value] = (name),
static const char *const origins[] = {CACHEFS_ORIGINS(ORIGIN_NAME)};

static int usage(void)
{
	fputs(
	    "usage: modectl show|set|clear|status|handoff|reload|flush|trust|rollback|dry-run|raw "
	    "[-p] [-k] PATH [ARGUMENT...]\n",
	    stderr);
	return 2;
}

static int failed(const char *verb, const char *sentence)
{
	fprintf(stderr, "modectl: %s: %s (errno %d)%s%s\n", verb, strerror(errno), errno,
		*sentence ? ": " : "", sentence);
	return 1;
}

static const char *mode_text(uint32_t switches)
{
	static char text[2][4];
	static int turn;

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		if (modes[i].switches == switches)
			return modes[i].name;
	turn = !turn;
	snprintf(text[turn], sizeof(text[turn]), "%c%c%c", switches & CACHEFS_DIRECT ? 'd' : '-',
		 switches & CACHEFS_WRITEBACK ? 'w' : '-', switches & CACHEFS_NO_FLUSH ? 'n' : '-');
	return text[turn];
}

static int parse_mode(const char *text, uint32_t *switches)
{
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		if (!strcmp(modes[i].name, text)) {
			*switches = modes[i].switches;
			return 0;
		}
	if (strlen(text) != 3)
		return -1;
	*switches = (text[0] == 'd' ? CACHEFS_DIRECT : 0u) |
		    (text[1] == 'w' ? CACHEFS_WRITEBACK : 0u) |
		    (text[2] == 'n' ? CACHEFS_NO_FLUSH : 0u);
	return 0;
}

static const char *origin_text(uint32_t origin)
{
	return origin < ARRAY_SIZE(origins) ? origins[origin] : "?";
}

static void print_pending(uint32_t pending, uint32_t switches, uint32_t origin)
{
	if (pending)
		printf(" pending %s %s", mode_text(switches), origin_text(origin));
	putchar('\n');
}

static int do_mode(int fd, const char *verb, uint32_t flags, uint32_t switches)
{
	struct cachefs_mode m = {.flags = flags, .switches = switches};

	if (ioctl(fd, CACHEFS_IOC_MODE, &m) < 0) {
		m.error[sizeof(m.error) - 1] = 0;
		return failed(verb, m.error);
	}
	printf("%s %s", mode_text(m.switches), origin_text(m.origin));
	print_pending(m.pending, m.pending_switches, m.pending_origin);
	return 0;
}

static int print_field(const struct cachefs_status *s, const char *field)
{
#define COUNTER(name, help) {#name, s->name},
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = {CACHEFS_COUNTERS(COUNTER){"opens", s->opens},
		       {"writers", s->writers},
		       {"kernel_path", s->kernel_path},
		       {"error", (uint64_t)(int64_t)s->error},
		       {"deleted", s->deleted},
		       {"flushing", s->flushing},
		       {"tainted", s->tainted},
		       {"checkpoint_age", (uint64_t)s->checkpoint_age_s},
		       {"size", s->size},
		       {"cached", s->cached_bytes},
		       {"dirty", s->dirty_bytes + s->writeback_bytes},
		       {"pending", s->pending}};
#undef COUNTER

	if (!strcmp(field, "mode")) {
		printf("%s %s", mode_text(s->switches), origin_text(s->origin));
		print_pending(s->pending, s->pending_switches, s->pending_origin);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		if (!strcmp(numbers[i].name, field)) {
			printf("%lld\n", (long long)numbers[i].value);
			return 0;
		}
	return usage();
}

static int do_status(int fd, char **fields)
{
	static struct cachefs_status s;
	int ret = 0;

	if (ioctl(fd, CACHEFS_IOC_STATUS, &s) < 0)
		return failed("status", "");
	for (; *fields && !ret; fields++)
		ret = print_field(&s, *fields);
	return ret;
}

static int do_handoff(int fd)
{
	struct cachefs_handoff h;

	if (ioctl(fd, CACHEFS_IOC_HANDOFF, &h) < 0)
		return failed("handoff", "");
	printf("cached=%lld dirty=%lld writeback=%lld opens=%u writers=%u\n",
	       (long long)h.cached_bytes, (long long)h.dirty_bytes, (long long)h.writeback_bytes,
	       h.opens, h.writers);
	return 0;
}

static int do_reload(int fd)
{
	struct cachefs_reload r = {0};

	if (ioctl(fd, CACHEFS_IOC_RELOAD, &r) < 0) {
		r.error[sizeof(r.error) - 1] = 0;
		return failed("reload", r.error);
	}
	printf("rules=%u switched=%u pending=%u failed=%u\n", r.rules, r.switched, r.pending,
	       r.failed);
	return 0;
}

static int do_trust(int fd, const char *name)
{
	struct cachefs_trust t = {0};

	if (name)
		strncpy(t.name, name, sizeof(t.name) - 1);
	return ioctl(fd, CACHEFS_IOC_TRUST, &t) < 0 ? failed("trust", "") : 0;
}

static int do_rollback(int fd, const char *name, uint32_t flags)
{
	struct cachefs_rollback r = {.flags = flags};

	if (!name)
		return usage();
	strncpy(r.name, name, sizeof(r.name) - 1);
	if (ioctl(fd, CACHEFS_IOC_ROLLBACK, &r) < 0)
		return failed("rollback", "");
	printf("%lld %s\n", (long long)r.taken_s, r.kept);
	return 0;
}

static int do_raw(int fd, char **args)
{
	static char buf[1 << 15];
	unsigned long cmd = args[0] ? strtoul(args[0], NULL, 0) : 0;
	size_t size = args[0] && args[1] ? strtoul(args[1], NULL, 0) : 0;

	if (!cmd || size > sizeof(buf))
		return usage();
	if (size && getrandom(buf, size, 0) < 0)
		return failed("getrandom", "");
	return ioctl(fd, cmd, buf) < 0 ? failed("raw", "") : 0;
}

static int run(int fd, const char *verb, uint32_t flags, char **args)
{
	uint32_t switches = 0;

	if (!strcmp(verb, "show"))
		return do_mode(fd, verb, 0, 0);
	if (!strcmp(verb, "set"))
		return args[0] && !parse_mode(args[0], &switches)
			   ? do_mode(fd, verb, flags | CACHEFS_MODE_SET, switches)
			   : usage();
	if (!strcmp(verb, "clear"))
		return do_mode(fd, verb, flags | CACHEFS_MODE_CLEAR, 0);
	if (!strcmp(verb, "status"))
		return do_status(fd, args);
	if (!strcmp(verb, "handoff"))
		return do_handoff(fd);
	if (!strcmp(verb, "reload"))
		return do_reload(fd);
	if (!strcmp(verb, "flush"))
		return ioctl(fd, CACHEFS_IOC_FLUSH) < 0 ? failed(verb, "") : 0;
	if (!strcmp(verb, "trust"))
		return do_trust(fd, args[0]);
	if (!strcmp(verb, "rollback"))
		return do_rollback(fd, args[0], 0);
	if (!strcmp(verb, "dry-run"))
		return do_rollback(fd, args[0], CACHEFS_ROLLBACK_DRY_RUN);
	return !strcmp(verb, "raw") ? do_raw(fd, args) : usage();
}

int main(int argc, char **argv)
{
	uint32_t flags = 0;
	int fd = 9, i = 2;

	for (; i < argc && argv[i][0] == '-' && argv[i][1]; i++)
		flags |= !strcmp(argv[i], "-p") ? CACHEFS_MODE_PERSIST : CACHEFS_MODE_PENDING_OK;
	if (i >= argc)
		return usage();
	if (strcmp(argv[i], "-"))
		/* with O_APPEND it is the daemon's in every mode: never what a switch waits for */
		fd = open(argv[i], O_RDONLY | O_APPEND | O_CLOEXEC);
	if (fd < 0)
		return failed("open", argv[i]);
	return run(fd, argv[1], flags, argv + i + 1);
}
