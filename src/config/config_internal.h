/* SPDX-License-Identifier: MIT */
/* What the files of this room share: the rows of the one table, and what is done with a row. */
#ifndef PARLEY_CONFIG_INTERNAL_H
#define PARLEY_CONFIG_INTERNAL_H

#include "parley/config/config.h"

enum setting_type {
    SETTING_TEXT,   /* min to max: its length */
    SETTING_URL,    /* as SETTING_TEXT, but may hold a password: never printed as it is */
    SETTING_NUMBER, /* min to max */
    SETTING_SIZE,   /* min to max, in bytes; KiB, MiB and GiB are understood */
    SETTING_CHOICE  /* false: the first of two words, true: the second */
};

struct setting {
    const char *name;
    enum setting_type type;
    size_t offset;        /* in struct config: const char *, int64_t or bool by type */
    const char *fallback; /* NULL: it must be given */
    int64_t min, max;
    const char *words[2];
    const char *help; /* one line, without a full stop */
};

bool setting_is_text(const struct setting *s);
/* In the order in which they are documented. */
const struct setting *config_settings(size_t *n);

/* Puts text into c; text must live as long as c. ERR_INVALID with why naming the variable. */
MUSTCHECK enum err config_set(struct config *c, const struct setting *s, const char *text,
                              char *why, size_t why_n);
/* What it may hold, such as "1 to 256" or "off or keys". */
void config_allowed(const struct setting *s, char *out, size_t out_n);
/* Reads c's value of s; text for SETTING_TEXT, SETTING_URL and SETTING_CHOICE. */
const char *config_text(const struct config *c, const struct setting *s);
int64_t config_number(const struct config *c, const struct setting *s);

#endif
