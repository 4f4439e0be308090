/* SPDX-License-Identifier: MIT */
/* The table of options, and help from this table and that of commands. docs/reference/cli.md is
 * made from what it prints. */
#include "cli_internal.h"

#include <stdio.h>
#include <string.h>

enum { COLUMN = 20 };

const struct cli_option cli_options[OPTIONS] = {
    [OPTION_TO] = {"to", "N", "a schema version, from 0 to that of this program"},
    [OPTION_MARKDOWN] = {"markdown", NULL, "all settings, as a table for a document"},
    [OPTION_JSON] = {"json", NULL, "one JSON document on standard output"},
    [OPTION_TENANT] = {"tenant", "T", "1 to 64 of A-Z a-z 0-9 . _ -; required"},
    [OPTION_NAME] = {"name", "N", "what the key is for: up to 100 characters"},
    [OPTION_EXPIRES] = {"expires", "90d", "a number of d, h, m or s, up to 3650d"},
    [OPTION_REQUESTS] = {"requests", "N", "a second: 1 to 1000000, none or default"},
    [OPTION_SESSIONS] = {"sessions", "N", "open ones: 1 to 1000000000, none or default"},
    [OPTION_STALE] = {"stale", "SECONDS", "10 to 315360000"},
    [OPTION_CREATE] = {"create", NULL, "also a tenant without a key, a limit or a session"},
    [OPTION_ERASE] = {"erase", NULL, "its sessions, too; nothing can restore them"},
    [OPTION_CONFIG] = {"config", "FILE", "NAME=value lines; the environment wins [PARLEY_CONFIG]"},
    [OPTION_HELP] = {"help", NULL, "this; after a command, what that command does"},
    [OPTION_VERSION] = {"version", NULL, "the version of the program"},
};

/* more: what follows the name; "": nothing. */
static void print_entry(FILE *out, const char *name, const char *more, const char *text)
{
    const int n = fprintf(out, "  %s%s%s", name, *more ? " " : "", more);
    fprintf(out, "%s%*s", n < COLUMN ? "" : "\n", n < COLUMN ? COLUMN - n : COLUMN, "");
    for (; *text; text++)
        fprintf(out, "%c%*s", *text, *text == '\n' ? COLUMN : 0, "");
    fputc('\n', out);
}

static void print_options(FILE *out, const char *takes)
{
    fputc('\n', out);
    for (int i = 0; i < OPTIONS; i++) {
        const struct cli_option *option = &cli_options[i];
        char name[32];
        snprintf(name, sizeof name, "--%s%s", option->name, i == OPTION_HELP ? ", -h" : "");
        if (i >= OPTION_CONFIG || strstr(takes, name))
            print_entry(out, name, option->value ? option->value : "", option->help);
    }
}

void help_command(FILE *out, const struct command *c)
{
    fprintf(out, "usage: parley [--config FILE] %s%s%s\n\n", c->name, *c->takes ? " " : "",
            c->takes);
    print_entry(out, c->name, c->takes, c->help);
    print_options(out, c->takes);
}

bool help_commands(FILE *out, const struct command *commands, size_t n, const char *first)
{
    bool found = false;
    for (const struct command *c = commands; c < commands + n; c++) {
        struct sv name = sv_from(c->name);
        if (*first && !sv_eq(sv_cut(&name, ' '), sv_from(first)))
            continue;
        if (!found)
            fprintf(out, "usage: parley [--config FILE] %s%sCOMMAND\n\n", first, *first ? " " : "");
        print_entry(out, c->name, c->takes, c->help);
        found = true;
    }
    if (found)
        print_options(out, "");
    return found;
}
