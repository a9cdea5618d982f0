dnl SPDX-License-Identifier: GPL-2.0-or-later
dnl CACHEFS_URING: the I/O engine. A kernel that refuses io_uring is found at run time, not here.
AC_DEFUN([CACHEFS_URING], [
  PKG_CHECK_MODULES([URING], [liburing >= 2.3], [],
    [AC_MSG_ERROR([liburing 2.3 or newer not found: install liburing-dev (Debian) or liburing-devel])])
])
