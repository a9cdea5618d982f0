/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands written to `control` and the text of `stats`. */
#define _GNU_SOURCE
#include "disk.h"
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 8

struct control {
	struct rules *rules;
	struct store *store;
	struct gate *gate;
	pthread_mutex_t
	    lock; /* all below; commands run one at a time under it. Before gate's lock */
	uint64_t cuts;
	struct cut_result cut; /* of the last one */
};

struct command {
	const char *name, *usage;
	int min, max; /* words after the name */
	int (*run)(struct control *control, char **words, int count);
};

static const struct {
	const char *name;
	int value;
} errnos[] = {
    {"EIO", EIO},	{"ENOSPC", ENOSPC},	  {"EROFS", EROFS},
    {"EDQUOT", EDQUOT}, {"ETIMEDOUT", ETIMEDOUT}, {"EOPNOTSUPP", EOPNOTSUPP},
};

static const char *const op_names[DISK_OPS] = {
    [DISK_READ] = "read",
    [DISK_WRITE] = "write",
    [DISK_FLUSH] = "flush",
    [DISK_DISCARD] = "discard",
};

static bool parse_number(const char *text, uint64_t *value, const char **end)
{
	char *stop;

	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	*value = strtoull(text, &stop, 10);
	*end = stop;
	return errno == 0;
}

/* A whole word that is a number. */
static bool parse_plain(const char *text, uint64_t *value)
{
	const char *end;

	return parse_number(text, value, &end) && *end == '\0';
}

bool control_parse_size(const char *text, uint64_t *value)
{
	static const char suffixes[] = "kMGT";
	const char *end, *suffix;
	unsigned shift;

	if (!parse_number(text, value, &end))
		return false;
	if (*end == '\0')
		return true;
	suffix = strchr(suffixes, *end);
	if (!suffix || end[1] != '\0')
		return false;
	shift = 10 * (unsigned)(suffix - suffixes + 1);
	if (*value > UINT64_MAX >> shift)
		return false;
	*value <<= shift;
	return true;
}

/* OFFSET+LENGTH; modifies text. */
static bool parse_range(char *text, struct disk_rule *rule)
{
	char *plus = strchr(text, '+');
	uint64_t length;

	if (!plus)
		return false;
	*plus = '\0';
	if (!control_parse_size(text, &rule->first) || !control_parse_size(plus + 1, &length) ||
	    length == 0 || length - 1 > UINT64_MAX - rule->first)
		return false;
	rule->last = rule->first + length - 1;
	rule->ranged = true;
	return true;
}

static bool parse_op(const char *word, struct disk_rule *rule)
{
	bool all = strcmp(word, "all") == 0, found = all;

	for (int op = 0; op < DISK_OPS; op++) {
		rule->ops[op] = all || strcmp(word, op_names[op]) == 0;
		found |= rule->ops[op];
	}
	return found;
}

/* [at=OFFSET+LENGTH] [nth=N] [count=N] */
static bool parse_selectors(char **words, int count, struct disk_rule *rule)
{
	rule->nth = 1;
	rule->count = 0;
	for (int i = 0; i < count; i++) {
		char *word = words[i];

		if (strncmp(word, "at=", 3) == 0) {
			if (!parse_range(word + 3, rule))
				return false;
		} else if (strncmp(word, "nth=", 4) == 0) {
			if (!parse_plain(word + 4, &rule->nth) || rule->nth == 0)
				return false;
			if (rule->count == 0)
				rule->count = 1;
		} else if (strncmp(word, "count=", 6) == 0) {
			if (!parse_plain(word + 6, &rule->count) || rule->count == 0)
				return false;
		} else {
			return false;
		}
	}
	if (rule->count == 0)
		rule->count = UINT64_MAX;
	/* A flush has no place: a range can only be a mistake. */
	return !(rule->ranged && rule->ops[DISK_FLUSH] && !rule->ops[DISK_WRITE]);
}

static int run_delay(struct control *control, char **words, int count)
{
	struct disk_rule rule = {0};
	uint64_t ms;

	if (!parse_op(words[0], &rule) || !parse_plain(words[1], &ms) || ms == 0 || ms > 3600000 ||
	    !parse_selectors(words + 2, count - 2, &rule))
		return -EINVAL;
	rule.delay_ms = (unsigned)ms;
	return rules_add(control->rules, &rule);
}

static int run_fail(struct control *control, char **words, int count)
{
	struct disk_rule rule = {0};

	for (size_t i = 0; i < sizeof(errnos) / sizeof(errnos[0]); i++)
		if (strcmp(words[1], errnos[i].name) == 0)
			rule.error = errnos[i].value;
	if (!parse_op(words[0], &rule) || rule.error == 0 ||
	    !parse_selectors(words + 2, count - 2, &rule))
		return -EINVAL;
	return rules_add(control->rules, &rule);
}

static int run_clear(struct control *control, char **words, int count)
{
	(void)words;
	(void)count;
	rules_clear(control->rules);
	return 0;
}

static int run_freeze(struct control *control, char **words, int count)
{
	(void)words;
	(void)count;
	gate_freeze(control->gate);
	return 0;
}

static int run_thaw(struct control *control, char **words, int count)
{
	(void)words;
	(void)count;
	gate_thaw(control->gate);
	return 0;
}

static int run_flush(struct control *control, char **words, int count)
{
	(void)words;
	(void)count;
	return store_flush(control->store);
}

static int run_reset(struct control *control, char **words, int count)
{
	(void)words;
	(void)count;
	gate_reset_stats(control->gate);
	return 0;
}

