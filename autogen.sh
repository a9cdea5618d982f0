#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Makes ./configure. A tarball made by "make dist" has it already.
set -e
cd "$(dirname "$0")"
exec autoreconf --force --install
