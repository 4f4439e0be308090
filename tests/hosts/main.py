#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""main.py [PATTERN]: runs the tests of tests/hosts whose name holds PATTERN: several hosts, replicated
PostgreSQL, pgbouncer, Redis Sentinel, upgrades. FAULTS=short (the default) or long, as in tests/faults.

Tests in network namespaces need root, and are skipped with a line otherwise.
"""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
# After HERE: a name may be in several of them.
sys.path[1:1] = [os.path.dirname(HERE) + "/faults", os.path.dirname(HERE) + "/system"]

from runner import run

if __name__ == "__main__":
    os.environ.setdefault("FAULTS", "short")
    sys.exit(run(HERE, *sys.argv[1:2]))
