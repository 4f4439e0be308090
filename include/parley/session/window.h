/*
 * A window: the newest messages of a session that fit budgets and that a model accepts, oldest
 * first. A model accepts no result of a tool without its call, and no call without its result.
 * A summary covers all messages up to its seq. docs/reference/windows.md has the rules. Thread
 * rule and errors: session.h.
 */
#pragma once

#include "parley/session/session.h"

/* Sets of roles. An item's output counts as a tool's, any other item without a role as the
 * assistant's. */
enum session_roles {
    SESSION_ROLE_USER = 1,
    SESSION_ROLE_ASSISTANT = 2,
    SESSION_ROLE_SYSTEM = 4,
    SESSION_ROLE_DEVELOPER = 8,
    SESSION_ROLE_TOOL = 16
};
/* OpenAI's and LangChain's names of the roles; other roles are in no set. */
enum { SESSION_ROLE_NAMES = 8 };
extern const struct session_role_name {
    const char *name;
    enum session_roles role;
} session_role_names[SESSION_ROLE_NAMES];

struct session_cost {
    int64_t messages, tokens, bytes; /* bytes: of content, metadata and extra */
};

struct session_window_query {
    struct session_cost most;  /* of messages at most SESSION_MESSAGES_MAX, of bytes page_bytes */
    unsigned start_on, end_on; /* enum session_roles; end_on 0: any role */
    bool include_system;       /* the newest system or developer message comes with it */
    int64_t last_seq;          /* no message after it; 0: none is left out */
};

struct session_window {
    struct session_message *messages; /* summary, system message, start before a gap, the rest */
    size_t n;
    struct session_cost cost;            /* of messages */
    int64_t estimated;                   /* how many of them had no tokens of their own */
    int64_t first_seq, last_seq;         /* without an older system message or start; 0: none */
    int64_t summary_seq, system_seq;     /* 0: it has no summary, no system message */
    int64_t gap_first_seq, gap_last_seq; /* 0: there is no gap */
    bool truncated;                      /* older messages are left out */
    struct sv *open_calls;               /* ids of calls at the end without a result yet */
    int64_t *omitted; /* seqs of messages after first_seq that no model accepts */
    size_t n_open_calls, n_omitted;
    struct cache_stamp stamp;
    bool degraded; /* as in struct session */
};

/* ERR_NO_WINDOW: the budgets are too small, and ctx->err.members says what is needed; or no model
 * accepts any message of the session. */
MUSTCHECK enum err session_window(struct sessions *s, struct request_ctx *ctx, struct sv id,
                                  struct sv user, const struct session_window_query *query,
                                  struct session_window *out);
