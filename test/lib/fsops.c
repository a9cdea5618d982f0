/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fsops DIRECTORY <SCRIPT: see fsops.h. Empty lines and those that begin with # are passed over. */
#include "fsops.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct op *const tables[] = {ops_names, ops_files, ops_attrs};
static int slots[FSOPS_SLOTS];
static unsigned line_number;

static void __attribute__((noreturn)) wrong(const char *what, const char *word)
{
	fprintf(stderr, "fsops: line %u: %s: %s\n", line_number, word, what);
	exit(2);
}

int *slot(const char *word)
{
	if (word[0] < '0' || word[0] > '9' || word[1])
		wrong("not a slot, which are 0 to 9", word);
	return &slots[word[0] - '0'];
}

int result(long r)
{
	return r < 0 ? -errno : (int)r;
}

long long number(const char *word)
{
	char *end;
	long long n = strtoll(word, &end, 0);

	if (end == word || *end)
		wrong("not a number", word);
	return n;
}

int flags(const char *list, const struct word *words)
{
	int value = 0;

	while (*list) {
		size_t len = strcspn(list, ",");
		const struct word *w = words;

		while (w->name && (strlen(w->name) != len || strncmp(w->name, list, len) != 0))
			w++;
		if (!w->name)
			wrong("unknown flag", list);
		value |= w->value;
		list += len + (list[len] == ',');
	}
	return value;
}

const char *bytes(const char *word, size_t *len)
{
	static char many[1 << 17];

	if (word[0] != '@') {
		*len = strlen(word);
		return word;
	}
	*len = (size_t)number(word + 1);
	if (*len >= sizeof(many))
		wrong("too long", word);
	memset(many, 'x', *len);
	many[*len] = '\0';
	return many;
}

const char *errno_name(int err)
{
	const char *name = strerrorname_np(err);

	return name ? name : "unknown";
}

static const struct op *find(const char *name)
{
	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++) {
		for (const struct op *op = tables[i]; op->name; op++) {
			if (!strcmp(op->name, name))
				return op;
		}
	}
	wrong("unknown operation", name);
}

/* The words that USAGE wants at least. */
static int needed(const char *usage)
{
	int n = 0;

	for (const char *p = usage; *p && *p != '['; p++)
		n += *p != ' ' && (p == usage || p[-1] == ' ');
	return n;
}

static void run_line(char *line)
{
	char *argv[FSOPS_ARGS + 1] = {0}, *save = NULL;
	const struct op *op;
	int argc = 0, r;

	line[strcspn(line, "\n")] = '\0';
	if (!*line || *line == '#')
		return;
	printf("%.160s: ", line);
	for (char *w = strtok_r(line, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		if (argc == FSOPS_ARGS)
			wrong("too many words", argv[0]);
		argv[argc++] = w;
	}
	op = find(argv[0]);
	if (argc - 1 < needed(op->usage))
		wrong("arguments are missing", op->usage);
	r = op->run(argc, argv);
	if (r < 0)
		printf("%s", errno_name(-r));
	putchar('\n');
	fflush(stdout);
}

#ifdef __SANITIZE_ADDRESS__
/* It becomes other users, and a process that has may not be looked into by the leak checker. */
int __lsan_is_turned_off(void);

int __lsan_is_turned_off(void)
{
	return 1;
}
#endif

int main(int argc, char **argv)
{
	char *line = NULL;
	size_t size = 0;

	if (argc != 2) {
		fprintf(stderr, "usage: fsops DIRECTORY <SCRIPT\n");
		return 2;
	}
	if (chdir(argv[1]) < 0) {
		fprintf(stderr, "fsops: %s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	umask(022);
	for (int i = 0; i < FSOPS_SLOTS; i++)
		slots[i] = -1;
	while (getline(&line, &size, stdin) > 0) {
		line_number++;
		run_line(line);
	}
	free(line);
	return 0;
}
