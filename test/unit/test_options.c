/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "config/options.h"
#include "config/suggest.h"

static char err[OPTIONS_ERROR_SIZE];

static int parse(struct options *o, const char *string)
{
	options_init(o);
	err[0] = '\0';
	return options_parse_string(o, string, err, sizeof(err));
}

/* WORDS: the command line, separated by single spaces ("@" stands for an empty word). */
static int run(struct options *o, const char *words)
{
	char *argv[32] = {(char *)"mount.cachefs"}, copy[512];
	char *state;
	int argc = 1;

	snprintf(copy, sizeof(copy), "%s", words);
	for (char *w = strtok_r(copy, " ", &state); w; w = strtok_r(NULL, " ", &state))
		argv[argc++] = strcmp(w, "@") == 0 ? (char *)"" : w;
	options_init(o);
	err[0] = '\0';
	return options_parse_args(o, argc, argv, err, sizeof(err));
}

/* An -o string, and what options_describe() makes of it. */
static const struct accepted {
	char string[120], described[120];
} accepted[] = {
    {"", "cache=writeback"},
    {",,", "cache=writeback"},
    {"cache=writeback", "cache=writeback"},
    {"cache=writethrough", "cache=writethrough"},
    {"cache=none", "cache=none"},
    {"cache=directsync", "cache=directsync"},
    {"cache=unsafe", "cache=unsafe"},
    {"cache=unsafe,cache=none", "cache=none"},
    {"cache.direct=on", "cache=none"},
    {"cache.writeback=off", "cache=writethrough"},
    {"cache.no-flush=on", "cache=unsafe"},
    {"cache.no-flush=on,cache=none", "cache.direct=on,cache.writeback=on,cache.no-flush=on"},
    {"cache=none,cache.no-flush=on", "cache.direct=on,cache.writeback=on,cache.no-flush=on"},
    {"cache.direct=off,cache=directsync", "cache=writethrough"},
    {"cache.no-flush=off,cache.writeback=off,cache=unsafe", "cache=writethrough"},
    {"cache.direct=on,cache.direct=off", "cache=writeback"},
    {"engine=auto", "cache=writeback"},
    {"engine=uring", "cache=writeback,engine=uring"},
    {"engine=threads", "cache=writeback,engine=threads"},
    {"engine=null", "cache=writeback,engine=null"},
    {"rules=/etc/r", "cache=writeback,rules=/etc/r"},
    {"rules=/etc/r,rules=relative", "cache=writeback,rules=relative"},
    {"rules=\"/a,b\"", "cache=writeback,rules=/a\\,b"},
    {"rule=*.img=none", "cache=writeback,rule=*.img=none"},
    {"rule=a=none,cache=unsafe,rule=b=unsafe", "cache=unsafe,rule=a=none,rule=b=unsafe"},
    {"rule=a=none,rule=b=unsafe,rule=a=none", "cache=writeback,rule=a=none,rule=b=unsafe"},
    {"rule=a=none,rule=a=unsafe", "cache=writeback,rule=a=none,rule=a=unsafe"},
    {"rule=b=c=none", "cache=writeback,rule=b=c=none"},
    {"rule=\"a,b=none\",rule=c\\,d=unsafe", "cache=writeback,rule=a\\,b=none,rule=c\\,d=unsafe"},
    {"rule=\\\"a b\\\"=none", "cache=writeback,rule=\\\"a b\\\"=none"},
    {"rule=a\\*=none,rule=b\\\\\\,=none", "cache=writeback,rule=a\\\\*=none,rule=b\\\\\\,=none"},
    {"rule=/vm/**=none,rules=/r", "cache=writeback,rules=/r,rule=/vm/**=none"},
    {"modes-by=owner", "cache=writeback"},
    {"modes-by=root", "cache=writeback,modes-by=root"},
    {"dirty-limit=0,dirty-max=0,dirty-age=0", "cache=writeback"},
    {"dirty-limit=67108864,dirty-max=128m", "cache=writeback,dirty-limit=64M,dirty-max=128M"},
    {"dirty-limit=1T,dirty-age=.5", "cache=writeback,dirty-limit=1T,dirty-age=0.5"},
    {"dirty-limit=1T,dirty-limit=1000", "cache=writeback,dirty-limit=1000"},
    {"dirty-limit=2048T", "cache=writeback,dirty-limit=2048T"},
    {"dirty-limit=64M,dirty-max=64M", "cache=writeback,dirty-limit=64M,dirty-max=64M"},
    {"dirty-max=1536K", "cache=writeback,dirty-max=1536K"},
    {"on-close=flush,after-crash=refuse,checkpoint=0", "cache=writeback"},
    {"on-close=none", "cache=writeback,on-close=none"},
    {"after-crash=trust", "cache=writeback,after-crash=trust"},
    {"after-crash=rollback,checkpoint=30", "cache=writeback,after-crash=rollback,checkpoint=30"},
    {"kernel-path=auto", "cache=writeback"},
    {"kernel-path=always", "cache=writeback,kernel-path=always"},
    {"kernel-path=never", "cache=writeback,kernel-path=never"},
    {"kernel-path=never,kernel-path=auto", "cache=writeback"},
    {"threads=0", "cache=writeback"},
    {"threads=1", "cache=writeback,threads=1"},
    {"threads=1024", "cache=writeback,threads=1024"},
    {"attr-timeout=1,entry-timeout=1.0,negative-timeout=0.000", "cache=writeback"},
    {"attr-timeout=0", "cache=writeback,attr-timeout=0"},
    {"entry-timeout=.25", "cache=writeback,entry-timeout=0.25"},
    {"negative-timeout=2.", "cache=writeback,negative-timeout=2"},
    {"attr-timeout=0.1,entry-timeout=0.000000001",
     "cache=writeback,attr-timeout=0.1,entry-timeout=0.000000001"},
    {"attr-timeout=1000000000", "cache=writeback,attr-timeout=1000000000"},
    {"exclusive,foreground", "cache=writeback,exclusive,foreground"},
    {"log-level=error", "cache=writeback,log-level=error"},
    {"log-level=warn", "cache=writeback,log-level=warn"},
    {"log-level=info", "cache=writeback"},
    {"log-level=debug", "cache=writeback,log-level=debug"},
    {"remount", "cache=writeback"},
    {"mask-caps=direct-io", "cache=writeback,mask-caps=direct-io"},
    {"mask-caps=kernel-path", "cache=writeback,mask-caps=kernel-path"},
    {"mask-caps=open-tree:io-uring", "cache=writeback,mask-caps=io-uring:open-tree"},
    {"context=a:b:c", "cache=writeback,context=a:b:c"},
    {"context=\"s0:c1,c2\",ro", "cache=writeback,context=s0:c1\\,c2"},
    {"\"cache=none\",engine=\"uring\"", "cache=none,engine=uring"},
    {"context=s0:c1\\,c2", "cache=writeback,context=s0:c1\\,c2"},
    {"context=a\\\\b\\\"c\\d=e", "cache=writeback,context=a\\\\b\\\"c\\\\d=e"},
    {"nofail,auto,noauto,user,user=me,nouser,users,owner,group,_netdev", "cache=writeback"},
    {"x-systemd.requires-mounts-for=/var,X-mount.mkdir,x-,comment=a b,defaults", "cache=writeback"},
    {"uhelper=u,helper=h,allow_other,default_permissions", "cache=writeback"},
    {"rw,relatime,user_id=0,group_id=0,rootmode=40000,max_read=9,blksize=4096,cache=unsafe",
     "cache=unsafe"},
};

