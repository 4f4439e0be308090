/* SPDX-License-Identifier: MIT */
/* Prints the help of the program and of one command from the tables of commands and options. Also
 * answers the first word of a command of two words. docs/reference/cli.md is made from this output.
 */
#include "cli_internal.h"

#include <stdio.h>
#include <string.h>

enum { COLUMN = 20 };

static const struct {
    const char *option, *text;
} option_texts[OPTIONS] = {
    [OPTION_TO] = {"--to N", "a schema version, from 0 to that of this program"},
    [OPTION_MARKDOWN] = {"--markdown", "all settings, as a table for a document"},
    [OPTION_JSON] = {"--json", "one JSON document on standard output"},
    [OPTION_TENANT] = {"--tenant T", "1 to 64 of A-Z a-z 0-9 . _ -; required"},
    [OPTION_NAME] = {"--name N", "what the key is for: up to 100 characters"},
    [OPTION_EXPIRES] = {"--expires 90d", "a number of d, h, m or s, up to 3650d"},
    [OPTION_REQUESTS] = {"--requests N", "a second: 1 to 1000000, none or default"},
    [OPTION_SESSIONS] = {"--sessions N", "open ones: 1 to 1000000000, none or default"},
    [OPTION_STALE] = {"--stale SECONDS", "10 to 315360000"},
    [OPTION_CREATE] = {"--create", "also a tenant without a key, a limit or a session"},
    [OPTION_ERASE] = {"--erase", "its sessions, too; nothing can restore them"},
    [OPTION_CONFIG] = {"--config FILE", "NAME=value lines; the environment wins [PARLEY_CONFIG]"},
    [OPTION_HELP] = {"--help, -h", "this; after a command, what that command does"},
    [OPTION_VERSION] = {"--version", "the version of the program"},
};

static void print_entry(FILE *out, const char *head, const char *text)
{
    const int n = fprintf(out, "  %s", head);
    fprintf(out, "%s%*s", n < COLUMN ? "" : "\n", n < COLUMN ? COLUMN - n : COLUMN, "");
    for (; *text; text++)
        fprintf(out, "%c%*s", *text, *text == '\n' ? COLUMN : 0, "");
    fputc('\n', out);
}

/* Whether name is the command's name or its first word. "": every command is named. */
static bool is_named(const struct command *command, const char *name)
{
    const size_t n = strlen(name);
    return n == 0 || (strncmp(command->name, name, n) == 0 && strchr(" ", command->name[n]));
}

size_t help_print(FILE *out, const struct command *commands, size_t n, const char *name)
{
    unsigned options = ~0U << OPTION_CONFIG;
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        char head[96];
        const struct command *c = &commands[i];
        if (!is_named(c, name))
            continue;
        const bool alone = strcmp(c->name, name) == 0;
        snprintf(head, sizeof head, "%s%s%s", c->name, *c->takes ? " " : "", c->takes);
        if (found++ == 0)
            fprintf(out, "usage: parley [--config FILE] %s%s\n\n", alone ? head : name,
                    alone   ? ""
                    : *name ? " COMMAND"
                            : "COMMAND");
        print_entry(out, head, c->help);
        options |= alone ? c->options : 0;
    }
    if (found > 0)
        fputc('\n', out);
    for (int i = 0; found > 0 && i < OPTIONS; i++)
        if (options & 1U << i)
            print_entry(out, option_texts[i].option, option_texts[i].text);
    return found;
}
