/* SPDX-License-Identifier: MIT */
#include "edits.h"

#include <stdio.h>
#include <string.h>

void edits_read(struct edits *s, const char *text, const char *context)
{
    static const enum session_edit how[] = {
        ['+'] = SESSION_PUT, ['-'] = SESSION_REMOVE, ['?'] = SESSION_REMOVE_IF_THERE};
    memset(s, 0, sizeof(*s));
    snprintf(s->text, sizeof(s->text), "%s", text);
    s->update = (struct session_update){.messages = s->messages,
                                        .edits = s->edits,
                                        .context = context ? sv_from(context) : SV_NONE};
    struct sv rest = sv_from(s->text);
    while (rest.p && rest.n > 0) {
        struct sv content = sv_cut(&rest, ' ');
        const unsigned char sign = (unsigned char)content.p[0];
        if (sign == '!') {
            s->update.clear = true;
            continue;
        }
        struct sv id = sv_cut(&content, '=');
        id = (struct sv){id.p + 1, id.n - 1};
        const size_t i = s->update.n_messages++;
        s->messages[i] = message_of("user", "1");
        s->messages[i].message_id = id.n ? id : SV_NONE;
        s->edits[i] = how[sign];
        if (content.p)
            s->messages[i].content = content;
    }
}

enum err edits_run(struct fixture *w, const char *id, const char *text, const char *context,
                   const struct session_precondition *precondition)
{
    struct edits s;
    edits_read(&s, text, context);
    w->r = (struct session_receipt){.version = 0};
    w->at = 0;
    const struct session_target target = {sv_from(id), precondition, &w->r};
    return session_update(w->sessions, fixture_request(w, "t1"), &target, &s.update, &w->at);
}

struct session edits_state(struct fixture *w, const char *id)
{
    OK(fixture_get_as(w, "t1", id, NULL, SESSION_MESSAGES_MAX));
    return w->s;
}