ParameterizedTestParameters(options, accepted)
{
	return cr_make_param_array(struct accepted, (void *)accepted,
				   sizeof(accepted) / sizeof(accepted[0]), NULL);
}

ParameterizedTest(struct accepted *row, options, accepted)
{
	struct options o, again;
	char text[256], small[10];

	cr_assert_eq(parse(&o, row->string), 0, "%s", err);
	cr_assert_eq(options_describe(&o, text, sizeof(text)), (int)strlen(row->described));
	cr_assert_str_eq(text, row->described);
	cr_assert_eq(options_describe(&o, small, sizeof(small)), (int)strlen(row->described));
	cr_assert_eq(strncmp(small, text, sizeof(small) - 1), 0);

	/* What is described means the same again. */
	cr_assert_eq(parse(&again, text), 0, "%s", err);
	options_describe(&again, text, sizeof(text));
	cr_assert_str_eq(text, row->described);
	cr_assert_eq(options_remountable_diff(&o, &again, NULL, err, sizeof(err)), 0, "%s", err);
	options_free(&o);
	options_free(&again);
}

/* What is refused, and words that the sentence must have. */
static const struct refused {
	char string[120], words[3][56];
} refused[] = {
    {"cahce=none", {"\"cahce\"", "did you mean \"cache\""}},
    {"direct=on", {"\"direct\"", "\"cache.direct\""}},
    {"attr_timeout=1", {"\"attr_timeout\"", "\"attr-timeout\""}},
    {"nosiud", {"\"nosiud\"", "\"nosuid\""}},
    {"qqqqqq", {"unknown option \"qqqqqq\": --help"}},
    {"=3", {"unknown option \"\""}},
    {"mask-cap=io-uring", {"unknown option \"mask-cap\": --help"}},
    {"rulse=/f", {"unknown option \"rulse\"", "did you mean \"rule"}},
    {"rules", {"\"rules\" needs a value: rules=FILE"}},
    {"rule=", {"\"rule\" needs a value: rule=PATTERN=MODE"}},
    {"rule=*.img", {"option \"rule\", column 6 of \"*.img\"", "\"=MODE\" is missing"}},
    {"rule=a=none,rule=*=unsfe", {"\"rule\", column 3 of \"*=unsfe\"", "did you mean \"unsafe\""}},
    {"rule=[a=none", {"\"rule\", column 1 of \"[a=none\"", "'[' is not closed"}},
    {"rule=a=none cache.direct=on", {"\"rule\", column 21 of", "\"on\" is no mode"}},
    {"modes-by=rot", {"\"modes-by\"", "owner, root", "did you mean \"root\""}},
    {"kernel-path=nver", {"\"kernel-path\"", "\"nver\" is not one of", "did you mean \"never\""}},
    {"kernel-path", {"\"kernel-path\" needs a value"}},
    {"kernelpath=auto", {"did you mean \"kernel-path\""}},
    {"dirty-mx=1G", {"\"dirty-mx\"", "did you mean \"dirty-max\""}},
    {"dirty-max", {"\"dirty-max\" needs a value: dirty-max=SIZE"}},
    {"dirty-max=1MB", {"\"dirty-max\": \"1MB\" is not a size", "64M"}},
    {"dirty-max=-1", {"\"-1\""}},
    {"dirty-max=K", {"\"K\""}},
    {"dirty-max=1.5M", {"\"1.5M\""}},
    {"dirty-max=0x10", {"\"0x10\""}},
    {"dirty-limit=1P", {"\"dirty-limit\": \"1P\""}},
    {"dirty-limit=8388608T", {"\"8388608T\""}},
    {"dirty-limit=18446744073709551617", {"\"18446744073709551617\""}},
    {"dirty-limit=64M,dirty-max=32M", {"dirty-max=32M is less than dirty-limit=64M", "larger"}},
    {"dirty-age=soon", {"\"dirty-age\"", "\"soon\"", "0.25"}},
    {"on-close=flsh", {"\"on-close\"", "flush, none", "did you mean \"flush\""}},
    {"after-crash=rolback", {"\"after-crash\"", "did you mean \"rollback\""}},
    {"checkpoint=0.5", {"\"checkpoint\"", "\"0.5\"", "from 0 to 1000000"}},
    {"checkpoint=1000001", {"\"1000001\""}},
    {"bad\nname\x1b[31m=1", {"\"bad\\x0aname\\x1b[31m\""}},
    {"cache", {"\"cache\" needs a value", "cache=writeback|writethrough|"}},
    {"cache=", {"\"cache\" needs a value"}},
    {"cache=writebak", {"\"cache\"", "\"writebak\"", "did you mean \"writeback\""}},
    {"cache=7", {"\"7\"", "writeback, writethrough, none, directsync, unsafe"}},
    {"cache.direct", {"\"cache.direct\" needs a value: cache.direct=on|off"}},
    {"cache.direct=yes", {"\"cache.direct\"", "\"yes\"", "\"on\" nor \"off\""}},
    {"cache.writeback=off,cache.no-flush=on", {"cache.writeback=off", "cache.no-flush=on"}},
    {"cache=writethrough,cache.no-flush=on", {"mode writethrough", "cache.no-flush=on"}},
    {"cache=unsafe,cache.writeback=off", {"mode unsafe", "cache.writeback=off"}},
    {"engine=urign", {"\"engine\"", "auto, uring, threads;", "did you mean \"uring\""}},
    {"engine=nul", {"\"nul\" is not one of auto, uring, threads"}},
    {"threads=1025", {"\"threads\"", "\"1025\"", "from 0 to 1024"}},
    {"threads=-1", {"\"-1\""}},
    {"threads=+1", {"\"+1\""}},
    {"threads= 1", {"\" 1\""}},
    {"threads=0x10", {"\"0x10\""}},
    {"threads=18446744073709551617", {"\"18446744073709551617\""}},
    {"attr-timeout=-1", {"\"attr-timeout\"", "\"-1\"", "0.25"}},
    {"attr-timeout=.", {"\".\""}},
    {"attr-timeout=nan", {"\"nan\""}},
    {"attr-timeout=1e3", {"\"1e3\""}},
    {"attr-timeout=1s", {"\"1s\""}},
    {"attr-timeout=1000000000.1", {"\"1000000000.1\""}},
    {"attr-timeout=0.0000000001", {"\"0.0000000001\""}},
    {"exclusive=on", {"\"exclusive\" takes no value", "\"on\""}},
    {"ro=1", {"\"ro\" takes no value", "\"1\""}},
    {"log-level=warning", {"\"warning\"", "did you mean \"warn\""}},
    {"mask-caps=io-urin:cachestat", {"\"io-urin\"", "\"io-uring\""}},
    {"mask-caps=io-uring:", {"\"mask-caps\": \"\" is not one of direct-io"}},
    {"fsname=x", {"\"fsname\" cannot be given", "leave it out"}},
    {"subtype=x", {"\"subtype\" cannot be given", "leave it out"}},
    {"context=\"a,b", {"\"context\"", "double quote is not closed"}},
};

