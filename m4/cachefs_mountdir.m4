dnl SPDX-License-Identifier: GPL-2.0-or-later
dnl CACHEFS_MOUNTDIR: mount(8) looks for its helpers in /sbin, wherever the rest is installed.
AC_DEFUN([CACHEFS_MOUNTDIR], [
  AC_ARG_WITH([mountdir],
    [AS_HELP_STRING([--with-mountdir=DIR], [where mount(8) looks for helpers (default: /sbin)])],
    [mountdir=$withval], [mountdir=/sbin])
  AS_CASE([$mountdir],
    [yes|no], [AC_MSG_ERROR([--with-mountdir=$mountdir: give a directory])])
  AC_SUBST([mountdir])
])
