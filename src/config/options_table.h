/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The options, one row each. Parser, --help, suggestions, display, remount and the tests of the
 * manual are made from these rows: a new option is a field in struct options and a row here.
 */
#ifndef CACHEFS_CONFIG_OPTIONS_TABLE_H
#define CACHEFS_CONFIG_OPTIONS_TABLE_H

#include "config/mode.h"

#define MODE_VALUE_(name, direct, writeback, no_flush, summary) "|" name
#define MODE_VALUES_ "" CACHE_MODES(MODE_VALUE_)

/*
 * X(id, name, type, remount, values, default shown, help)
 * type: how the value is read and which field of struct options it goes to:
 *	AS_FLAG(field)			bool, no value
 *	AS_SWITCH(field)		bool, on or off
 *	AS_CHOICE(field, choices)	enum, one of an array of struct choice
 *	AS_COUNT(field, least, most)	unsigned int, whole number
 *	AS_SECONDS(field)		double, decimal fraction
 *	AS_SIZE(field)			uint64_t, bytes, with K, M, G or T
 *	AS_TEXT(field)			char *, anything but nothing
 *	AS_RULES(field)			struct string_list, a rule; repeated, it adds
 *	AS_MODE(field)			struct switches, name of a cache mode
 *	AS_MASK(field, choices)		unsigned int, colon separated names of bits
 * remount: CHANGES, FIXED (needs a new mount) or ACTION (says what to do, is no property).
 * A row without help is hidden from --help, suggestions and the manual.
 */
