// SPDX-License-Identifier: MIT
// A reporter for node's test runner: one JSON line a test, for tests/system/test_clients.py.
import { inspect } from "node:util";

export default async function* report(events) {
  for await (const { type, data } of events) {
    if (type !== "test:pass" && type !== "test:fail") continue;
    const error = data.details?.error;
    yield `${JSON.stringify({
      name: data.name,
      ok: type === "test:pass",
      skip: data.skip,
      error: error && inspect(error.cause ?? error, { depth: 4 }),
    })}\n`;
  }
}
