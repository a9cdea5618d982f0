/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs a fuzz target where the compiler has no libFuzzer, with the same options:
 *
 *	TARGET [-runs=N] [-seed=N] [-timeout=SECONDS] [-max_len=N] [-dict=FILE]
 *	       [-artifact_prefix=PATH] [FILE or DIRECTORY ...]
 *
 * First all inputs as they are, then N inputs made of them. Without coverage it finds less than
 * libFuzzer does, but needs nothing. An input that fails is written to PATHcrash-SEED-RUN.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "driver.h"
#include "fuzz.h"

#define INPUT_MAX (1 << 20) /* of a file; more is cut */

static struct settings {
	unsigned long long runs, seed, timeout, max_len;
	const char *dict, *artifact_prefix;
} settings = {.timeout = 30, .max_len = 4096, .artifact_prefix = ""};

/* For the signal handlers: the input at hand, and its number. */
static struct {
	const uint8_t *data;
	size_t size;
	volatile unsigned long long run;
	unsigned long long seen, seconds; /* the clock's */
} current;

static struct inputs corpus, words;

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

/* ---- what went wrong ---- */

static void say(const char *text)
{
	if (write(STDERR_FILENO, text, strlen(text)) < 0)
		_exit(1);
}

/* snprintf(3) is no function for a handler; the process is lost anyway, and the input is not. */
static void save_current(void)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%scrash-%llu-%llu", settings.artifact_prefix, settings.seed,
		 current.run);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, current.data, current.size) != (ssize_t)current.size)
		say("the input could not be written: ");
	else
		say("the input is in ");
	say(path);
	say("\n");
}

static void on_death(int sig)
{
	save_current();
	signal(sig, SIG_DFL);
	raise(sig);
}

/* Once a second: has one input taken all the time? */
static void on_tick(int sig)
{
	(void)sig;
	if (current.seen != current.run) {
		current.seen = current.run;
		current.seconds = 0;
	} else if (++current.seconds >= settings.timeout) {
		say("an input takes too long\n");
		save_current();
		_exit(1);
	}
}

static void install_handlers(void)
{
	static const int deadly[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
	static char stack[65536];
	const struct itimerval second = {{1, 0}, {1, 0}};
	struct sigaction death = {.sa_handler = on_death, .sa_flags = SA_ONSTACK | SA_RESETHAND};
	struct sigaction tick = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
	/* the target's own may have overflowed */
	const stack_t other = {.ss_sp = stack, .ss_size = sizeof(stack)};

	/* a check's; sanitizers leave it alone */
	sigaction(SIGABRT, &death, NULL);
	if (__sanitizer_set_death_callback) {
		__sanitizer_set_death_callback(save_current);
	} else {
		sigaltstack(&other, NULL);
		for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++)
			sigaction(deadly[i], &death, NULL);
	}
	sigaction(SIGALRM, &tick, NULL);
	setitimer(ITIMER_REAL, &second, NULL);
}

/* ---- inputs from files ---- */

static void add_file(const char *path)
{
	static uint8_t buf[INPUT_MAX];
	FILE *file = fopen(path, "r");
	size_t size;

	if (!file) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(1);
	}
	size = fread(buf, 1, sizeof(buf), file);
	fclose(file);
	inputs_add(&corpus, buf, size);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void add_path(const char *path)
{
	struct dirent **entries;
	struct stat st;
	int count;

	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
		add_file(path);
		return;
	}
	/* in one order, so that a seed means the same everywhere */
	count = scandir(path, &entries, NULL, by_name);
	for (int i = 0; i < count; i++) {
		char name[4096];

		snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
		if (entries[i]->d_name[0] != '.')
			add_file(name);
		free(entries[i]);
	}
	free(entries);
}

/* ---- runs ---- */

static void run(const uint8_t *data, size_t size)
{
	/* a block of this size and no more, so that a sanitizer sees a byte too many */
	uint8_t *copy = malloc(size ? size : 1);

	FUZZ_CHECK(copy);
	memcpy(copy, data, size);
	current.data = copy;
	current.size = size;
	LLVMFuzzerTestOneInput(copy, size);
	current.run++;
	free(copy);
}

static void run_all(void)
{
	uint8_t *buf = malloc(settings.max_len);
	struct chance chance = {.state = settings.seed};

	FUZZ_CHECK(buf);
	for (size_t i = 0; i < corpus.count; i++)
		run(corpus.items[i].data, corpus.items[i].size);
	for (unsigned long long i = 0; i < settings.runs; i++)
		run(buf, mutate(&chance, &corpus, &words, buf, settings.max_len));
	free(buf);
}

static bool take_number(const char *argument, const char *name, unsigned long long *value)
{
	size_t len = strlen(name);
	char *end;

	if (strncmp(argument, name, len) != 0 || argument[len] < '0' || argument[len] > '9')
		return false;
	*value = strtoull(argument + len, &end, 10);
	return !*end;
}

static bool take_string(const char *argument, const char *name, const char **value)
{
	if (strncmp(argument, name, strlen(name)) != 0)
		return false;
	*value = argument + strlen(name);
	return true;
}

static void take_argument(const char *argument)
{
	if (argument[0] != '-') {
		add_path(argument);
	} else if (!take_number(argument, "-runs=", &settings.runs) &&
		   !take_number(argument, "-seed=", &settings.seed) &&
		   !take_number(argument, "-timeout=", &settings.timeout) &&
		   !take_number(argument, "-max_len=", &settings.max_len) &&
		   !take_string(argument, "-dict=", &settings.dict) &&
		   !take_string(argument, "-artifact_prefix=", &settings.artifact_prefix)) {
		fprintf(stderr, "unknown option %s: see test/fuzz/driver.c\n", argument);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		take_argument(argv[i]);
	if (settings.dict && !dictionary_read(&words, settings.dict)) {
		fprintf(stderr, "-dict=%s: not a dictionary, a \"word\" a line\n", settings.dict);
		return 1;
	}
	if (!settings.seed)
		settings.seed = (unsigned long long)time(NULL) ^ (unsigned long long)getpid() << 32;
	if (!settings.max_len)
		settings.max_len = 1;
	printf("seed %llu, %zu inputs, %zu words\n", settings.seed, corpus.count, words.count);
	fflush(stdout);
	install_handlers();
	run_all();
	printf("done %llu runs\n", current.run);
	inputs_free(&corpus);
	inputs_free(&words);
	return 0;
}
