/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The other side of an upgrade: what the program before us said. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/util.h"
#include "config/options.h"
#include "fs/shared.h"
#include "fuse/mount.h"
#include "handover.h"
#include "server_internal.h"
#include "settings.h"
#include "transport/transport.h"

#define TEXT_MAX (1 << 20)

struct received {
	uint64_t format, source_fd, device_fd, minor, flags, max_write, backing_depth, owner, loops,
	    mount_id, no_mtab, settings_fd, restarts, upgrades;
	const char *shared, *options, *source, *mountpoint;
	int device_fds[TRANSPORT_FDS * LOOPS_MAX];
	unsigned ndevice_fds;
	struct capabilities caps;
	pid_t guardian; /* since format 2; 0: none, as in a check */
	off_t turn;	/* where its turn is; 0: it knows of none */
};

/* One value for each; all of them are needed. */
static const struct {
	const char *key;
	size_t offset;
	bool text;
} keys[] = {
#define NUMBER(key, field)                                                                         \
	{                                                                                          \
		key, offsetof(struct received, field), false                                       \
	}
#define TEXT(key, field)                                                                           \
	{                                                                                          \
		key, offsetof(struct received, field), true                                        \
	}
    NUMBER("format", format),
    NUMBER("source-fd", source_fd),
    NUMBER("device-fd", device_fd),
    NUMBER("minor", minor),
    NUMBER("flags", flags),
    NUMBER("max-write", max_write),
    NUMBER("backing-depth", backing_depth),
    NUMBER("owner", owner),
    NUMBER("loops", loops),
    NUMBER("mount-id", mount_id),
    NUMBER("no-mtab", no_mtab),
    NUMBER("settings-fd", settings_fd),
    NUMBER("restarts", restarts),
    NUMBER("upgrades", upgrades),
    TEXT("shared", shared),
    TEXT("options", options),
    TEXT("source", source),
    TEXT("mountpoint", mountpoint),
#undef NUMBER
#undef TEXT
};

static void take_capability(struct capabilities *caps, const char *value)
{
#define TAKE(id, field, name)                                                                      \
	if (!strcmp(value, name))                                                                  \
		caps->field = true;
	CAPABILITY_TABLE(TAKE)
#undef TAKE
}

/* The bit of the key that this was, or 0. */
static uint64_t take(struct received *r, const char *key, const char *value)
{
	if (!strcmp(key, "capability"))
		take_capability(&r->caps, value);
	else if (!strcmp(key, "transport-fd") && r->ndevice_fds < ARRAY_SIZE(r->device_fds))
		r->device_fds[r->ndevice_fds++] = atoi(value);
	else if (!strcmp(key, "guardian"))
		r->guardian = atoi(value);
	else if (!strcmp(key, "guardian-turn"))
		r->turn = (off_t)strtoll(value, NULL, 10);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		char *field = (char *)r + keys[i].offset;

		if (strcmp(key, keys[i].key) != 0)
			continue;
		if (keys[i].text)
			*(const char **)(void *)field = value;
		else
			*(uint64_t *)(void *)field = strtoull(value, NULL, 10);
		return UINT64_C(1) << i;
	}
	return 0;
}

/* TEXT is cut into pieces, which R points into. */
static int parse(char *text, size_t len, struct received *r, char *error, size_t size)
{
	uint64_t found = 0;

	for (char *p = text, *next; p < text + len; p = next) {
		char *value = strchr(p, '=');

		next = p + strlen(p) + 1;
		if (!value)
			continue;
		*value++ = '\0';
		found |= take(r, p, value);
	}
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (found & UINT64_C(1) << i)
			continue;
		snprintf(error, size,
			 "the program that serves now does not tell \"%s\": unmount, and mount "
			 "anew",
			 keys[i].key);
		return -EPROTO;
	}
	return 0;
}

static int check(const struct received *r, char *error, size_t size)
{
	if (r->format >= HANDOVER_FORMAT_LEAST && r->format <= HANDOVER_FORMAT && r->loops &&
	    r->ndevice_fds == TRANSPORT_FDS * r->loops)
		return 0;
	snprintf(error, size,
		 "the program that serves now has a state of format %u, and this one knows format "
		 "%u: unmount, and mount anew",
		 (unsigned)r->format, HANDOVER_FORMAT);
	return -EPROTO;
}

static int take_options(const struct received *r, struct options *o, char *error, size_t size)
{
	char why[OPTIONS_ERROR_SIZE];
	int err = options_parse_string(o, r->options, why, sizeof(why));

	if (err) {
		snprintf(error, size, "options of the mount: %s", why);
		return err;
	}
	o->source = strdup(r->source);
	o->mountpoint = strdup(r->mountpoint);
	o->no_mtab = r->no_mtab;
	return o->source && o->mountpoint ? 0 : -ENOMEM;
}

static int adopt(const struct received *r, struct server *s, char *error, size_t size)
{
	char why[256] = "";
	int err = fs_shared_adopt(r->shared, &s->shared, why, sizeof(why));

	if (!err)
		err = settings_adopt((int)r->settings_fd, &s->settings);
	if (err && !*error)
		snprintf(error, size,
			 "the memory of the program that serves now cannot be used: %s%s: unmount, "
			 "and mount anew",
			 *why ? why : "its settings: ", *why ? "" : strerror(-err));
	return err;
}

static int fill(const struct received *r, struct server *s)
{
	s->session.fd = (int)r->device_fd;
	s->session.minor = (uint32_t)r->minor;
	s->session.flags = r->flags;
	s->session.max_write = (uint32_t)r->max_write;
	s->session.backing_depth = (int)r->backing_depth - 1;
	s->session.owner = (uid_t)r->owner;
	s->source_fd = (int)r->source_fd;
	s->caps = r->caps;
	s->loops = (unsigned)r->loops;
	s->guardian = r->guardian;
	s->restarts = (unsigned)r->restarts;
	s->upgrades = (unsigned)r->upgrades;
	s->device_fds = calloc(r->ndevice_fds, sizeof(int));
	if (!s->device_fds)
		return -ENOMEM;
	memcpy(s->device_fds, r->device_fds, r->ndevice_fds * sizeof(int));
	return mount_adopt(s->options->mountpoint, r->mount_id, s->session.fd, &s->mount);
}

/* Behind the text: handover.c. It stays mapped until this process is another program. */
static int map_turn(const struct received *r, int fd, struct server *s)
{
	void *turn = r->turn ? mmap(NULL, sizeof(atomic_int), PROT_READ | PROT_WRITE, MAP_SHARED,
				    fd, r->turn)
			     : NULL;

	if (turn == MAP_FAILED)
		return -errno;
	s->guardian_turn = turn;
	return 0;
}

int handover_receive(int fd, struct server *s, char *error, size_t error_size)
{
	static struct received r;
	char *text = calloc(1, TEXT_MAX); /* R points into it */
	ssize_t n = text ? pread(fd, text, TEXT_MAX - 1, 0) : -1;
	int err = n <= 0 ? -EPROTO : 0;

	*error = '\0';
	if (err)
		snprintf(error, error_size, "descriptor %d holds no state of a mount", fd);
	if (!err)
		err = parse(text, (size_t)n, &r, error, error_size);
	if (!err)
		err = check(&r, error, error_size);
	if (!err)
		err = take_options(&r, s->options, error, error_size);
	if (!err)
		err = adopt(&r, s, error, error_size);
	if (!err)
		err = fill(&r, s);
	if (!err)
		err = map_turn(&r, fd, s);
	if (err && !*error)
		snprintf(error, error_size, "%s", strerror(-err));
	free(text);
	return err;
}
