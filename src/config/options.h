/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command line and the -o string as a plain struct. No system calls (but in
 * options_load_rules()), nothing is printed.
 *
 * Functions that can refuse their input fill ERR (of ERRSIZE bytes, at least 1; OPTIONS_ERROR_SIZE
 * is enough for all) with one line for people, without a newline, and return -EINVAL; -ENOMEM
 * when memory is short. What is quoted from the input there is cut and its control characters
 * are escaped. Safe from any thread as long as each struct options has one user at a time.
 */
#ifndef CACHEFS_CONFIG_OPTIONS_H
#define CACHEFS_CONFIG_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "config/limits.h"
#include "config/mode.h"
#include "config/options_table.h"

#define OPTIONS_ERROR_SIZE 512

enum engine_kind { ENGINE_AUTO, ENGINE_URING, ENGINE_THREADS, ENGINE_NULL };

/* Who may set the mode of a file, or trust it: its owner (and root), or root only. */
enum modes_by { MODES_BY_OWNER, MODES_BY_ROOT };

/* unsafe: what happens at the last close for writing. */
enum on_close { ON_CLOSE_FLUSH, ON_CLOSE_NONE };

/* unsafe: what a mount does about data that was unflushed when the host went down. */
enum after_crash { AFTER_CRASH_REFUSE, AFTER_CRASH_TRUST, AFTER_CRASH_ROLLBACK };

/* What an option that may be repeated was given, in order; owned. */
struct string_list {
	char **items; /* no NULL at the end */
	size_t count;
};

/* Bytes of all rule= together: mount(8)'s table and the ioctls that carry options are small. */
#define RULE_OPTIONS_MAX 2048

struct rules;

#define CAPABILITY_BIT_(id, field, name) CAPABILITY_BIT_##id,
enum capability_bit { CAPABILITY_TABLE(CAPABILITY_BIT_) };
#undef CAPABILITY_BIT_

/* CAPABILITY_DIRECT_IO, ...: bits for options.masked_capabilities, capabilities_mask(). */
#define CAPABILITY_MASK_(id, field, name) CAPABILITY_##id = 1 << CAPABILITY_BIT_##id,
enum capability_mask { CAPABILITY_TABLE(CAPABILITY_MASK_) };
#undef CAPABILITY_MASK_

/* OPTION_CACHE, ...: one a row of OPTION_TABLE, in its order. */
#define OPTION_ID_(id, ...) OPTION_##id,
enum option_id { OPTION_TABLE(OPTION_ID_) OPTIONS_TOTAL };
#undef OPTION_ID_

struct options {
	/* Operands; owned, NULL where not given (with help and version only). */
	char *source;
	char *mountpoint;

	/* The mode that results from cache and its switches: use this one. */
	struct switches switches;
	/* Any of cache, cache.direct, cache.writeback, cache.no-flush was given. */
	bool switches_given;
	/* What SWITCHES is made from: cache, and the switches applied after it if given. */
	struct switches mode;
	struct switches override;

	char *rules;		      /* path of the rules file, absolute once main() has seen it;
				       * owned, NULL: none */
	struct string_list rule_list; /* PATTERN=MODE each, each of them valid */
	enum modes_by modes_by;

	struct budget_limits budget; /* of files to which no rule gives other ones */
	enum on_close on_close;
	enum after_crash after_crash;
	unsigned int checkpoint; /* seconds, 0: none */

	enum kernel_path kernel_path;
	enum engine_kind engine;
	unsigned int threads;	 /* 0 (as many as processors) to 1024 */
	bool recover;		 /* a process that died is replaced */
	double hang_timeout;	 /* seconds, 0: never */
	double attr_timeout;	 /* seconds, >= 0 */
	double entry_timeout;	 /* seconds, >= 0 */
	double negative_timeout; /* seconds, >= 0 */
	bool exclusive;
	bool foreground;
	enum log_level log_level;
	bool remount;
	unsigned int masked_capabilities; /* or of enum capability_mask */

	/* Standard mount flags, MS_* of <sys/mount.h>: to be set, to be cleared; disjoint. */
	unsigned long ms_set;
	unsigned long ms_clear;
	/* context, fscontext, defcontext, rootcontext; owned, see options_security_data(). */
	char *contexts[SECURITY_CONTEXTS];

	bool fake;	 /* -f: everything but the mount */
	bool sloppy;	 /* -s: unknown options are ignored */
	bool no_mtab;	 /* -n */
	bool verbose;	 /* -v */
	bool help;	 /* --help: operands were not asked for */
	bool version;	 /* --version: the same */
	char *namespace; /* -N: path of a mount namespace or a pid; owned, NULL where not given */