ParameterizedTestParameters(options, refused)
{
	return cr_make_param_array(struct refused, (void *)refused,
				   sizeof(refused) / sizeof(refused[0]), NULL);
}

ParameterizedTest(struct refused *row, options, refused)
{
	struct options o;
	char tiny[8];

	cr_assert_eq(parse(&o, row->string), -EINVAL, "accepted");
	for (size_t i = 0; i < 3; i++)
		cr_assert_not_null(strstr(err, row->words[i]), "%s", err);
	cr_assert_null(strpbrk(err, "\n\x1b"));
	options_free(&o);

	options_init(&o);
	cr_assert_eq(options_parse_string(&o, row->string, tiny, sizeof(tiny)), -EINVAL);
	cr_assert_eq(strncmp(tiny, err, sizeof(tiny) - 1), 0);
	options_free(&o);
}

Test(options, long_input_is_cut_in_the_sentence)
{
	static char string[100000];
	struct options o;

	for (size_t len = 1; len < sizeof(string) - 10; len = len < 400 ? len + 1 : len * 3) {
		memset(string, '\t', len);
		string[len] = '\0';
		cr_assert_eq(parse(&o, string), -EINVAL);
		cr_assert(strlen(err) < 200);
		cr_assert_not_null(strstr(err, "--help lists the known ones"));
		options_free(&o);
	}
	memset(string, 'w', sizeof(string) - 1);
	memcpy(string, "cache=", 6);
	cr_assert_eq(parse(&o, string), -EINVAL);
	cr_assert_not_null(strstr(err, "www...\" is not one of writeback"));
	options_free(&o);
}

