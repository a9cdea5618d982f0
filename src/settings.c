/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "settings.h"

#include <limits.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/util.h"
#include "config/rules.h"

#define FORMAT 1 /* changes with struct image and struct copy */

struct copy {
	char options[16384];
	char rules_name[PATH_MAX];
	uint32_t has_rules, rules_len;
	char rules[RULES_FILE_MAX];
};

/* One copy is in force while the other one is written. */
struct image {
	uint32_t format;
	atomic_uint current; /* 0: none was saved; else 1 + the index of the one in force */
	struct copy copies[2];
};

struct settings {
	struct image *image;
	int fd;
};

static int settings_map(struct settings *s)
{
	s->image = mmap(NULL, sizeof(*s->image), PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
	if (s->image != MAP_FAILED)
		return 0;
	s->image = NULL;
	return -errno;
}

static int settings_new(int fd, struct settings **out)
{
	struct settings *s = calloc(1, sizeof(*s));
	int err;

	if (!s || fd < 0) {
		free(s);
		return s ? fd : -ENOMEM;
	}
	s->fd = fd;
	err = settings_map(s);
	if (err)
		free(s); /* the descriptor is the caller's still */
	else
		*out = s;
	return err;
}

int settings_create(struct settings **out)
{
	int fd = sysret(memfd_create("cachefs-settings", MFD_CLOEXEC)), err;

	if (fd >= 0 && ftruncate(fd, sizeof(struct image)) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	err = settings_new(fd, out);
	if (err && fd >= 0)
		close(fd);
	if (!err)
		(*out)->image->format = FORMAT;
	return err;
}

int settings_adopt(int fd, struct settings **out)
{
	struct stat st;
	int err;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size != sizeof(struct image))
		return -EPROTO;
	err = settings_new(fd, out);
	if (err || (*out)->image->format == FORMAT)
		return err;
	(*out)->fd = -1; /* nothing has changed: it stays open for who made it */
	settings_destroy(*out);
	return -EPROTO;
}

int settings_fd(const struct settings *s)
{
	return s->fd;
}

void settings_destroy(struct settings *s)
{
	if (!s)
		return;
	if (s->image)
		munmap(s->image, sizeof(*s->image));
	cleanup_fd(&s->fd);
	free(s);
}

void settings_save(struct settings *s, const struct options *o)
{
	unsigned next = atomic_load(&s->image->current) == 1 ? 1 : 0;
	struct copy *c = &s->image->copies[next];
	const char *name, *text;
	size_t len;

	options_describe(o, c->options, sizeof(c->options));
	c->has_rules = rules_source(o->parsed_rules, &name, &text, &len);
	if (c->has_rules) {
		size_t n = MIN(strlen(name), sizeof(c->rules_name) - 1);

		memcpy(c->rules_name, name, n);
		c->rules_name[n] = '\0';
		memcpy(c->rules, text, len);
		c->rules_len = (uint32_t)len;
	}
	atomic_store(&s->image->current, next + 1);
}

static int load_rules(const struct copy *c, struct options *o, char *error, size_t size)
{
	struct rules *rules;
	int err = rules_parse((const char *const *)o->rule_list.items, o->rule_list.count,
			      c->has_rules ? c->rules_name : NULL, c->has_rules ? c->rules : NULL,
			      c->rules_len, &rules, error, size);

	if (err)
		return err;
	rules_unref(o->parsed_rules);
	o->parsed_rules = rules;
	return 0;
}

int settings_load(const struct settings *s, struct options *o)
{
	unsigned current = atomic_load(&s->image->current);
	char error[OPTIONS_ERROR_SIZE];
	const struct copy *c;
	int err;

	if (!current)
		return 0;
	c = &s->image->copies[current - 1];
	err = options_restore(o, c->options, error, sizeof(error));
	if (!err)
		err = load_rules(c, o, error, sizeof(error));
	if (err)
		log_error("the options that were in force cannot be read again: %s", error);
	return err;
}
