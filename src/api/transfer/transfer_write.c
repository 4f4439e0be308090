/* SPDX-License-Identifier: MIT */
/* The lines of an export: for GET /v1/users/{id}/export, and for parley export. */
#include "transfer_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "parley/session/session_json.h"

/* Returns where the line begins. */
static size_t begin_line(struct json_writer *j, struct sv tenant)
{
    const size_t from = j->b->n;
    json_write_object_open(j);
    if (tenant.p)
        json_put_sv(j, "tenant", tenant);
    return from;
}

/* Clients may have sent line breaks between the tokens of JSON that is stored as text. */
static void end_line(struct json_writer *j, size_t from)
{
    json_write_object_close(j);
    for (size_t i = from; !j->b->failed && i < j->b->n; i++)
        if (j->b->p[i] == '\n' || j->b->p[i] == '\r')
            j->b->p[i] = ' ';
    buf_putc(j->b, '\n');
    j->comma = false;
}

void transfer_write(struct json_writer *j, struct sv tenant, const struct session_export *x,
                    const struct session_export_part *part)
{
    if (part->state) {
        const size_t from = begin_line(j, tenant);
        json_write_key(j, "user_state");
        native_write_state(j, part->state);
        end_line(j, from);
    }
    if (part->session) {
        char position[48];
        const size_t from = begin_line(j, tenant);
        if (tenant.p) {
            snprintf(position, sizeof(position), "%" PRId64 ".%" PRId64, x->at.created_at,
                     x->at.generation);
            json_put_str(j, "position", position);
        }
        json_write_key(j, "session");
        native_write_session(j, part->session);
        end_line(j, from);
    }
    for (size_t i = 0; i < part->n; i++) {
        const size_t from = begin_line(j, SV_NONE);
        json_put_sv(j, "session_id", part->session_id);
        json_write_key(j, "message");
        session_json_message(j, &part->messages[i], NULL);
        end_line(j, from);
    }
    if (part->end && !tenant.p) { /* an export without this line was cut off */
        const size_t from = begin_line(j, SV_NONE);
        json_put_bool(j, "complete", true);
        json_put_i64(j, "sessions", x->sessions);
        json_put_i64(j, "messages", x->messages);
        end_line(j, from);
    }
}

/* Takes text off the front of *s. */
static bool take(struct sv *s, struct sv text)
{
    const bool is_there = sv_starts_with(*s, text);
    if (is_there)
        sv_skip(s, text.n);
    return is_there;
}

/* Just what transfer_write writes: the line was not checked, and need not be JSON. */
bool transfer_read_position(struct sv line, struct sv *tenant, struct session_position *out)
{
    struct sv rest = line, generation;
    if (!take(&rest, SV("{\"tenant\":\"")))
        return false;
    *tenant = sv_cut(&rest, '"');
    if (!take(&rest, SV(",\"position\":\"")))
        return false;
    generation = sv_cut(&rest, '"');
    const struct sv created = sv_cut(&generation, '.');
    return take(&rest, SV(",\"session\":{")) && sv_to_i64(created, &out->created_at) &&
           sv_to_i64(generation, &out->generation) && auth_tenant_valid(*tenant);
}
