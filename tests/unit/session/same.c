/* SPDX-License-Identifier: MIT */
#include "same.h"

static void same_text(struct sv a, struct sv b)
{
    CU_ASSERT_TRUE(sv_eq(a, b));
    CU_ASSERT_EQUAL(a.p == NULL, b.p == NULL);
}

static void same_message(const struct session_message *a, const struct session_message *b)
{
    CU_ASSERT_EQUAL(a->seq, b->seq);
    CU_ASSERT_EQUAL(a->created_at, b->created_at);
    same_text(a->message_id, b->message_id);
    same_text(a->type, b->type);
    same_text(a->role, b->role);
    same_text(a->content, b->content);
    same_text(a->metadata, b->metadata);
    same_text(a->extra, b->extra);
}

void same_session(const struct session *a, const struct session *b)
{
    same_text(a->session_id, b->session_id);
    same_text(a->user_id, b->user_id);
    same_text(a->language, b->language);
    CU_ASSERT_EQUAL(a->generation, b->generation);
    CU_ASSERT_EQUAL(a->version, b->version);
    CU_ASSERT_EQUAL(a->state_version, b->state_version);
    CU_ASSERT_EQUAL(a->last_seq, b->last_seq);
    CU_ASSERT_EQUAL(a->message_count, b->message_count);
    CU_ASSERT_EQUAL(a->ttl_seconds, b->ttl_seconds);
    CU_ASSERT_EQUAL(a->sliding, b->sliding);
    CU_ASSERT_EQUAL(a->created_at, b->created_at);
    CU_ASSERT_EQUAL(a->updated_at, b->updated_at);
    CU_ASSERT_EQUAL(a->expires_at, b->expires_at);
    same_text(a->context, b->context);
    same_text(a->metadata, b->metadata);
    CU_ASSERT_EQUAL(a->n_messages, b->n_messages);
    for (size_t i = 0; i < a->n_messages && i < b->n_messages; i++)
        same_message(&a->messages[i], &b->messages[i]);
}
