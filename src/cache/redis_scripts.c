/* SPDX-License-Identifier: MIT */
/*
 * The scripts that decide, inside Redis and so at one instant, what a reader and a writer may do.
 *
 * KEYS: 1 the session's value, 2 its fence, 3 the marker, 4 the new value, where the caller has
 * just set it under a name of its own (none: there is none). ARGV[1] is the marker that the caller
 * expects. A script that finds another one does nothing and returns -1: a marker that is set leaves
 * everything behind that was stored under others or is still under way.
 *
 * No value goes through a script, in or out: to make a string of 10 KB takes Lua longer than all
 * else here. What order a value has is in its first bytes (cache_codec.c).
 *
 * MGET instead of GET: it takes a key of another type for an absent one instead of failing.
 * Numbers of 64 bits are compared as digits of equal length, since Lua's are doubles.
 * Whoever must not fail begins to write with DEL: after it Redis lets a script go on writing also
 * when its memory is full. A fill may be refused then.
 */
#include "redis_internal.h"

/* What lies beside its place and is not taken must not stay there: it may be as large as many
 * others, and comes again with each reader. */
#define DROP_BESIDE "if KEYS[4] then redis.call('DEL', KEYS[4]) end\n"
#define IN_FORCE                                                                      \
    "if redis.call('MGET', KEYS[3])[1] ~= ARGV[1] then\n" DROP_BESIDE "  return -1\n" \
    "end\n"
#define ORDER_OF_OLD                                        \
    "local old = redis.pcall('GETRANGE', KEYS[1], 0, 39)\n" \
    "if type(old) ~= 'string' then old = '' end\n"
#define PUT_IN_PLACE                           \
    "redis.call('RENAME', KEYS[4], KEYS[1])\n" \
    "redis.call('PEXPIRE', KEYS[1], ARGV[4])\n"

/* ARGV: 2 began, ms by Redis' clock; 3 the order of the value, 4 its life in ms. Returns 1 if
 * stored. */
static const char fill[] = IN_FORCE
    "local function refused()\n" DROP_BESIDE "  return 0\n"
    "end\n"
    /* A writer is at work, or was until just now. */
    "if redis.call('EXISTS', KEYS[2]) == 1 then return refused() end\n"
    /* Too late: a whole fence may have come and gone since; or the clock was set back. */
    "local t = redis.call('TIME')\n"
    "local age = t[1] * 1000 + math.floor(t[2] / 1000) - ARGV[2]\n"
    "if age < 0 or age > 1000 then return refused() end\n"
    /* Another reader began later and was here first. What has no digits in front is not ours. */
    ORDER_OF_OLD
    "if #old == 40 and not string.find(old, '%D') and old >= ARGV[3] then return refused() end\n"
    "if redis.call('EXISTS', KEYS[4]) == 0 then return refused() end\n" PUT_IN_PLACE "return 1\n";

/* ARGV: 2 the writer's token, 3 the fence's life in ms. Returns the order of the old value and its
 * life. */
static const char fence[] = IN_FORCE ORDER_OF_OLD
    "local left = old ~= '' and redis.call('PTTL', KEYS[1]) or 0\n"
    /* From here on no reader finds the old value, and none can put it back. */
    "redis.call('DEL', KEYS[1])\n"
    "redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])\n"
    "return {old, left}\n";

/* ARGV: 2 the writer's token ('' if it has none), 3 a fresh one, 4 the value's life in ms, 5 '1' if
 * the outcome of the write is in doubt. Returns 1 if the fence was its own. */
static const char settle[] = IN_FORCE
    /* Its own: no other writer has begun since. One that had begun before finds this token. */
    "local own = redis.call('MGET', KEYS[2])[1] == ARGV[2]\n"
    "redis.call('DEL', KEYS[1])\n"
    "if own then\n"
    "  if KEYS[4] and redis.call('EXISTS', KEYS[4]) == 1 then\n" PUT_IN_PLACE "  end\n"
    /* Left for 2 s: who read before the commit may fill for 1 s after. In doubt, the
     * commit may yet come, so the fence stays as long as it was made for. */
    "  if ARGV[5] ~= '1' or redis.call('PTTL', KEYS[2]) < 2000 then\n"
    "    redis.call('PEXPIRE', KEYS[2], 2000)\n"
    "  end\n"
    "  return 1\n"
    "end\n"
    /* Somebody else wrote meanwhile, and which of the two committed last is not known
     * here. The fresh token takes from the other one, too, the right to store. */
    "local left = redis.call('PTTL', KEYS[2])\n"
    "redis.call('SET', KEYS[2], ARGV[3], 'PX', math.max(left, 2000))\n" DROP_BESIDE "return 0\n";

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
