# SPDX-License-Identifier: MIT
"""The step overload of scale.py: 1,000 connections at nginx that ask for twice what can be served.

The peak is the rate of clients that wait for their answers. Then offer.c sends at a fixed rate, twice the peak.
The excess is refused, or not sent because all connections wait.
"""
import os
import statistics

import load
import report
import seed
from bench_stack import BenchStack
from stack import PARLEY

OFFER = os.environ.get("PARLEY_BENCH_OFFER", os.path.dirname(PARLEY) + "/offer")
CONNECTIONS = 1000
FIELDS = ("seconds", "sent", "served", "refused", "failed", "unsent", "p50", "p99", "max",
          "refused_p50", "refused_p99", "refused_max")


def offer(stack, operation, connections, rate, seconds):
    """One measurement; the fields of offer.c, times in ms, and rates a second."""
    method, path, body = load.REQUESTS[operation]
    before = load.cpu_seconds(stack)
    out = load.run([OFFER, str(stack.nginx.port), str(connections), f"{rate:.0f}", str(seconds), stack.key,
                    method, path, body, "1", "1000"])
    got = dict(zip(FIELDS, map(float, out.split()[1:])))
    for name in FIELDS[6:]:
        got[name] /= 1000
    for name in FIELDS[1:6]:
        got[name] /= got["seconds"]
    got["cpu"] = load.cpu_us(before, load.cpu_seconds(stack), got["sent"] * got["seconds"])
    return got


def show(what, got):
    """One line of a measurement."""
    print(f"  {what:22} served {got['served']:6.0f}/s p50 {got['p50']:6.1f} p99 {got['p99']:6.1f} max {got['max']:6.0f} ms,"
          f" refused {got['refused']:6.0f}/s p99 {got['refused_p99']:6.1f} ms, not sent {got['unsent']:6.0f}/s,"
          f" failed {got['failed']:.0f}/s; us " + ", ".join(f"{n} {us:.0f}" for n, us in got["cpu"].items()),
          flush=True)


def cost(got):
    """CPU microseconds of all servers for each served request. Refused requests count as cost."""
    return report.served_cpu(got) * got["sent"] / max(1, got["sent"] - got["refused"] - got["failed"])


def measure(options, results):
    """Goodput against the peak, in turn."""
    with BenchStack() as stack:
        seed.fill(stack, 1, 1000, 50)
        seed.settle(stack)
        for settings, operation in (("one", "get"), ("one", "append"), ("many-memory", "append")):
            stack.switch(settings)
            load.wrk(stack, stack.nginx.port, operation, 16, 1, (1, 1000, 1))
            rounds = []
            print(f"{operation} {settings}", flush=True)
            for _ in range(options.rounds):
                with load.alone():
                    peak = max((offer(stack, operation, n, 0, options.seconds) for n in (16, 64)),
                               key=lambda got: got["served"])
                    show("peak, waiting", peak)
                    # This opens the connections to parley and PostgreSQL first.
                    offer(stack, operation, CONNECTIONS, 2 * peak["served"], 1)
                    twice = offer(stack, operation, CONNECTIONS, 2 * peak["served"], options.seconds)
                    show(f"{2 * peak['served']:.0f}/s offered", twice)
                    rounds.append({"peak": peak, "twice": twice})
            share = statistics.median(r["twice"]["served"] / r["peak"]["served"] for r in rounds)
            p99, refused = (statistics.median(r["twice"][name] for r in rounds) for name in ("p99", "refused_p99"))
            cpu = statistics.median(cost(r["twice"]) / cost(r["peak"]) for r in rounds)
            print(f"{operation} {settings}: goodput {share:.2f} of the peak (at least 0.9: "
                  f"{'holds' if share >= 0.9 else 'FALLS SHORT'}), CPU {cpu:.2f}; p99 of the served {p99:.0f} ms, of "
                  f"the refused {refused:.0f} ms", flush=True)
            results.append({"what": f"overload {operation} {settings}", "goodput": share, "cpu": cpu, "p99": p99,
                            "refused_p99": refused, "rounds": rounds})
