/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/plan.h"

#include <errno.h>
#include <fcntl.h>

#include "config/options.h"

#define WITHHOLD(id, field, name)                                                                  \
	if (mask & CAPABILITY_##id)                                                                \
		caps->field = false;

void capabilities_mask(struct capabilities *caps, unsigned int mask)
{
	CAPABILITY_TABLE(WITHHOLD)
}

/*
 * The registered file's flags do not matter: the kernel opens the backing file again with the
 * client's (backing_file_open(), Linux 6.18). So these alone must mean the mode. Direct modes and
 * writethrough are served by the daemon: passthrough holds the inode lock over each write, which
 * costs writers in parallel a factor of three. O_APPEND stays with the daemon, too: the kernel's
 * own open of the backing file keeps it when the client clears it with F_SETFL, and a write would
 * land in the wrong place.
 */
static bool client_means_mode(struct switches sw, int client_flags)
{
	if (sw.direct || !sw.writeback || client_flags & (O_DIRECT | O_APPEND))
		return false;
	return !sw.no_flush || !(client_flags & (O_DSYNC | O_SYNC));
}

/* The same where the inode's sync attribute may stand in for O_DSYNC, and locking is put up with.
 */
static bool client_can_mean_mode(struct switches sw, int client_flags)
{
	if (client_flags & O_APPEND || sw.direct != !!(client_flags & O_DIRECT))
		return false;
	return !sw.no_flush || !(client_flags & (O_DSYNC | O_SYNC));
}

static bool on_kernel_path(enum kernel_path kernel_path, struct switches sw, int client_flags)
{
	return kernel_path == KERNEL_PATH_ALWAYS ? client_can_mean_mode(sw, client_flags)
						 : client_means_mode(sw, client_flags);
}

struct plan plan_open(struct switches sw, enum kernel_path kernel_path, int client_flags,
		      const struct capabilities *caps)
{
	bool allowed = kernel_path != KERNEL_PATH_NEVER && caps->kernel_path;
	bool kernel = allowed && on_kernel_path(kernel_path, sw, client_flags);

	if (!switches_valid(sw))
		return (struct plan){.error = -EINVAL};
	if (sw.direct && !caps->backing_direct_io)
		return (struct plan){.error = -EOPNOTSUPP};

	return (struct plan){
	    .direct = sw.direct,
	    .write_rwf = sw.writeback ? 0 : RWF_DSYNC,
	    .flush = sw.no_flush ? FLUSH_DROP : FLUSH_EXECUTE,
	    .sync_metadata = !sw.writeback,
	    .backing_id =
		allowed && (kernel_path == KERNEL_PATH_ALWAYS || (!sw.direct && sw.writeback)),
	    .kernel = kernel,
	    /* a reader must not change the file's ctime, as setting the attribute does */
	    .kernel_sync = kernel && !sw.writeback && (client_flags & O_ACCMODE) != O_RDONLY,
	    .fopen_direct_io = !kernel,
	    .fopen_parallel_direct_writes = !(client_flags & O_APPEND),
	    .fopen_noflush = true,
	};
}

int plan_write_rwf(const struct plan *plan, int write_flags)
{
	if (plan->flush == FLUSH_DROP)
		return 0;
	/* O_SYNC contains the bit of O_DSYNC. */
	if ((write_flags & O_SYNC) == O_SYNC)
		return RWF_SYNC;
	if (write_flags & O_DSYNC)
		return RWF_DSYNC;
	return plan->write_rwf;
}
