dnl SPDX-License-Identifier: GPL-2.0-or-later
dnl CACHEFS_SANITIZERS: the same flags for compiling and linking, and a trial that they link.
AC_DEFUN([CACHEFS_SANITIZERS], [
  AC_ARG_ENABLE([sanitizers],
    [AS_HELP_STRING([--enable-sanitizers], [build with the address and undefined-behaviour sanitizers])],
    [], [enable_sanitizers=no])
  SANITIZER_FLAGS=
  AS_IF([test "x$enable_sanitizers" = xyes], [
    SANITIZER_FLAGS="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
    cachefs_saved_cflags=$CFLAGS
    CFLAGS="$CFLAGS $SANITIZER_FLAGS"
    AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])], [],
      [AC_MSG_ERROR([--enable-sanitizers: $CC does not link with $SANITIZER_FLAGS])])
    CFLAGS=$cachefs_saved_cflags
  ])
  AC_SUBST([SANITIZER_FLAGS])
])
