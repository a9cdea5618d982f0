/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cap.h"

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"

#define BIT(cap) (1u << ((cap)&31))

/* Of the capabilities below 32; none of the later ones is kept. */
#define KEPT                                                                                       \
	(BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_DAC_READ_SEARCH) | BIT(CAP_FOWNER) |     \
	 BIT(CAP_FSETID) | BIT(CAP_SETUID) | BIT(CAP_SETGID) | BIT(CAP_MKNOD) |                    \
	 BIT(CAP_SYS_ADMIN) | BIT(CAP_LINUX_IMMUTABLE) | BIT(CAP_KILL) | BIT(CAP_IPC_LOCK))

struct caps {
	struct __user_cap_header_struct head;
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
};

static int caps_get(struct caps *c)
{
	*c = (struct caps){.head = {.version = _LINUX_CAPABILITY_VERSION_3}};
	return sysret((int)syscall(SYS_capget, &c->head, c->data));
}

static int caps_set(struct caps *c)
{
	c->head.pid = 0;
	return sysret((int)syscall(SYS_capset, &c->head, c->data));
}

int cap_drop_unneeded(void)
{
	/* CAP_SETFCAP lets clients' own capabilities on files (cp -a, dpkg) be stored */
	uint32_t setfcap = BIT(CAP_SETFCAP);
	struct caps c;
	int err = caps_get(&c);

	if (err)
		return err;
	c.data[0].permitted &= KEPT | setfcap;
	c.data[0].effective &= KEPT | setfcap;
	c.data[1].permitted = 0;
	c.data[1].effective = 0;
	c.data[0].inheritable = 0;
	c.data[1].inheritable = 0;
	return caps_set(&c);
}

static _Thread_local enum { FSETID_UNKNOWN, FSETID_ON, FSETID_OFF } fsetid;

void cap_thread_fsetid_changed(void)
{
	fsetid = FSETID_UNKNOWN;
}

void cap_thread_fsetid(bool on)
{
	struct caps c;

	if (fsetid == (on ? FSETID_ON : FSETID_OFF) || caps_get(&c))
		return;
	if (on)
		c.data[0].effective |= BIT(CAP_FSETID) & c.data[0].permitted;
	else
		c.data[0].effective &= ~BIT(CAP_FSETID);
	if (!caps_set(&c))
		fsetid = on ? FSETID_ON : FSETID_OFF;
}

void cap_thread_raise(uint32_t caps)
{
	struct caps c;

	if (caps_get(&c))
		return;
	c.data[0].effective |= caps & c.data[0].permitted;
	caps_set(&c);
}