#define OPTION_TABLE(X)                                                                            \
	X(CACHE, "cache", AS_MODE(mode), CHANGES, &MODE_VALUES_[1], "writeback",                   \
	  "cache mode of the mount; the last one given wins")                                      \
	X(CACHE_DIRECT, "cache.direct", AS_SWITCH(override.direct), CHANGES, "on|off",             \
	  "as cache says", "bypass the host page cache")                                           \
	X(CACHE_WRITEBACK, "cache.writeback", AS_SWITCH(override.writeback), CHANGES, "on|off",    \
	  "as cache says", "a write completes before it is on stable storage")                     \
	X(CACHE_NO_FLUSH, "cache.no-flush", AS_SWITCH(override.no_flush), CHANGES, "on|off",       \
	  "as cache says", "flushes are accepted and dropped")                                     \
	X(RULES, "rules", AS_TEXT(rules), CHANGES, "FILE", NULL,                                   \
	  "modes of single files, first match wins: see cachefs.rules(5)")                         \
	X(RULE, "rule", AS_RULES(rule_list), CHANGES, "PATTERN=MODE", NULL,                        \
	  "one such rule; may be repeated; these stand before the file's")                         \
	X(MODES_BY, "modes-by", AS_CHOICE(modes_by, modes_by_choices), CHANGES, "owner|root",      \
	  "owner", "who may set a file's mode: its owner, or root only")                           \
	X(DIRTY_LIMIT, "dirty-limit", AS_SIZE(budget.dirty_limit), CHANGES, "SIZE", "0",           \
	  "write-back starts when a file has more unflushed data; 0: no limit")                    \
	X(DIRTY_MAX, "dirty-max", AS_SIZE(budget.dirty_max), CHANGES, "SIZE", "0",                 \
	  "a file's writers wait while it has more unflushed data; 0: no limit")                   \
	X(DIRTY_AGE, "dirty-age", AS_SECONDS(budget.dirty_age), CHANGES, "SECONDS", "0",           \
	  "write-back starts when a file has older unflushed data; 0: no limit")                   \
	X(ON_CLOSE, "on-close", AS_CHOICE(on_close, on_close_choices), CHANGES, "flush|none",      \
	  "flush", "unsafe: at the last close for writing a file is flushed in the background")    \
	X(AFTER_CRASH, "after-crash", AS_CHOICE(after_crash, after_crash_choices), FIXED,          \
	  "refuse|trust|rollback", "refuse",                                                       \
	  "unsafe: what is done with files whose data was unflushed when the host went down")      \
	X(CHECKPOINT, "checkpoint", AS_COUNT(checkpoint, 0, 1000000), CHANGES, "SECONDS", "0",     \
	  "unsafe: how often a state to go back to after a crash is kept; 0: never")               \
	X(KERNEL_PATH, "kernel-path", AS_CHOICE(kernel_path, kernel_path_choices), FIXED,          \
	  "auto|always|never", "auto",                                                             \
	  "may the kernel do reads and writes without the daemon where the mode allows it")        \
	X(ENGINE, "engine", AS_CHOICE(engine, engine_choices), FIXED, "auto|uring|threads",        \
	  "auto", "how the daemon does file I/O")                                                  \
	X(THREADS, "threads", AS_COUNT(threads, 0, 1024), FIXED, "N", "number of processors",      \
	  "threads that serve requests, at most 1024")                                             \
	X(RECOVER, "recover", AS_SWITCH(recover), FIXED, "on|off", "on",                           \
	  "the mount survives the death of the process that serves it")                            \
	X(HANG_TIMEOUT, "hang-timeout", AS_SECONDS(hang_timeout), FIXED, "SECONDS", "60",          \
	  "recover: a process that makes no progress for so long is replaced; 0: never")           \
	X(ATTR_TIMEOUT, "attr-timeout", AS_SECONDS(attr_timeout), FIXED, "SECONDS", "1",           \
	  "how long the kernel may trust attributes")                                              \
	X(ENTRY_TIMEOUT, "entry-timeout", AS_SECONDS(entry_timeout), FIXED, "SECONDS", "1",        \
	  "how long the kernel may trust names")                                                   \
	X(NEGATIVE_TIMEOUT, "negative-timeout", AS_SECONDS(negative_timeout), FIXED, "SECONDS",    \
	  "0", "how long the kernel may trust that a name does not exist")                         \
	X(EXCLUSIVE, "exclusive", AS_FLAG(exclusive), FIXED, NULL, NULL,                           \
	  "nobody changes SOURCE behind the mount: names and attributes are trusted for good")     \
	X(FOREGROUND, "foreground", AS_FLAG(foreground), FIXED, NULL, NULL,                        \
	  "stay in front, log to stderr")                                                          \
	X(LOG_LEVEL, "log-level", AS_CHOICE(log_level, log_level_choices), CHANGES,                \
	  "error|warn|info|debug", "info", "least important messages that are logged")             \
	X(REMOUNT, "remount", AS_FLAG(remount), ACTION, NULL, NULL,                                \
	  "change the options of the mount that is there")                                         \
	X(MASK_CAPS, "mask-caps", AS_MASK(masked_capabilities, capability_choices), FIXED, NULL,   \
	  NULL, NULL)                                                                              \
	X(CONTEXT, "context", AS_TEXT(contexts[0]), FIXED, NULL, NULL, NULL)                       \
	X(FSCONTEXT, "fscontext", AS_TEXT(contexts[1]), FIXED, NULL, NULL, NULL)                   \
	X(DEFCONTEXT, "defcontext", AS_TEXT(contexts[2]), FIXED, NULL, NULL, NULL)                 \
	X(ROOTCONTEXT, "rootcontext", AS_TEXT(contexts[3]), FIXED, NULL, NULL, NULL)

#define SECURITY_CONTEXTS 4

/* What can be withheld with mask-caps. X(id, field of struct capabilities, name) */
#define CAPABILITY_TABLE(X)                                                                        \
	X(DIRECT_IO, backing_direct_io, "direct-io")                                               \
	X(RWF_NOWAIT, rwf_nowait, "rwf-nowait")                                                    \
	X(IO_URING, io_uring, "io-uring")                                                          \
	X(FILE_HANDLES, file_handles, "file-handles")                                              \
	X(STATX_DIOALIGN, statx_dioalign, "statx-dioalign")                                        \
	X(CACHESTAT, cachestat, "cachestat")                                                       \
	X(OPEN_TREE, open_tree, "open-tree")                                                       \
	X(KERNEL_PATH, kernel_path, "kernel-path")                                                 \
	X(RESEND, resend, "resend")

#define MS_ATIME_STYLES_ (MS_NOATIME | MS_RELATIME | MS_STRICTATIME)

