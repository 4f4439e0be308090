/* SPDX-License-Identifier: MIT */
/*
 * Sessions as text: the lines of an export, and the formats that parley import reads, which
 * docs/guide/move-anything.md describes. No function sends a statement. Results live in ctx->arena,
 * or are borrowed from the text. One thread.
 */
#pragma once

#include "parley/json/json_writer.h"
#include "parley/session/users.h"

/* Writes the lines of a part. tenant: lines of states and sessions name it, and those of sessions
 * their position, for parley export --resume; the end has no line. Absent: lines name neither, and
 * the end has its line. */
void transfer_write(struct json_writer *j, struct sv tenant, const struct session_export *x,
                    const struct session_export_part *part);
/* Reads tenant and position from the line of a session. False: it is not such a line, or has no
 * valid tenant. */
bool transfer_read_position(struct sv line, struct sv *tenant, struct session_position *out);

enum transfer_format {
    TRANSFER_PARLEY,    /* the lines of an export */
    TRANSFER_CHAT,      /* a line for each session, with its messages in OpenAI's chat format */
    TRANSFER_LANGCHAIN, /* a line for each message, as LangChain's JavaScript package stores it */
    TRANSFER_CHATGPT,   /* ChatGPT's conversations.json: an array of conversations */
    TRANSFER_FORMATS
};
extern const char *const transfer_names[TRANSFER_FORMATS];

/* What a record holds: a line, or an element of ChatGPT's array. */
enum transfer_kind {
    TRANSFER_END,     /* of an export, with its counts */
    TRANSFER_STATE,   /* session: in the form of session_user_state_get */
    TRANSFER_BEGINS,  /* session begins here; the lines that follow have more of its messages */
    TRANSFER_MESSAGES /* messages of the session with this session_id */
};
struct transfer {
    enum transfer_kind kind;
    bool is_exported; /* only parley export writes such a line, and an end after it */
    struct sv tenant; /* absent: not named */
    int64_t end_sessions, end_messages;     /* of the end: sessions and messages of the export */
    struct session session;                 /* without messages, with what session_import needs */
    const struct session_message *messages; /* seq 0: it was not given */
    size_t n_messages;
};
/* ERR_INVALID: ctx->err names the field at fault. */
MUSTCHECK enum err transfer_read(struct request_ctx *ctx, enum transfer_format format,
                                 struct sv record, struct transfer *out);
