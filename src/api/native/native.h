/* SPDX-License-Identifier: MIT */
/* The native interface: its handlers, what reads their bodies and what writes their answers. */
#pragma once

#include "api/common/handler.h"
#include "parley/session/users.h"
#include "parley/session/window.h"

/* native_sessions.c, native_messages.c, native_edit.c, native_users.c,
 * native_list.c, native_state.c, native_search.c, native_key.c */
api_handler native_session_create, native_session_get, native_session_patch, native_messages_append,
    native_messages_page, native_message_get, native_message_delete, native_message_patch,
    native_messages_truncate, native_session_fork, native_window_get, native_summary_change,
    native_session_list, native_user_export, native_user_delete, native_user_state, native_search,
    native_key;
extern const struct api_param native_session_params[], native_append_params[], native_page_params[],
    native_message_params[], native_truncate_params[], native_list_params[],
    native_user_list_params[], native_window_params[], native_search_params[];

/* native_input.c: reads bodies; each failure names the field at fault. */

/* id: in the path of a PUT; absent for a POST, whose body may name one. user: of X-Parley-User, who
 * owns what is created, or absent. */
MUSTCHECK enum err native_read_draft(const struct json_input *body, struct sv id, struct sv user,
                                     struct session_draft *out);
MUSTCHECK enum err native_read_patch(const struct json_input *body, struct session_patch *out);
/* One message, as it is or as {"message": {…}} (*single), or {"messages": […]}. */
MUSTCHECK enum err native_read_messages(const struct json_input *body, struct session_append *out,
                                        bool *single);
MUSTCHECK enum err native_read_message_patch(const struct json_input *body,
                                             struct session_message *out);
MUSTCHECK enum err native_read_fork(const struct json_input *body, struct sv user,
                                    struct session_fork *out);

/* These read what parley or another server has stored, for an import. text: JSON, a time of RFC
 * 3339 (UTC without an offset) or seconds since 1970; absent or null: *out stays. */
MUSTCHECK enum err native_stored_time(const struct json_input *in, const char *field,
                                      struct sv text, int64_t *out);
/* With its seq and times. Unknown members are refused. */
MUSTCHECK enum err native_read_stored_message(const struct json_input *in,
                                              struct session_message *out);
/* Unknown members go into extra. */
MUSTCHECK enum err native_read_foreign_message(const struct json_input *in,
                                               struct session_message *out);
/* *out holds the defaults. *messages: those in the object, which are not read yet; NULL: none. The
 * id may be absent. */
MUSTCHECK enum err native_read_stored_session(const struct json_input *in, struct session *out,
                                              const struct json_node **messages);

/* native_state.c. For ?with=user_state. Reads it into the call: see session_user_state_get. Its
 * mark becomes what changes that of the entity tag. */
MUSTCHECK enum err native_read_with(struct api_call *c, struct sv user, int64_t generation,
                                    bool degraded);
void native_write_state(struct json_writer *j, const struct session *state);
/* Writes the member, if it was read. c may be NULL. */
void native_write_with(struct json_writer *j, const struct api_call *c);

/* native_window.c: the parameters of a window, first in the list of a route. */
enum { NATIVE_WINDOW_PARAMS = 6 };
#define NATIVE_WINDOW                                                                          \
    {"max_messages", 1, SESSION_MESSAGES_MAX, SESSION_MESSAGES_MAX, {NULL}},                   \
        {"max_tokens", 1, INT32_MAX, INT64_MAX, {NULL}},                                       \
        {"max_bytes", 1, INT32_MAX, INT32_MAX, {NULL}}, {.name = "start_on", .max = API_LIST}, \
        {.name = "end_on", .max = API_LIST},                                                   \
    {                                                                                          \
        .name = "include_system", .choices = { "false", "true" }                               \
    }
MUSTCHECK enum err native_read_window(struct api_call *c, struct session_window_query *out);
/* Writes the object of a window. with: see native_write_with. */
void native_write_window(struct json_writer *j, const struct session_window *w,
                         const struct api_call *with);

/* native_list.c: filters that lists and searches share. If the parameter is not given, the user is
 * that of X-Parley-User, and the time stays as it is. */
MUSTCHECK enum err native_read_user_filter(struct api_call *c, struct sv *out);
MUSTCHECK enum err native_read_time(struct api_call *c, const char *name, int64_t *out);

/* native_cursor.c: the cursor of a position in a list. A position is some numbers; the parts
 * distinguish the list from every other of the tenant. *out is in the arena. */
enum { NATIVE_NUMBERS_MAX = 4, NATIVE_PARTS_MAX = 6 };
struct native_list {
    size_t n_numbers, n_parts;
    struct sv parts[NATIVE_PARTS_MAX];
    int64_t times[2]; /* one of the parts, of a list of sessions */
};
MUSTCHECK enum err native_position_make(struct request_ctx *ctx, const struct native_list *list,
                                        const int64_t *at, struct sv *out);
/* ERR_INVALID naming "cursor" unless native_position_make gives this text for this list. */
MUSTCHECK enum err native_position_read(struct request_ctx *ctx, const struct native_list *list,
                                        struct sv text, int64_t *at);
/* The list of sessions that q describes, whatever its after and limit. */
void native_list_of(const struct session_list_query *q, struct native_list *out);

/* Without messages. The context is left out if the session was read without it. */
void native_write_session(struct json_writer *j, const struct session *s);
/* Answers with c->session and its newest n messages. If n is 0, the ETag is that of the state,
 * which appends do not change. */
MUSTCHECK enum err native_answer_session(struct api_call *c, int status, size_t n);
/* Writes "truncated" if an answer holds fewer of the session's messages than were asked for.
 * Returns whether it does. */
bool native_write_truncated(struct json_writer *j, size_t n, size_t asked, int64_t message_count);
/* Sets the Location header: of a session or, with seq > 0, of a message. */
MUSTCHECK enum err native_location(struct api_call *c, struct sv id, int64_t seq);