/*
 * The standard flags of mount(8): X(name, flags that it turns on, flags that it turns off).
 * The last one given wins, so a style of access times turns the others off.
 */
#define MOUNT_FLAG_TABLE(X)                                                                        \
	X("ro", MS_RDONLY, 0)                                                                      \
	X("rw", 0, MS_RDONLY)                                                                      \
	X("suid", 0, MS_NOSUID)                                                                    \
	X("nosuid", MS_NOSUID, 0)                                                                  \
	X("dev", 0, MS_NODEV)                                                                      \
	X("nodev", MS_NODEV, 0)                                                                    \
	X("exec", 0, MS_NOEXEC)                                                                    \
	X("noexec", MS_NOEXEC, 0)                                                                  \
	X("sync", MS_SYNCHRONOUS, 0)                                                               \
	X("async", 0, MS_SYNCHRONOUS)                                                              \
	X("dirsync", MS_DIRSYNC, 0)                                                                \
	X("atime", 0, MS_NOATIME)                                                                  \
	X("noatime", MS_NOATIME, MS_ATIME_STYLES_ & ~MS_NOATIME)                                   \
	X("relatime", MS_RELATIME, MS_ATIME_STYLES_ & ~MS_RELATIME)                                \
	X("norelatime", 0, MS_RELATIME)                                                            \
	X("strictatime", MS_STRICTATIME, MS_ATIME_STYLES_ & ~MS_STRICTATIME)                       \
	X("nostrictatime", 0, MS_STRICTATIME)                                                      \
	X("diratime", 0, MS_NODIRATIME)                                                            \
	X("nodiratime", MS_NODIRATIME, 0)                                                          \
	X("lazytime", MS_LAZYTIME, 0)                                                              \
	X("nolazytime", 0, MS_LAZYTIME)                                                            \
	X("iversion", MS_I_VERSION, 0)                                                             \
	X("noiversion", 0, MS_I_VERSION)                                                           \
	X("mand", MS_MANDLOCK, 0)                                                                  \
	X("nomand", 0, MS_MANDLOCK)                                                                \
	X("silent", MS_SILENT, 0)                                                                  \
	X("loud", 0, MS_SILENT)                                                                    \
	X("symfollow", 0, MS_NOSYMFOLLOW)                                                          \
	X("nosymfollow", MS_NOSYMFOLLOW, 0)

/*
 * Options of others, with or without a value: X(name, what to tell who gives it here). NULL:
 * taken and ignored. A name that ends in "-" stands for all that begin so.
 */
#define FOREIGN_OPTION_TABLE(X)                                                                    \
	/* mount(8), systemd */                                                                    \
	X("auto", NULL)                                                                            \
	X("noauto", NULL)                                                                          \
	X("user", NULL)                                                                            \
	X("nouser", NULL)                                                                          \
	X("users", NULL)                                                                           \
	X("nousers", NULL)                                                                         \
	X("owner", NULL)                                                                           \
	X("noowner", NULL)                                                                         \
	X("group", NULL)                                                                           \
	X("nogroup", NULL)                                                                         \
	X("nofail", NULL)                                                                          \
	X("_netdev", NULL)                                                                         \
	X("comment", NULL)                                                                         \
	X("defaults", NULL)                                                                        \
	X("helper", NULL)                                                                          \
	X("uhelper", NULL)                                                                         \
	X("x-", NULL)                                                                              \
	X("X-", NULL)                                                                              \
	/* always on where root mounts */                                                          \
	X("allow_other", NULL)                                                                     \
	X("default_permissions", NULL)                                                             \
	/* what /proc/self/mountinfo shows of a FUSE mount: mount(8) hands it back at a remount */ \
	X("user_id", NULL)                                                                         \
	X("group_id", NULL)                                                                        \
	X("rootmode", NULL)                                                                        \
	X("max_read", NULL)                                                                        \
	X("blksize", NULL)                                                                         \
	/* libfuse */                                                                              \
	X("fsname", "cachefs sets it to SOURCE itself: leave it out")                              \
	X("subtype", "cachefs sets it itself: leave it out")

#endif