static int run_cut(struct control *control, char **words, int count)
{
	uint64_t seed = 1, keep = 50;
	struct cut_result result;
	int ret;

	if (words[0][0] != '/') /* the daemon's working directory is not the caller's */
		return -EINVAL;
	for (int i = 1; i < count; i++) {
		if (strncmp(words[i], "seed=", 5) == 0) {
			if (!parse_plain(words[i] + 5, &seed))
				return -EINVAL;
		} else if (strncmp(words[i], "keep=", 5) == 0) {
			if (!parse_plain(words[i] + 5, &keep) || keep > 100)
				return -EINVAL;
		} else {
			return -EINVAL;
		}
	}
	ret = store_cut(control->store, words[0], seed, (unsigned)keep, &result);
	if (ret < 0)
		return ret;
	control->cuts++;
	control->cut = result;
	fprintf(stderr,
		"disk: cut %s: seed=%" PRIu64 " kept=%" PRIu64 " torn=%" PRIu64 " lost=%" PRIu64
		"\n",
		words[0], result.seed, result.kept, result.torn, result.lost);
	return 0;
}

static const struct command commands[] = {
    {"delay", "OP MILLISECONDS [at=OFFSET+LENGTH] [nth=N] [count=N]", 2, 5, run_delay},
    {"fail", "OP ERRNO [at=OFFSET+LENGTH] [nth=N] [count=N]", 2, 5, run_fail},
    {"clear", "", 0, 0, run_clear},
    {"freeze", "", 0, 0, run_freeze},
    {"thaw", "", 0, 0, run_thaw},
    {"cut", "/FILE [seed=N] [keep=PERCENT]", 1, 3, run_cut},
    {"flush", "", 0, 0, run_flush},
    {"reset", "", 0, 0, run_reset},
};

static int run_line(struct control *control, char *line)
{
	char *words[WORDS_MAX + 1], *save = NULL, *word;
	int count = 0;

	for (word = strtok_r(line, " \t", &save); word; word = strtok_r(NULL, " \t", &save)) {
		if (count == WORDS_MAX)
			return -EINVAL;
		words[count++] = word;
	}
	if (count == 0)
		return -EINVAL;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		const struct command *command = &commands[i];
		int ret = -EINVAL;

		if (strcmp(words[0], command->name) != 0)
			continue;
		if (count - 1 >= command->min && count - 1 <= command->max)
			ret = command->run(control, words + 1, count - 1);
		if (ret == -EINVAL)
			fprintf(stderr, "disk: control: bad arguments; use: %s %s\n", command->name,
				command->usage);
		return ret;
	}
	fprintf(stderr, "disk: control: '%s' is no command; use one of:", words[0]);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		fprintf(stderr, " %s", commands[i].name);
	fputc('\n', stderr);
	return -EINVAL;
}

int control_execute(struct control *control, const char *text, size_t length)
{
	char *copy, *next, *line;
	int ret = 0;

	if (length == 0 || memchr(text, '\0', length))
		return -EINVAL;
	copy = strndup(text, length);
	if (!copy)
		return -ENOMEM;
	if (copy[length - 1] == '\n')
		copy[length - 1] = '\0';
	pthread_mutex_lock(&control->lock);
	for (next = copy; ret == 0 && (line = strsep(&next, "\n"));)
		ret = run_line(control, line);
	pthread_mutex_unlock(&control->lock);
	free(copy);
	return ret;
}

static void print_stats(struct control *control, FILE *out)
{
	struct store_stats store;
	struct gate_stats gate;

	store_get_stats(control->store, &store);
	gate_get_stats(control->gate, &gate);
#define LINE(name, value) fprintf(out, name " %" PRIu64 "\n", (uint64_t)(value))
	LINE("size", store.size);
	LINE("cache_size", store.cache_size);
	LINE("cached_bytes", store.cached_bytes);
	LINE("cached_writes", store.cached_writes);
	LINE("destaged_writes", store.destaged_writes);
	LINE("flushed_bytes", store.flushed_bytes);
	LINE("reads", gate.requests[DISK_READ]);
	LINE("read_bytes", gate.bytes[DISK_READ]);
	LINE("writes", gate.requests[DISK_WRITE]);
	LINE("write_bytes", gate.bytes[DISK_WRITE]);
	LINE("fua_writes", gate.fua_writes);
	LINE("flushes", gate.requests[DISK_FLUSH]);
	LINE("discards", gate.requests[DISK_DISCARD]);
	LINE("discard_bytes", gate.bytes[DISK_DISCARD]);
	LINE("delayed", gate.delayed);
	LINE("failed", gate.failed);
	LINE("waiting", gate.waiting);
	LINE("frozen", gate.frozen);
	LINE("rules", rules_count(control->rules));
	pthread_mutex_lock(&control->lock);
	LINE("cuts", control->cuts);
	LINE("cut_seed", control->cut.seed);
	LINE("cut_kept", control->cut.kept);
	LINE("cut_torn", control->cut.torn);
	LINE("cut_lost", control->cut.lost);
	pthread_mutex_unlock(&control->lock);
#undef LINE
}

char *control_stats(struct control *control)
{
	char *text = NULL;
	size_t length;
	FILE *out = open_memstream(&text, &length);

	if (!out)
		return NULL;
	print_stats(control, out);
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

int control_new(struct control **result, struct rules *rules, struct store *store,
		struct gate *gate)
{
	struct control *control = calloc(1, sizeof(*control));

	if (!control)
		return -ENOMEM;
	control->rules = rules;
	control->store = store;
	control->gate = gate;
	pthread_mutex_init(&control->lock, NULL);
	*result = control;
	return 0;
}

void control_free(struct control *control)
{
	if (!control)
		return;
	pthread_mutex_destroy(&control->lock);
	free(control);
}