Test(options, defaults)
{
	struct options o;

	cr_assert_eq(parse(&o, ""), 0);
	cr_assert_str_eq(mode_name(o.switches), "writeback");
	cr_assert_not(o.switches_given);
	cr_assert_eq(o.kernel_path, KERNEL_PATH_AUTO);
	cr_assert_null(o.rules);
	cr_assert_eq(o.rule_list.count, 0);
	cr_assert_null(o.parsed_rules);
	cr_assert_eq(o.modes_by, MODES_BY_OWNER);
	cr_assert_eq(o.engine, ENGINE_AUTO);
	cr_assert_eq(o.threads, 0);
	cr_assert(o.attr_timeout == 1 && o.entry_timeout == 1 && o.negative_timeout == 0);
	cr_assert_eq(o.log_level, LOG_LEVEL_INFO);
	cr_assert_not(o.exclusive || o.foreground || o.remount || o.fake || o.sloppy);
	cr_assert_eq(o.masked_capabilities, 0);
	cr_assert_eq(o.ms_set | o.ms_clear, 0);
	cr_assert_eq(o.given, 0);
	options_free(&o);
}

/* As an -o string, without the first "rule=". */
Test(options, rules_have_a_limit_in_all)
{
	static char string[RULE_OPTIONS_MAX + 100];
	struct options o;
	char described[2 * RULE_OPTIONS_MAX];

	snprintf(string, sizeof(string), "rule=%0*d\\,=none,rule=bbbbb=none", RULE_OPTIONS_MAX - 23,
		 0);
	cr_assert_eq(parse(&o, string), 0, "%s", err);
	options_describe(&o, described, sizeof(described));
	cr_assert_eq(strlen(described), strlen("cache=writeback,") + strlen(string));
	options_free(&o);
	snprintf(string, sizeof(string), "rule=%0*d\\,=none,rule=bbbbb=none", RULE_OPTIONS_MAX - 22,
		 0);
	cr_assert_eq(parse(&o, string), -EINVAL);
	cr_assert_not_null(strstr(err, "option \"rule\": more than 2048 bytes in all"), "%s", err);
	options_free(&o);
}

