/* SPDX-License-Identifier: MIT */
#include "same.h"

static bool same_text(struct sv a, struct sv b)
{
    return sv_eq(a, b) && (a.p == NULL) == (b.p == NULL);
}

bool same_content(const struct session *a, const struct session *b)
{
    bool same = same_text(a->user_id, b->user_id) && same_text(a->language, b->language) &&
                same_text(a->context, b->context) && same_text(a->metadata, b->metadata) &&
                a->ttl_seconds == b->ttl_seconds && a->sliding == b->sliding &&
                a->last_seq == b->last_seq && a->message_count == b->message_count &&
                a->n_messages == b->n_messages;
    for (size_t i = 0; same && i < a->n_messages; i++) {
        const struct session_message *x = &a->messages[i], *y = &b->messages[i];
        same = x->seq == y->seq && x->created_at == y->created_at &&
               same_text(x->message_id, y->message_id) && same_text(x->type, y->type) &&
               same_text(x->role, y->role) && same_text(x->content, y->content) &&
               same_text(x->metadata, y->metadata) && same_text(x->extra, y->extra);
    }
    return same;
}

bool same_session(const struct session *a, const struct session *b)
{
    return same_content(a, b) && same_text(a->session_id, b->session_id) &&
           a->generation == b->generation && a->version == b->version && a->mark == b->mark &&
           a->state_version == b->state_version && a->state_mark == b->state_mark &&
           a->created_at == b->created_at && a->updated_at == b->updated_at &&
           a->expires_at == b->expires_at;
}
