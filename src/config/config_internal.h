/* SPDX-License-Identifier: MIT */
/* What config.c needs of setting.c. */
#pragma once

#include "parley/base/names.h"
#include "parley/config/config.h"

enum { SETTINGS_MAX = 64 };

enum setting_type {
    SETTING_TEXT,   /* min to max: its length */
    SETTING_URL,    /* as SETTING_TEXT, but may hold a password: printed masked only */
    SETTING_NUMBER, /* min to max */
    SETTING_SIZE,   /* min to max, in bytes; may end in KiB, MiB or GiB */
    SETTING_CHOICE  /* false: the first of two choices; true: the second */
};

struct setting {
    const char *name;
    enum setting_type type;
    size_t offset;        /* in struct config: const char *, int64_t or bool by type */
    const char *fallback; /* NULL: required */
    int64_t min, max;
    const char *choices[2];
    const char *help; /* one line, without a full stop */
};

/* The rows of the table, in the order in which they are documented: struct setting. */
extern const struct names config_names;

/* Sets c's field to the value of text, which must outlive c. False: why says so. */
MUSTCHECK bool config_set(struct config *c, const struct setting *s, const char *text, char *why,
                          size_t why_n);

/* After a value that is wrong: a text is NULL. */
void config_unset(struct config *c, const struct setting *s);
