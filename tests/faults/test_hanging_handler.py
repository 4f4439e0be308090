# SPDX-License-Identifier: MIT
"""A handler that does not return, long after the deadline of its request: its worker is replaced."""
import ctypes
import os
import threading

from harness import eventually, metrics, say
from stack import StackTest, children, wait_until

PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207
WAIT_ALL = 0x40000000   # __WALL: for threads, too


class Hang(StackTest):
    """No input makes a handler hang, so a debugger stops all threads of a worker but its first."""
    env = {"PARLEY_WORKERS": "2", "PARLEY_REQUEST_MS": "500", "PARLEY_ACQUIRE_MS": "400", "PARLEY_DRAIN": "2", "PARLEY_STATEMENT_MS": "400"}

    @staticmethod
    def stop_threads(pid):
        """Stops them until the process ends; their ids."""
        ptrace = ctypes.CDLL(None, use_errno=True).ptrace
        ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        threads = [int(tid) for tid in os.listdir(f"/proc/{pid}/task") if int(tid) != pid]
        for tid in threads:
            for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
                if ptrace(request, tid, None, None) != 0:
                    raise OSError(ctypes.get_errno(), "ptrace")
        return threads

    def busy_worker(self):
        """The pid of one whose handler serves a request; None: there is none."""
        return next((w["pid"] for w in self.get("/status")["workers"] if w["threads_busy"] > 0), None)

    def test_worker_is_replaced(self):
        """While the other one serves. The line in the log names the request. Fails if workers do not ask for their
        replacement, or if the hanging handler is not in the metrics: tried."""
        self.put("/v1/sessions/hang", {}, status=201)
        self.stack.postgres.pause()
        self.addCleanup(self.stack.postgres.resume)
        client = self.stack.client()
        waiting = threading.Thread(target=lambda: client.post(
            "/v1/sessions/hang/messages", {"role": "user", "content": "x"}, headers={"X-Request-Id": "the-one"}))
        waiting.start()
        wait_until(self.busy_worker, 10, "a request that waits")
        hanging = self.busy_worker()
        threads = self.stop_threads(hanging)
        self.stack.postgres.resume()
        wait_until(lambda: self.events("request_hangs"), 30, "the line in the log")
        line = self.events("request_hangs")[-1]
        say(str(line))
        self.assertEqual((line["pid"], line["request_id"], line["route"]), (hanging, "the-one", "messages_append"))

        def ended():
            """A thread of a debugger's process has ended when the debugger knows."""
            for tid in threads:
                try:
                    os.waitpid(tid, WAIT_ALL | os.WNOHANG)
                except ChildProcessError:
                    pass
            return hanging not in children(self.stack.parley.pid)
        self.assertIsNotNone(eventually(ended, 30), "the worker goes on")
        wait_until(lambda: len(self.stack.worker_pids()) == 2, 30, "two workers")
        waiting.join()
        for _ in range(20):
            self.get("/v1/sessions/hang")
        self.assertEqual(len(self.events("request_hangs")), 1)
        self.assertEqual(metrics(self.client)["parley_request_hangs_total"], 1)
