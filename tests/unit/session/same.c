/* SPDX-License-Identifier: MIT */
#include "same.h"

static void same_text(struct sv a, struct sv b)
{
    CU_ASSERT_TRUE(sv_eq(a, b));
    CU_ASSERT_EQUAL(a.p == NULL, b.p == NULL);
}

static void same_message(const struct session_message *a, const struct session_message *b)
{
    const struct sv texts[][2] = {
        {a->message_id, b->message_id}, {a->type, b->type},         {a->role, b->role},
        {a->content, b->content},       {a->metadata, b->metadata}, {a->extra, b->extra}};
    CU_ASSERT_TRUE(a->seq == b->seq && a->created_at == b->created_at);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        same_text(texts[i][0], texts[i][1]);
}

void same_session(const struct session *a, const struct session *b)
{
    const struct sv texts[][2] = {{a->session_id, b->session_id},
                                  {a->user_id, b->user_id},
                                  {a->language, b->language},
                                  {a->context, b->context},
                                  {a->metadata, b->metadata}};
    const int64_t numbers[][2] = {{a->generation, b->generation},
                                  {a->version, b->version},
                                  {a->state_version, b->state_version},
                                  {a->last_seq, b->last_seq},
                                  {a->message_count, b->message_count},
                                  {a->ttl_seconds, b->ttl_seconds},
                                  {a->sliding, b->sliding},
                                  {a->created_at, b->created_at},
                                  {a->updated_at, b->updated_at},
                                  {a->expires_at, b->expires_at}};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        same_text(texts[i][0], texts[i][1]);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        CU_ASSERT_EQUAL(numbers[i][0], numbers[i][1]);
    CU_ASSERT_EQUAL(a->n_messages, b->n_messages);
    for (size_t i = 0; i < a->n_messages && i < b->n_messages; i++)
        same_message(&a->messages[i], &b->messages[i]);
}
