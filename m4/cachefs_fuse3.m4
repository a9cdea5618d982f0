dnl SPDX-License-Identifier: GPL-2.0-or-later
dnl CACHEFS_FUSE3: libfuse mounts, unmounts and parses mount options. 3.14 is what Debian 12 has;
dnl what newer kernels can do does not depend on it, since requests are decoded by ourselves.
AC_DEFUN([CACHEFS_FUSE3], [
  PKG_CHECK_MODULES([FUSE3], [fuse3 >= 3.14], [],
    [AC_MSG_ERROR([libfuse 3.14 or newer not found: install libfuse3-dev (Debian) or fuse3-devel])])
])