Test(options, given_is_known_for_each)
{
	struct options o;

	cr_assert_eq(parse(&o, "threads=0,cache.direct=off,remount"), 0);
	for (enum option_id id = 0; id < OPTIONS_TOTAL; id++)
		cr_assert_eq(options_given(&o, id), id == OPTION_THREADS ||
							id == OPTION_CACHE_DIRECT ||
							id == OPTION_REMOUNT);
	cr_assert(o.switches_given);
	cr_assert(o.remount);
	options_free(&o);
}

Test(options, fields_get_their_values)
{
	struct options o;

	cr_assert_eq(parse(&o, "engine=null,threads=7,attr-timeout=0.5,entry-timeout=2,"
			       "negative-timeout=3,exclusive,foreground,log-level=debug,"
			       "mask-caps=direct-io:cachestat,rules=r,rule=a=none,rule=b=unsafe,"
			       "modes-by=root,dirty-limit=1K,dirty-max=2M,dirty-age=1.5,"
			       "on-close=none,after-crash=trust,checkpoint=5"),
		     0);
	cr_assert_eq(o.engine, ENGINE_NULL);
	cr_assert_eq(o.threads, 7);
	cr_assert(o.attr_timeout == 0.5 && o.entry_timeout == 2 && o.negative_timeout == 3);
	cr_assert(o.exclusive && o.foreground);
	cr_assert_eq(o.log_level, LOG_LEVEL_DEBUG);
	cr_assert_eq(o.masked_capabilities, CAPABILITY_DIRECT_IO | CAPABILITY_CACHESTAT);
	cr_assert_str_eq(o.rules, "r");
	cr_assert_eq(o.rule_list.count, 2);
	cr_assert_str_eq(o.rule_list.items[0], "a=none");
	cr_assert_str_eq(o.rule_list.items[1], "b=unsafe");
	cr_assert_eq(o.modes_by, MODES_BY_ROOT);
	cr_assert_eq(o.budget.dirty_limit, 1 << 10);
	cr_assert_eq(o.budget.dirty_max, 2 << 20);
	cr_assert(o.budget.dirty_age == 1.5);
	cr_assert_eq(o.on_close, ON_CLOSE_NONE);
	cr_assert_eq(o.after_crash, AFTER_CRASH_TRUST);
	cr_assert_eq(o.checkpoint, 5);
	options_free(&o);
}

