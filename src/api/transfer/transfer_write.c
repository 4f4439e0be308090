/* SPDX-License-Identifier: MIT */
/* The lines of an export: for GET /v1/users/{id}/export, and for parley export. */
#include "transfer_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "parley/json/members.h"
#include "parley/session/session_json.h"

static void begin_line(struct json_writer *j, struct sv tenant)
{
    json_write_object_open(j);
    if (tenant.p)
        json_put_sv(j, "tenant", tenant);
}

static void end_line(struct json_writer *j)
{
    json_write_object_close(j);
    buf_putc(j->b, '\n');
    j->comma = false;
}

void transfer_write(struct json_writer *j, struct sv tenant, const struct session_export *x,
                    const struct session_export_part *part)
{
    if (part->state) {
        begin_line(j, tenant);
        json_write_key(j, "user_state");
        native_write_state(j, part->state);
        end_line(j);
    }
    if (part->session) {
        char position[48];
        begin_line(j, tenant);
        if (tenant.p) {
            snprintf(position, sizeof(position), "%" PRId64 ".%" PRId64, x->at.created_at,
                     x->at.generation);
            json_put_str(j, "position", position);
        }
        json_write_key(j, "session");
        native_write_session(j, part->session);
        end_line(j);
    }
    for (size_t i = 0; i < part->n; i++) {
        begin_line(j, SV_NONE);
        json_put_sv(j, "session_id", part->session_id);
        json_write_key(j, "message");
        session_json_message(j, &part->messages[i], NULL);
        end_line(j);
    }
    if (part->end && !tenant.p) { /* an export without this line was cut off */
        begin_line(j, SV_NONE);
        json_put_bool(j, "complete", true);
        json_put_i64(j, "sessions", x->sessions);
        json_put_i64(j, "messages", x->messages);
        end_line(j);
    }
}

bool transfer_read_position(struct sv line, struct sv *tenant, struct session_position *out)
{
    struct sv rest = line;
    struct json_member named, at;
    if (!json_member_next(&rest, &named) || !sv_eq(named.key, SV("tenant")) ||
        !json_member_next(&rest, &at) || !sv_eq(at.key, SV("position")) || at.raw.n < 2)
        return false;
    *tenant = (struct sv){named.raw.p + 1, named.raw.n - 2};
    struct sv generation = {at.raw.p + 1, at.raw.n - 2};
    const struct sv created = sv_cut(&generation, '.');
    return sv_to_i64(created, &out->created_at) && generation.p &&
           sv_to_i64(generation, &out->generation) && auth_tenant_valid(*tenant);
}
