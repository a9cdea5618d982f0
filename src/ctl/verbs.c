/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What cachefsctl can do, as a table; help, parsing and the suggestions are made from it. */
#include <string.h>

#include "base/util.h"
#include "config/suggest.h"
#include "ctl/ctl.h"

const struct ctl_verb ctl_verbs[] = {
    {"status", "[PATH]", 0, 1, CTL_OPT_JSON,
     "modes, opens, who has it open, bytes cached and dirty, flushes",
     "Without PATH: all cachefs mounts. A mount point, or a directory on a mount: that\n"
     "mount's table of files (root only, since it names every file). A file: all that is\n"
     "known of it, for its owner and root.\n",
     cmd_status},
    {"mode", "PATH [MODE]", 1, 2, CTL_OPT_PERSIST | CTL_OPT_CLEAR,
     "show the mode of a file or of a mount, or switch it live",
     "Without MODE: the mode in force, and where it comes from (runtime, stored, rule, mount).\n"
     "MODE is writethrough, writeback, none, directsync or unsafe, with switches behind it or\n"
     "not: none,cache.no-flush=on. The command returns when everything written before is as\n"
     "durable, and as little cached, as MODE promises. On a mount point: the mount's mode.\n"
     "Where an open file cannot follow, the mode is pending until all have closed the file:\n"
     "exit status 3.\n",
     cmd_mode},
    {"flush", "PATH...", 1, -1, 0, "a real flush, in any mode, unsafe too",
     "On a file: its data is on stable storage when the command returns. On a mount point:\n"
     "everything that was written through the mount.\n",
     cmd_flush},
    {"handoff", "PATH...", 1, -1, 0,
     "flush, drop from the host's cache, verify that nothing is left",
     "For migration to another host and for snapshots of the storage below. Says what is left\n"
     "in the host's page cache and who keeps it there: exit status 3 then.\n",
     cmd_handoff},
    {"top", "[PATH]", 0, 1, CTL_OPT_DELAY | CTL_OPT_COUNT | CTL_OPT_BATCH, "live view of the files",
     "Keys: s sorts by the next column, r reverses the order, q quits. PATH is a mount point,\n"
     "a directory on a mount (root only) or a file; without it: all mounts.\n",
     cmd_top},
    {"doctor", "[PATH]", 0, 1, CTL_OPT_JSON,
     "what clients really do, and the mode that results end to end",
     "Looks at the files twice, two seconds apart, and names for each the mode that results from\n"
     "the mount and its clients together, with warnings: what was seen, what it means, what to\n"
     "do. A directory is searched too for images, symbolic links and device nodes that lead\n"
     "past the mount. Exit status 0 with warnings and without.\n",
     cmd_doctor},
    {"explain", "[MODE]", 0, 1, 0, "the modes, and the settings of QEMU and libvirt that fit",
     "Without MODE: the table of all. With one: what it means, and what to set where.\n",
     cmd_explain},
    {"reload", "MOUNTPOINT", 1, 1, 0, "read the rules file again",
     "Rules and stored modes are read again, and open files are switched. A rules file with an\n"
     "error changes nothing. Exit status 3 where open files cannot follow before they are\n"
     "closed.\n",
     cmd_reload},
    {"trust", "PATH|MOUNTPOINT", 1, 1, 0, "after a crash: a file, or all of a mount, is good",
     "Under unsafe, a file whose data was unflushed when the host went down cannot be opened\n"
     "until somebody says that it is good, as it is. An error of a flush in the background is\n"
     "forgotten, too. On a mount point: all files, without a question.\n",
     cmd_trust},
    {"rollback", "PATH", 1, 1, CTL_OPT_DRY_RUN, "after a crash: put a file back to its checkpoint",
     "The file is replaced by its last checkpoint (see checkpoint= in mount.cachefs(8)), at\n"
     "once and durably; what was there is kept beside it, under the name that is printed. The\n"
     "file must be closed by all, and have one name: exit status 3 else.\n",
     cmd_rollback},
    {"upgrade", "MOUNTPOINT", 1, 1, 0, "serve with the newly installed program",
     "Nothing is unmounted, and no request fails: programs that use the mount notice a pause of\n"
     "some milliseconds. A program that cannot take over says why, and the old one goes on\n"
     "serving. Needs recover=on.\n",
     cmd_upgrade},
};
const size_t ctl_verbs_count = ARRAY_SIZE(ctl_verbs);

const struct ctl_verb *ctl_verb_find(const char *name, const char **nearest)
{
	struct suggestion s;

	suggest_begin(&s, name, strlen(name));
	for (size_t i = 0; i < ctl_verbs_count; i++) {
		if (strcmp(ctl_verbs[i].name, name) == 0)
			return &ctl_verbs[i];
		suggest_offer(&s, ctl_verbs[i].name);
	}
	*nearest = s.best;
	return NULL;
}

void ctl_help(FILE *out)
{
	fprintf(out, "usage: cachefsctl VERB [ARGUMENT...]\n\n");
	for (size_t i = 0; i < ctl_verbs_count; i++)
		fprintf(out, "  %-8s %-15s %s\n", ctl_verbs[i].name, ctl_verbs[i].words,
			ctl_verbs[i].summary);
	fprintf(out, "\ncachefsctl VERB --help explains one; cachefsctl --version; "
		     "cachefsctl(8) is the manual.\n"
		     "Exit status: 0 done, 1 wrong usage, 2 failed, 3 refused or pending.\n");
}

static const struct {
	char letter;
	const char *name, *arg, *help;
} options[] = {
#define OPTION_(id, name, letter, arg, help) {letter, name, arg, help},
    CTL_OPTIONS(OPTION_)
#undef OPTION_
};

void ctl_verb_help(const struct ctl_verb *verb, FILE *out)
{
	unsigned accepted = verb->options | CTL_OPT_HELP;

	fprintf(out, "usage: cachefsctl %s %s%s\n%s\n\n%s\n", verb->name, verb->words,
		verb->options ? " [OPTION...]" : "", verb->summary, verb->text);
	for (unsigned i = 0; i < ARRAY_SIZE(options); i++) {
		char letter[4] = "", name[32];

		if (!(accepted & 1u << i))
			continue;
		if (options[i].letter)
			snprintf(letter, sizeof(letter), "-%c,", options[i].letter);
		snprintf(name, sizeof(name), "--%s%s%s", options[i].name, options[i].arg ? "=" : "",
			 options[i].arg ? options[i].arg : "");
		fprintf(out, "  %3s %-16s %s\n", letter, name, options[i].help);
	}
}