	/* Those of rules and rule_list, by options_load_rules(); a reference of its own, NULL: not
	 * loaded. No option: neither described nor moved by a remount. */
	struct rules *parsed_rules;

	uint64_t given; /* bit 1 << enum option_id */
};

/* The defaults. Release with options_free(), which leaves the defaults again. */
void options_init(struct options *o);
void options_free(struct options *o);

/*
 * ARGV as main() has it. Options stand before, between or after the operands; "--" ends them.
 * O must come from options_init(). After an error only options_free() may be called for it.
 */
int options_parse_args(struct options *o, int argc, char *const argv[], char *err, size_t errsize);

/*
 * One -o string, on top of what O has. Commas separate; a comma in a value is written "\," or the
 * value stands in double quotes; a backslash also quotes a double quote and itself.
 */
int options_parse_string(struct options *o, const char *string, char *err, size_t errsize);

bool options_given(const struct options *o, enum option_id id);

/*
 * The options in force that differ from the defaults, the mode always, as an -o string that
 * gives the same when parsed. Not in it: the standard flags (the kernel shows those) and what is
 * no property of the mount. Returns what snprintf(3) would.
 */
int options_describe(const struct options *o, char *buf, size_t size);

/* Only what was given, as an -o string: what a remount asks of the running daemon. */
int options_describe_given(const struct options *o, char *buf, size_t size);

/*
 * "context=...,rootcontext=..." for the data string of mount(2) (values with a comma are in double
 * quotes, as security modules want them); empty without any. Returns what snprintf(3) would.
 */
int options_security_data(const struct options *o, char *buf, size_t size);

/*
 * May RUNNING become WANTED, parsed from the options of a remount? 0, or -EINVAL and a sentence
 * about the first option given in WANTED that differs and cannot change; *CULPRIT, where not
 * NULL, is its row then (NULL: SOURCE). SOURCEs are compared as text: make them canonical before.
 */
struct option_row;
int options_remountable_diff(const struct options *running, const struct options *wanted,
			     const struct option_row **culprit, char *err, size_t errsize);

/*
 * Makes RUNNING what the remount wants: what WANTED does not give keeps its value. A cache= in
 * WANTED replaces the mode with all its switches; switches alone change the running mode. All or
 * nothing. Old values end up in WANTED, for options_free().
 */
int options_remount(struct options *running, struct options *wanted, char *err, size_t errsize);

/*
 * O, as it was at the mount, gets what remounts have made of it since: TEXT is what
 * options_describe() said then.
 */
int options_restore(struct options *o, const char *text, char *err, size_t errsize);

/*
 * Reads the rules file and parses all rules into a new set, *OUT, which has one user then. For a
 * mount: RUNNING is NULL. For a remount, before options_remount(): rules and rule as WANTED has
 * them, each as RUNNING has it where not given. The one function of this header with system calls.
 * 0, or -EINVAL, -ENOMEM, or errors of open(2) and read(2), with a sentence; *OUT untouched then.
 */
int options_load_rules(const struct options *running, const struct options *wanted,
		       struct rules **out, char *err, size_t errsize);

/* Text of --help. PROGRAM: as the user called it. Returns what snprintf(3) would. */
int options_help(const char *program, char *buf, size_t size);

/* The rows themselves, for tests and documentation. */
struct choice {
	const char *name;
	int value;
	bool hidden;
};

enum option_remount { REMOUNT_CHANGES, REMOUNT_FIXED, REMOUNT_ACTION };

struct option_type;
struct option_row {
	const char *name;
	const struct option_type *type;
	size_t offset;		      /* of the field in struct options */
	const struct choice *choices; /* NULL: not of that type; ends with a NULL name */
	unsigned int least, most;     /* of a count */
	enum option_remount remount;
	const char *values;  /* for people: "on|off", "SECONDS"; NULL: takes none, or hidden */
	const char *initial; /* for people: the default; NULL: none, or hidden */
	const char *help;    /* NULL: a hidden option */
};

extern const struct option_row option_rows[OPTIONS_TOTAL];

/* The visible row after PREVIOUS (NULL: the first); NULL at the end. */
const struct option_row *option_next_visible(const struct option_row *previous);

struct mount_flag {
	const char *name;
	unsigned long set, clear;
};
extern const struct mount_flag mount_flags[];
extern const size_t mount_flags_count;

#endif
