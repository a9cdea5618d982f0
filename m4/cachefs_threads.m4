dnl SPDX-License-Identifier: GPL-2.0-or-later
dnl CACHEFS_THREADS: POSIX threads, which older C libraries keep apart.
AC_DEFUN([CACHEFS_THREADS], [
  AC_SEARCH_LIBS([pthread_create], [pthread], [],
    [AC_MSG_ERROR([no POSIX threads found: install a C library with pthread_create])])
])