static const struct flags {
	char string[48];
	unsigned long set, clear;
} flags[] = {
    {"ro", MS_RDONLY, 0},
    {"ro,rw", 0, MS_RDONLY},
    {"rw,ro", MS_RDONLY, 0},
    {"nosuid,nodev,noexec", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0},
    {"nosuid,suid,nodev,dev,noexec,exec", 0, MS_NOSUID | MS_NODEV | MS_NOEXEC},
    {"noatime", MS_NOATIME, MS_RELATIME | MS_STRICTATIME},
    {"noatime,atime", 0, MS_ATIME_STYLES_},
    {"strictatime,noatime", MS_NOATIME, MS_RELATIME | MS_STRICTATIME},
    {"noatime,strictatime", MS_STRICTATIME, MS_RELATIME | MS_NOATIME},
    {"noatime,relatime", MS_RELATIME, MS_NOATIME | MS_STRICTATIME},
    {"relatime,norelatime", 0, MS_ATIME_STYLES_},
    {"strictatime,nostrictatime", 0, MS_ATIME_STYLES_},
    {"nodiratime,lazytime", MS_NODIRATIME | MS_LAZYTIME, 0},
    {"diratime,nolazytime", 0, MS_NODIRATIME | MS_LAZYTIME},
    {"sync,dirsync", MS_SYNCHRONOUS | MS_DIRSYNC, 0},
    {"sync,async", 0, MS_SYNCHRONOUS},
    {"mand,silent,iversion", MS_MANDLOCK | MS_SILENT | MS_I_VERSION, 0},
    {"nomand,loud,noiversion", 0, MS_MANDLOCK | MS_SILENT | MS_I_VERSION},
    {"nosymfollow", 256, 0},
    {"symfollow", 0, 256},
};

ParameterizedTestParameters(options, mount_flags)
{
	return cr_make_param_array(struct flags, (void *)flags, sizeof(flags) / sizeof(flags[0]),
				   NULL);
}

ParameterizedTest(struct flags *row, options, mount_flags)
{
	struct options o;

	cr_assert_eq(parse(&o, row->string), 0, "%s", err);
	cr_assert_eq(o.ms_set, row->set, "%lx", o.ms_set);
	cr_assert_eq(o.ms_clear, row->clear, "%lx", o.ms_clear);
	options_free(&o);
}

Test(options, labels_reach_the_kernel_quoted_where_needed)
{
	struct options o;
	char text[200];

	cr_assert_eq(parse(&o, "rootcontext=r,context=old,fscontext=\"f:c1,c2\",defcontext=d,"
			       "context=c"),
		     0);
	options_security_data(&o, text, sizeof(text));
	cr_assert_str_eq(text, "context=c,fscontext=\"f:c1,c2\",defcontext=d,rootcontext=r");
	options_free(&o);
	cr_assert_eq(parse(&o, "ro"), 0);
	cr_assert_eq(options_security_data(&o, text, sizeof(text)), 0);
	cr_assert_str_eq(text, "");
	options_free(&o);
}

