dnl SPDX-License-Identifier: GPL-2.0-or-later
dnl CACHEFS_JANSSON: cachefsctl reads and writes JSON with it. The daemon does without.
AC_DEFUN([CACHEFS_JANSSON], [
  PKG_CHECK_MODULES([JANSSON], [jansson >= 2.13], [],
    [AC_MSG_ERROR([jansson 2.13 or newer not found: install libjansson-dev (Debian) or jansson-devel])])
])
