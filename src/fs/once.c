/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs/once.h"

#include <stddef.h>

static _Thread_local struct once *current;

void fs_thread_once(struct once *o)
{
	current = o;
}

struct once *fs_once(void)
{
	return current;
}