/* A command line; SOURCE and MOUNTPOINT are always "s" and "m". */
static const struct command {
	char words[80];
	bool fake, sloppy, no_mtab, verbose;
	char described[40];
} commands[] = {
    {"s m", false, false, false, false, "cache=writeback"},
    {"s m -o cache=none", false, false, false, false, "cache=none"},
    {"-o cache=none s m", false, false, false, false, "cache=none"},
    {"s -ocache=none m", false, false, false, false, "cache=none"},
    {"s m -o @ -f -n -v", true, false, true, true, "cache=writeback"},
    {"-fnv s m", true, false, true, true, "cache=writeback"},
    {"s m -fo cache=unsafe -v", true, false, false, true, "cache=unsafe"},
    {"s m -o cache=none -o rw -o threads=2", false, false, false, false, "cache=none,threads=2"},
    {"s m -o cache=unsafe,cache.writeback=off -o cache.no-flush=off", false, false, false, false,
     "cache=writethrough"},
    {"s m -o bogus,cache=none -s", false, true, false, false, "cache=none"},
    {"-s s m -o bogus=1", false, true, false, false, "cache=writeback"},
    {"s m -t cachefs", false, false, false, false, "cache=writeback"},
    {"-tfuse.cachefs s m -N /proc/7/ns/mnt", false, false, false, false, "cache=writeback"},
    {"-f -- s m", true, false, false, false, "cache=writeback"},
};

ParameterizedTestParameters(options, commands)
{
	return cr_make_param_array(struct command, (void *)commands,
				   sizeof(commands) / sizeof(commands[0]), NULL);
}

ParameterizedTest(struct command *row, options, commands)
{
	struct options o;
	char text[100];

	cr_assert_eq(run(&o, row->words), 0, "%s", err);
	cr_assert_str_eq(o.source, "s");
	cr_assert_str_eq(o.mountpoint, "m");
	cr_assert_eq(o.fake, row->fake);
	cr_assert_eq(o.sloppy, row->sloppy);
	cr_assert_eq(o.no_mtab, row->no_mtab);
	cr_assert_eq(o.verbose, row->verbose);
	cr_assert_eq(o.namespace != NULL, strstr(row->words, "-N") != NULL);
	options_describe(&o, text, sizeof(text));
	cr_assert_str_eq(text, row->described);
	options_free(&o);
}

static const struct refused bad_commands[] = {
    {"@", {"SOURCE is empty"}},
    {"s", {"MOUNTPOINT is missing"}},
    {"s @", {"MOUNTPOINT is empty"}},
    {"-f", {"SOURCE and MOUNTPOINT are missing"}},
    {"s m x", {"\"x\"", "behind SOURCE and MOUNTPOINT"}},
    {"s m -- -f", {"\"-f\"", "behind SOURCE and MOUNTPOINT"}},
    {"s m -o", {"-o needs a value"}},
    {"s m -vN", {"-N needs a value"}},
    {"s m -N @", {"-N", "mount namespace"}},
    {"s m -x", {"unknown option \"-x\""}},
    {"s m -sx", {"unknown option \"-x\""}},
    {"s m --cache=none", {"\"--cache=none\"", "behind -o"}},
    {"s m -t nfs", {"-t \"nfs\"", "-t cachefs"}},
    {"s m -o bogus", {"\"bogus\""}},
    {"s m -s -o cache=bogus", {"\"bogus\""}},
    {"s m -o cache.writeback=off -o cache.no-flush=on", {"cache.no-flush=on"}},
};

ParameterizedTestParameters(options, bad_commands)
{
	return cr_make_param_array(struct refused, (void *)bad_commands,
				   sizeof(bad_commands) / sizeof(bad_commands[0]), NULL);
}

ParameterizedTest(struct refused *row, options, bad_commands)
{
	struct options o;

	cr_assert_eq(run(&o, row->string), -EINVAL, "accepted");
	for (size_t i = 0; i < 3; i++)
		cr_assert_not_null(strstr(err, row->words[i]), "%s", err);
	options_free(&o);
	cr_assert_null(o.source);
}
