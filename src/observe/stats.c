/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "observe/stats.h"

#include "base/log.h"
#include "durability/flush.h"

void stats_log(void)
{
	log_info("flushes received %llu, honoured %llu, dropped %llu; %.3f s in honoured ones",
		 atomic_load(&flush_totals.received), atomic_load(&flush_totals.honoured),
		 atomic_load(&flush_totals.dropped), (double)atomic_load(&flush_totals.nsec) / 1e9);
}
