/* SPDX-License-Identifier: MIT */
/*
 * The scripts that decide, inside Redis and so at one instant, what a reader and a writer may do.
 *
 * KEYS: 1 the session's value, 2 its fence, 3 the marker. ARGV[1] is the marker that the caller
 * expects. A script that finds another one does nothing and returns -1: a marker that is set leaves
 * everything behind that was stored under others or is still under way.
 *
 * MGET instead of GET: it takes a key of another type for an absent one instead of failing.
 * Numbers of 64 bits are compared as digits of equal length, since Lua's are doubles.
 * Whoever must not fail begins to write with DEL: after it Redis lets a script go on writing also
 * when its memory is full. A fill may be refused then.
 */
#include "redis_internal.h"

/* Behind an MGET into m, the marker first. */
#define IN_FORCE "if m[1] ~= ARGV[1] then return -1 end\n"

/* ARGV: 2 began, ms by Redis' clock; 3 the value; 4 its life in ms. Returns 1 if stored. */
static const char fill[] =
    "local m = redis.call('MGET', KEYS[3])\n" IN_FORCE
    /* A writer is at work, or was until just now. */
    "if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end\n"
    /* Too late: a whole fence may have come and gone since; or the clock was set back. */
    "local t = redis.call('TIME')\n"
    "local age = t[1] * 1000 + math.floor(t[2] / 1000) - ARGV[2]\n"
    "if age < 0 or age > 1000 then return 0 end\n"
    /* Another reader began later and was here first. What has no digits in front is not ours. */
    "local old = string.sub(redis.call('MGET', KEYS[1])[1] or '', 1, 40)\n"
    "if #old == 40 and not string.find(old, '%D') and old >= string.sub(ARGV[3], 1, 40) then\n"
    "  return 0\n"
    "end\n"
    "redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])\n"
    "return 1\n";

/* ARGV: 2 the writer's token, 3 the fence's life in ms. Returns the old value and its life. */
static const char fence[] =
    "local m = redis.call('MGET', KEYS[3], KEYS[1])\n" IN_FORCE
    "local left = m[2] and redis.call('PTTL', KEYS[1]) or 0\n"
    /* From here on no reader finds the old value, and none can put it back. */
    "redis.call('DEL', KEYS[1])\n"
    "redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])\n"
    "return {m[2], left}\n";

/* ARGV: 2 the writer's token ('' if it has none), 3 a fresh one, 4 the value ('' for none), 5 its
 * life in ms, 6 '1' if the outcome of the write is in doubt. Returns 1 if the fence was its own. */
static const char settle[] =
    "local m = redis.call('MGET', KEYS[3], KEYS[2])\n" IN_FORCE "redis.call('DEL', KEYS[1])\n"
    /* Its own: no other writer has begun since. One that had begun before finds this token. */
    "local own = m[2] == ARGV[2]\n"
    "if own and ARGV[4] ~= '' then redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5]) end\n"
    /* Left for 2 s: who read before the commit may fill for 1 s after. In doubt, the
     * commit may yet come, so the fence stays as long as it was made for. */
    "local left = own and ARGV[6] ~= '1' and 0 or redis.call('PTTL', KEYS[2])\n"
    "if own then\n"
    "  if left < 2000 then redis.call('PEXPIRE', KEYS[2], 2000) end\n"
    "  return 1\n"
    "end\n"
    /* Somebody else wrote meanwhile, and which of the two committed last is not known
     * here. The fresh token takes from the other one, too, the right to store. */
    "redis.call('SET', KEYS[2], ARGV[3], 'PX', math.max(left, 2000))\n"
    "return 0\n";

/* For itself: KEYS[1] is the marker, ARGV[1] the new one, '' for none. */
static const char mark[] = "redis.call('DEL', KEYS[1])\n"
                           "if ARGV[1] ~= '' then redis.call('SET', KEYS[1], ARGV[1]) end\n"
                           "return 1\n";

const char *cache_script_text(enum cache_script s)
{
    switch (s) {
    case SCRIPT_FILL:
        return fill;
    case SCRIPT_FENCE:
        return fence;
    case SCRIPT_SETTLE:
        return settle;
    case SCRIPT_MARK:
        break;
    }
    return mark;
}
