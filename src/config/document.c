/* SPDX-License-Identifier: MIT */
/* What people read about the settings: --help, the table for docs/reference/configuration.md, the
 * values in force. */
#include "config_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *fallback_text(const struct setting *s)
{
    if (!s->fallback)
        return "required";
    return s->fallback[0] ? s->fallback : "empty";
}

void config_help(FILE *out)
{
    size_t n;
    const struct setting *s = config_settings(&n);
    for (size_t i = 0; i < n; i++) {
        char allowed[96];
        config_allowed(&s[i], allowed, sizeof allowed);
        fprintf(out, "  %-24s%s\n", s[i].name, s[i].help);
        fprintf(out, "  %-24s[%s", "", fallback_text(&s[i]));
        fprintf(out, "%s%s]\n", setting_is_text(&s[i]) ? "" : "; ",
                setting_is_text(&s[i]) ? "" : allowed);
    }
}

void config_markdown(FILE *out)
{
    size_t n;
    const struct setting *s = config_settings(&n);
    fprintf(out, "| variable | default | may be | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < n; i++) {
        char allowed[96];
        config_allowed(&s[i], allowed, sizeof allowed);
        bool plain = !s[i].fallback || !s[i].fallback[0]; /* a word of ours and not a value */
        fprintf(out, "| `%s` | %s%s%s | %s | %s |\n", s[i].name, plain ? "" : "`",
                fallback_text(&s[i]), plain ? "" : "`", setting_is_text(&s[i]) ? "" : allowed,
                s[i].help);
    }
}

void config_each(const struct config *c,
                 void (*each)(void *arg, const char *name, const char *text, int64_t number),
                 void *arg)
{
    size_t n;
    const struct setting *s = config_settings(&n);
    for (size_t i = 0; i < n; i++) {
        if (s[i].type == SETTING_NUMBER || s[i].type == SETTING_SIZE)
            each(arg, s[i].name, NULL, config_number(c, &s[i]));
        else if (s[i].type != SETTING_URL)
            each(arg, s[i].name, config_text(c, &s[i]), 0);
    }
}

void config_print(const struct config *c, FILE *out)
{
    size_t n;
    const struct setting *s = config_settings(&n);
    for (size_t i = 0; i < n; i++) {
        if (s[i].type == SETTING_NUMBER || s[i].type == SETTING_SIZE) {
            fprintf(out, "%s=%" PRId64 "\n", s[i].name, config_number(c, &s[i]));
        } else if (s[i].type == SETTING_URL) {
            char *masked = config_mask_url(config_text(c, &s[i]));
            fprintf(out, "%s=%s\n", s[i].name, masked ? masked : "***");
            free(masked);
        } else {
            fprintf(out, "%s=%s\n", s[i].name, config_text(c, &s[i]));
        }
    }
}

static void replace(char *text, size_t from, size_t to)
{
    memmove(text + from + 3, text + to, strlen(text + to) + 1);
    memcpy(text + from, "***", 3);
}

/* scheme://user:PASSWORD@host. The last '@' counts: too much hidden is better than too little. */
static void mask_authority(char *text)
{
    char *start = strstr(text, "://");
    char *at = strrchr(text, '@');
    char *colon = start ? strchr(start + 3, ':') : NULL;
    if (colon && at && colon < at)
        replace(text, (size_t)(colon + 1 - text), (size_t)(at - text));
}

/* Where the value ends that starts at p: a quoted one behind its quote. */
static size_t value_end(const char *p)
{
    if (*p != '\'')
        return strcspn(p, "& \t");
    size_t n = 1;
    while (p[n] && p[n] != '\'')
        n += p[n] == '\\' && p[n + 1] ? 2 : 1;
    return n + (p[n] == '\'');
}

char *config_mask_url(const char *url)
{
    static const char key[] = "password";
    /* Each "password=" is followed by at most three more bytes than it was. */
    size_t room = strlen(url) + 4;
    for (const char *p = url; (p = strstr(p, key)); p++)
        room += 3;
    char *text = malloc(room);
    if (!text)
        return NULL;
    memcpy(text, url, strlen(url) + 1);
    mask_authority(text);
    for (char *p = text; (p = strstr(p, key));) {
        p += sizeof key - 1;
        p += strspn(p, " \t");
        if (*p != '=')
            continue;
        p++;
        p += strspn(p, " \t");
        size_t n = value_end(p);
        replace(text, (size_t)(p - text), (size_t)(p - text) + n);
        p += 3;
    }
    return text;
}
