#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""main.py [PATTERN]: runs the tests of tests/system/test_*.py whose name holds PATTERN.

The last line is `N passed, N failed, N skipped`; the exit status is 0 only if something passed and
nothing failed.
"""
import os
import sys

from runner import run

if __name__ == "__main__":
    sys.exit(run(os.path.dirname(os.path.abspath(__file__)), *sys.argv[1:2]))
