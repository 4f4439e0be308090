-- SPDX-License-Identifier: MIT
-- wrk -s wrk.lua URL -- METHOD PATH BODY LOW HIGH STEP: the requests of load.py. {n} in PATH stands for the
-- number of a session, at random one of LOW, LOW + STEP, … HIGH. The rest of a request is made at the start.
local before, after, low, step, last

function init(args)
  low, step = tonumber(args[4]), tonumber(args[6])
  last = math.floor((tonumber(args[5]) - low) / step)
  wrk.headers["Content-Type"] = "application/json"
  math.randomseed(os.time())
  before = wrk.format(args[1], args[2], nil, args[3] ~= "" and args[3] or nil)
  local from, to = before:find("{n}", 1, true)
  if from then before, after = before:sub(1, from - 1), before:sub(to + 1) end
end

function request()
  if after then
    return before .. ("%012d"):format(low + step * math.random(0, last)) .. after
  end
  return before
end

function done(summary, latency)
  local e = summary.errors
  io.write(("RESULT %d %d %f %f %f %f %d\n"):format(
    summary.requests, summary.duration, latency:percentile(50) / 1000, latency:percentile(90) / 1000,
    latency:percentile(99) / 1000, latency.max / 1000,
    e.connect + e.read + e.write + e.status + e.timeout))
end
