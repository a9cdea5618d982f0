dnl SPDX-License-Identifier: GPL-2.0-or-later
dnl CACHEFS_UTHASH: a header without a library and without a pkg-config file.
AC_DEFUN([CACHEFS_UTHASH], [
  AC_CHECK_HEADER([uthash.h], [],
    [AC_MSG_ERROR([uthash.h not found: install uthash-dev (Debian) or uthash-devel])])
])
