dnl SPDX-License-Identifier: GPL-2.0-or-later
dnl CACHEFS_CRITERION: only the unit tests need it; without it they are reported as skipped.
AC_DEFUN([CACHEFS_CRITERION], [
  PKG_CHECK_MODULES([CRITERION], [criterion >= 2.3], [have_criterion=yes], [have_criterion=no])
  AM_CONDITIONAL([HAVE_CRITERION], [test "x$have_criterion" = xyes])
])
