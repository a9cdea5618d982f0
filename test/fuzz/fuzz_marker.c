/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A crash marker up to the last "end" line; behind it a path, which is asked for and trusted. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "durability/marker_internal.h"
#include "fuzz.h"

#define BOOT "b"
#define TAIL "end\n"

/* What is said must be readable again, and say the same. */
static void say_again(const struct model *m)
{
	const char *what = NULL;
	struct model *again = NULL;
	size_t len, len_again;
	char *text, *text_again;
	unsigned line = 0;

	FUZZ_CHECK(model_format(m, &text, &len) == 0);
	FUZZ_CHECK(model_parse(text, len, BOOT, &again, &line, &what) == 0);
	FUZZ_CHECK(model_format(again, &text_again, &len_again) == 0);
	FUZZ_CHECK(len == len_again && !memcmp(text, text_again, len));
	free(text_again);
	free(text);
	model_unref(again);
}

/* Who is trusted is not concerned, and nobody else is by that. */
static void ask(struct model *m, const char *path)
{
	struct file_id id = {.type = 1, .len = 1, .bytes = {0xab}};
	const struct timespec now = {.tv_sec = 1};
	struct statx st = {0};
	char *paths = calloc(1, strlen(path) + 2);
	char buf[64];

	FUZZ_CHECK(paths);
	strcpy(paths, path);
	for (struct section *s = m->sections; s; s = s->next) {
		FUZZ_CHECK(boot_id_valid(s->boot, strlen(s->boot)));
		section_concerns(s, &id, paths, &st, now);
		section_concerns(s, &id, NULL, &st, now);
		if (section_trust(s, &id, path) >= 0)
			FUZZ_CHECK(!section_concerns(s, &id, paths, &st, now));
	}
	model_describe(m, buf, sizeof(buf));
	free(paths);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data, *tail = NULL, *what = NULL;
	struct model *m = NULL, *copy;
	unsigned line = 0;
	size_t len = size;
	char *path;
	int err;

	for (size_t i = 0; i + strlen(TAIL) <= size; i++)
		if (!memcmp(text + i, TAIL, strlen(TAIL)))
			tail = text + i;
	if (tail)
		len = (size_t)(tail - text) + strlen(TAIL);
	path = strndup(text + len, size - len);
	FUZZ_CHECK(path);
	err = model_parse(text, len, BOOT, &m, &line, &what);
	if (err) {
		FUZZ_CHECK(err == -EINVAL && !m && line);
		FUZZ_CHECK_SENTENCE(what);
	} else {
		say_again(m);
		copy = model_clone(m);
		FUZZ_CHECK(copy);
		ask(copy, path);
		model_unref(copy);
		say_again(m);
		model_unref(m);
	}
	free(path);
	return 0;
}
