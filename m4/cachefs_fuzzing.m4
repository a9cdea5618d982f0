dnl SPDX-License-Identifier: GPL-2.0-or-later
dnl CACHEFS_FUZZING: libFuzzer (clang's) under the fuzz targets, instead of their own driver. The whole
dnl library is built for it, since libFuzzer is led by what the code under test runs through.
AC_DEFUN([CACHEFS_FUZZING], [
  AC_REQUIRE([CACHEFS_SANITIZERS])
  AC_ARG_ENABLE([fuzzing],
    [AS_HELP_STRING([--enable-fuzzing], [build the fuzz targets with libFuzzer (CC=clang)])],
    [], [enable_fuzzing=no])
  AS_IF([test "x$enable_fuzzing" = xyes], [
    SANITIZER_FLAGS="$SANITIZER_FLAGS -fsanitize=fuzzer-no-link,address -fno-omit-frame-pointer"
    cachefs_saved_cflags=$CFLAGS
    CFLAGS="$CFLAGS $SANITIZER_FLAGS -fsanitize=fuzzer"
    AC_LINK_IFELSE([AC_LANG_SOURCE([[
      #include <stddef.h>
      int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
      int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
      { return data == NULL && size == 1; }]])], [],
      [AC_MSG_ERROR([--enable-fuzzing: $CC does not link with -fsanitize=fuzzer,address: use CC=clang, and install its runtime (Debian: libclang-rt-14-dev)])])
    CFLAGS=$cachefs_saved_cflags
  ])
  AC_SUBST([FUZZ_ENGINE], [-fsanitize=fuzzer])
  AM_CONDITIONAL([FUZZING], [test "x$enable_fuzzing" = xyes])
])
