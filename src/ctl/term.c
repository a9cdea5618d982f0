/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/term.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "base/util.h"

static struct termios before;
static bool on_screen;

size_t term_width(void)
{
	const char *columns = getenv("COLUMNS");
	struct winsize ws;
	long n;

	if (!isatty(STDOUT_FILENO))
		return 0;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col > 0)
		return ws.ws_col;
	n = columns ? strtol(columns, NULL, 10) : 0;
	return n > 0 && n < 10000 ? (size_t)n : 80;
}

size_t term_height(void)
{
	struct winsize ws;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_row > 0)
		return ws.ws_row;
	return 24;
}

bool term_colours(void)
{
	const char *no = getenv("NO_COLOR");

	return isatty(STDOUT_FILENO) && (!no || !*no);
}

int screen_begin(void)
{
	struct termios raw;

	if (!isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &before) < 0)
		return -ENOTTY;
	raw = before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) < 0)
		return -errno;
	if (!on_screen)
		atexit(screen_end);
	on_screen = true;
	/* alternate screen, no cursor */
	fputs("\033[?1049h\033[?25l", stdout);
	fflush(stdout);
	return 0;
}

void screen_end(void)
{
	if (!on_screen)
		return;
	on_screen = false;
	fputs("\033[?25h\033[?1049l", stdout);
	fflush(stdout);
	tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
}

int term_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGWINCH);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	return sysret(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

static enum term_event read_signal(int signals)
{
	struct signalfd_siginfo info;

	if (read(signals, &info, sizeof(info)) != sizeof(info))
		return TERM_TIMEOUT;
	return info.ssi_signo == SIGWINCH ? TERM_RESIZED : TERM_END;
}

enum term_event term_wait(int signals, bool interactive, unsigned long long nsec, char *key)
{
	struct pollfd p[] = {{.fd = signals, .events = POLLIN},
			     {.fd = interactive ? STDIN_FILENO : -1, .events = POLLIN}};
	struct timespec t = {.tv_sec = (time_t)(nsec / 1000000000u),
			     .tv_nsec = (long)(nsec % 1000000000u)};

	if (ppoll(p, ARRAY_SIZE(p), &t, NULL) <= 0)
		return TERM_TIMEOUT;
	if (p[0].revents)
		return read_signal(signals);
	return read(STDIN_FILENO, key, 1) == 1 ? TERM_KEY : TERM_END;
}
