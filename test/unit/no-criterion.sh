#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Stands in for the unit tests where configure did not find the library that they are written with.
echo "1..0 # SKIP unit tests: Criterion not found by configure (Debian: libcriterion-dev)"
