#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""main.py [--seed N] [PATTERN]: runs the fault tests of tests/faults whose name holds PATTERN.

FAULTS=short (the default) runs each for as long as a change can wait for it, FAULTS=long with the
bounds of docs/internals/reliability.md. A run prints its seed; with --seed all random choices of the tests are
those of that run (what the kernel schedules is not).
"""
import argparse
import os
import secrets
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(1, os.path.dirname(HERE) + "/system")  # after HERE: a name may be in both

from runner import run


def main():
    """The exit status."""
    parser = argparse.ArgumentParser(description="the fault suite")
    parser.add_argument("--seed", type=int)
    parser.add_argument("pattern", nargs="?", default="")
    options = parser.parse_args()
    form = os.environ.setdefault("FAULTS", "short")
    if form not in ("short", "long"):
        parser.error(f"FAULTS={form}: it is short or long")
    seed = secrets.randbelow(10 ** 9) if options.seed is None else options.seed
    os.environ["FAULTS_SEED"] = str(seed)
    print(f"seed {seed}: make test-faults FAULTS={form} SEED={seed} T='{options.pattern}'", flush=True)
    return run(HERE, options.pattern)


if __name__ == "__main__":
    sys.exit(main())
