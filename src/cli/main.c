/* SPDX-License-Identifier: MIT */
/* The entry point of parley and its command line: the tables of options and of commands, help from
 * them, and the configuration of a command. docs/reference/cli.md is made from the help. */
#include "cli_internal.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "parley/base/names.h"
#include "parley/db/migrate.h"
#include "parley/obs/log.h"

enum { HELP_COLUMN = 20 };

#define FIELD(name) offsetof(struct command_options, name)

static const struct option_row {
    const char *name;
    const char *value; /* what follows the name; NULL: nothing */
    bool general;      /* every command takes it */
    const char *help;
    size_t offset; /* in struct command_options: const char * */
} options[] = {
    {"to", "N", false, "a schema version, from 0 to that of this program", FIELD(to)},
    {"json", NULL, false, "one JSON document on standard output", FIELD(json)},
    {"tenant", "T", false, "1 to 64 of A-Z a-z 0-9 . _ -", FIELD(tenant)},
    {"name", "N", false, "what the key is for: up to 100 characters", FIELD(name)},
    {"expires", "90d", false, "a number of d, h, m or s, up to 3650d", FIELD(expires)},
    {"scope", "read", false, "read, or write, which is the default", FIELD(scope)},
    {"user", "ID", false, "one user; import: the owner of sessions that name none", FIELD(user)},
    {"signing", NULL, false, "a private key that signs tokens", FIELD(signing)},
    {"requests", "N", false, "a second: 1 to 1000000, none or default", FIELD(requests)},
    {"sessions", "N", false, "open ones: 1 to 1000000000, none or default", FIELD(sessions)},
    {"stale", "SECONDS", false, "10 to 315360000", FIELD(stale)},
    {"create", NULL, false, "also a tenant without a key, a limit or a session", FIELD(create)},
    {"erase", NULL, false, "its sessions, too; nothing can restore them", FIELD(erase)},
    {"from", "FORMAT", false, "parley, chat, langchain or chatgpt", FIELD(from)},
    {"dry-run", NULL, false, "check all of it, and store nothing", FIELD(dry_run)},
    {"resume", NULL, false, "continue an export that was cut off", FIELD(resume)},
    {"binary", NULL, false, "run the program that is installed now", FIELD(binary)},
    {"config", "FILE", true, "NAME=value lines; the environment wins [PARLEY_CONFIG]",
     FIELD(config)},
    {"help", NULL, true, "or -h: this; after a command, what that command does", FIELD(help)},
    {"version", NULL, true, "the version of the program", FIELD(version)},
};

static const char **value_of(struct command_context *c, const struct option_row *option)
{
    return (const char **)((char *)&c->options + option->offset);
}

/* dashes: of an option, "--". */
static int unknown_name(const char *what, const char *dashes, const struct names *known,
                        const char *given)
{
    char hint[96] = "";
    const char *nearest = names_nearest(known, sv_from(given));
    if (nearest)
        snprintf(hint, sizeof hint, " (did you mean %s%s?)", dashes, nearest);
    fprintf(stderr, "parley: %s%s%s%s; see parley --help\n", what, dashes, given, hint);
    return EXIT_MISCONFIGURED;
}

static int unknown_option(char *word)
{
    if (strncmp(word, "--", 2) != 0)
        return command_usage_error("there is no option ", word);
    word[strcspn(word, "=")] = '\0';
    return unknown_name("there is no option ", "--", &NAMES(options), word + 2);
}

/* EXIT_GOOD, or the exit status after a line that says what is wrong. */
static int parse_options(int argc, char **argv, struct command_context *c)
{
    struct option known[ARRAY_LEN(options) + 1] = {{.name = NULL}};
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        known[i] = (struct option){.name = options[i].name, .has_arg = options[i].value != NULL};
    opterr = 0;
    for (int result, i; (result = getopt_long(argc, argv, ":h", known, &i)) != -1;) {
        if (result == 'h') {
            c->options.help = "";
            continue;
        }
        if (result == ':')
            return command_usage_error("a value is missing after ", argv[optind - 1]);
        if (result != 0)
            return unknown_option(argv[optind - 1]);
        /* getopt takes a beginning for the whole; --e must not erase. */
        char *word = argv[optind - (optarg && optarg == argv[optind - 1] ? 2 : 1)];
        if (strcspn(word + 2, "=") != strlen(options[i].name))
            return unknown_option(word);
        if (*value_of(c, &options[i]))
            return command_usage_error("given twice: --", options[i].name);
        *value_of(c, &options[i]) = optarg ? optarg : "";
    }
    c->argv = argv;
    c->words = argv + optind;
    return EXIT_GOOD;
}

/* arg: an int, which becomes the errno of a line that could not be written. */
static void print_progress(void *arg, bool fault, const char *line)
{
    FILE *out = fault ? stderr : stdout;
    fprintf(out, "parley: %s\n", line);
    if (fflush(out) != 0)
        *(int *)arg = errno;
}

static int run_serve(struct command_context *c)
{
    if (!log_open(c->cfg->log_file)) {
        fprintf(stderr, "parley: PARLEY_LOG_FILE: %s: %s\n", c->cfg->log_file, strerror(errno));
        return EXIT_MISCONFIGURED;
    }
    return supervisor_run(c->cfg, c->argv, worker_main);
}

/* reload and stop */
static int run_signal(struct command_context *c)
{
    const bool stops = strcmp(c->words[0], "stop") == 0;
    const int signo = stops ? SIGTERM : c->options.binary ? SIGUSR2 : SIGHUP;
    char why[640];
    if (!c->cfg->listen)
        return command_usage_error(c->faults, NULL);
    const bool good = supervisor_signal(c->cfg->listen, signo, why, sizeof why);
    if (!good || !stops)
        fprintf(stderr, "parley: %s\n", good ? "reloaded" : why);
    return good ? EXIT_GOOD : EXIT_FAULT;
}

static int run_migrate(struct command_context *c)
{
    const char *to = c->options.to;
    int64_t target = -1; /* the newest */
    int unwritten = 0;
    if (to && (!sv_to_i64(sv_from(to), &target) || target < 0 || target > db_schema_version()))
        return command_usage_error("--to must be a schema version that this program knows, and is ",
                                   to);
    const enum err e =
        db_migrate(command_admin_url(c->cfg), c->cfg->database_url, db_migration_table,
                   db_migration_count, (int)target, print_progress, &unwritten);
    if (e == ERR_NONE && unwritten != 0)
        return command_unwritten(unwritten);
    return e == ERR_NONE ? EXIT_GOOD : e == ERR_INVALID ? EXIT_MISCONFIGURED : EXIT_FAULT;
}

/* arg: a struct output. */
static void output_setting(void *arg, const char *name, const char *text, int64_t number)
{
    struct output *out = arg;
    if (out->json && text)
        output_text(out, NULL, name, sv_from(text), NULL);
    else if (out->json)
        output_number(out, NULL, name, number, NULL);
    else if (text)
        printf("%s=%s\n", name, text);
    else
        printf("%s=%" PRId64 "\n", name, number);
}

static int run_config(struct command_context *c)
{
    output_begin(c);
    config_each(c->cfg, true, output_setting, &c->out);
    return output_finish(c);
}

static const struct command {
    const char *name;  /* one word, or two */
    const char *takes; /* its options, as --NAME, and before them its argument in capitals */
    int (*run)(struct command_context *c);
    bool runs_misconfigured; /* also where the configuration has faults */
    const char *help;        /* lines of at most 68 characters */
} commands[] = {
    {"serve", "", run_serve, false,
     "run the service until SIGTERM or SIGINT, which drain (twice: end\n"
     "at once); SIGHUP reads the file again, checks it, and replaces\n"
     "the workers, or changes nothing and logs why"},
    {"reload", "[--binary]", run_signal, false,
     "make the service that runs with this configuration reload (as\n"
     "SIGHUP), and wait; exit status 0: done, 1: refused, and why, or no\n"
     "service runs; with --binary (as SIGUSR2) the program, too"},
    {"stop", "", run_signal, true, "drain and end that service (as SIGTERM), and wait for its end"},
    {"migrate", "[--to N]", run_migrate, false,
     "bring the schema to this program's version, or to version N\n"
     "(0: remove all that parley has made)"},
    {"check", "[--json]", check_run, true,
     "check the configuration, the sockets' directories, PostgreSQL,\n"
     "Redis and the keys, and name every fault; exit status 0: all is\n"
     "well, 1: a connection or the schema is wrong, 2: the\n"
     "configuration is"},
    {"config", "[--json]", run_config, false, "print the settings in force"},
    {"key create", "--tenant T [--scope read] [--user ID] [--signing] [--name N] [--expires 90d]",
     key_create_run, false,
     "make a key and print it, only this once; it expires after so many\n"
     "d, h, m or s"},
    {"key list", "[--json]", key_list_run, false, "all keys, without their secrets"},
    {"key revoke", "ID", key_revoke_run, false,
     "revoke the key of that id; ID may also be the key itself"},
    {"tenant set", "NAME [--requests N] [--sessions N] [--create]", tenant_set_run, false,
     "limit its requests a second and its open sessions: a number, none,\n"
     "or default (the settings PARLEY_TENANT_...)"},
    {"tenant delete", "NAME [--erase]", tenant_delete_run, false,
     "revoke and delete its keys and its limits; with --erase its\n"
     "sessions, too, else it must have none; waits PARLEY_REQUEST_MS for\n"
     "requests that are under way"},
    {"tenant list", "[--json]", tenant_list_run, false,
     "all tenants: keys, limits and what they store"},
    {"host list", "[--json]", host_list_run, false,
     "the hosts that are registered in the database"},
    {"host forget", "ID | --stale SECONDS", host_forget_run, false,
     "remove the registration of a host that is gone, or of all that were\n"
     "not seen for so long; a running host is kept"},
    {"search build", "", search_build_run, false,
     "index all messages for PARLEY_SEARCH while hosts serve, and from\n"
     "now on what is written; an interrupted build continues"},
    {"search drop", "", search_drop_run, false, "remove that index; nothing is indexed any more"},
    {"export", "FILE [--tenant T] [--user ID] [--resume]", export_run, false,
     "write users' states, sessions and messages as JSON lines, of one\n"
     "tenant or of all; FILE - is standard output"},
    {"import", "FILE [--from FORMAT] [--tenant T] [--user ID] [--expires 90d] [--dry-run]",
     import_run, false,
     "check all of FILE, then store it; skip what is there already, so\n"
     "that an interrupted import can be repeated; --expires: how long\n"
     "each session lives from now on"},
};

/* more: what follows the name; "": nothing. */
static void print_entry(FILE *out, const char *name, const char *more, const char *text)
{
    const int n = fprintf(out, "  %s%s%s", name, *more ? " " : "", more);
    fprintf(out, "%s%*s", n < HELP_COLUMN ? "" : "\n",
            n < HELP_COLUMN ? HELP_COLUMN - n : HELP_COLUMN, "");
    for (; *text; text++)
        fprintf(out, "%c%*s", *text, *text == '\n' ? HELP_COLUMN : 0, "");
    fputc('\n', out);
}

static void print_options(FILE *out, const char *takes)
{
    fputc('\n', out);
    for (const struct option_row *o = options; o < options + ARRAY_LEN(options); o++) {
        char name[32];
        snprintf(name, sizeof name, "--%s", o->name);
        if (o->general || strstr(takes, name))
            print_entry(out, name, o->value ? o->value : "", o->help);
    }
}

static void describe(FILE *out, const struct command *c)
{
    fprintf(out, "usage: parley [--config FILE] %s%s%s\n\n", c->name, *c->takes ? " " : "",
            c->takes);
    print_entry(out, c->name, c->takes, c->help);
    print_options(out, c->takes);
}

/* Describes the commands whose first word it is, or all (""). Whether there are any. */
static bool describe_group(FILE *out, const char *first)
{
    bool found = false;
    for (const struct command *c = commands; c < commands + ARRAY_LEN(commands); c++) {
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

static void print_help(FILE *out)
{
    fprintf(out, "parley %s: a session server for chatbots\n\n", PARLEY_VERSION);
    (void)describe_group(out, "");
    fprintf(out, "\nWhen key or tenant ends, its change is in force on every worker.\n\n"
                 "Settings, by environment or file:\n\n");
    config_help(out);
}

/* Reads the configuration. */
static int run_configured(const struct command_context *parsed, const struct command *command)
{
    struct command_context c = *parsed;
    struct config cfg;
    char why[4096], redis[320];
    const char *file = c.options.config ? c.options.config : getenv("PARLEY_CONFIG");
    enum err e = config_load(&cfg, file, why, sizeof why);
    const size_t n = strlen(why);
    if (cfg.redis_url && !cache_url_valid(cfg.redis_url, redis, sizeof redis)) {
        snprintf(why + n, sizeof why - n, "%sREDIS_URL: %s", n > 0 ? "\n" : "", redis);
        cfg.redis_url = NULL;
        e = ERR_INVALID;
    }
    int status = EXIT_MISCONFIGURED;
    c.cfg = &cfg;
    c.faults = why;
    if (e == ERR_NONE || command->runs_misconfigured)
        status = command->run(&c);
    else
        for (char *fault; (fault = strsep(&c.faults, "\n"));)
            command_say("%s", fault);
    config_free(&cfg);
    return status;
}

/* Whether command takes what c was given. rest: the words after its name. EXIT_GOOD, or the exit
 * status after a line that says what is wrong. */
static int check_usage(struct command_context *c, const struct command *command, char *const *rest)
{
    char what[96];
    const bool takes_argument = isupper((unsigned char)command->takes[0]);
    for (const struct option_row *o = options; o < options + ARRAY_LEN(options); o++) {
        snprintf(what, sizeof what, "--%s", o->name);
        if (!*value_of(c, o) || o->general || strstr(command->takes, what))
            continue;
        snprintf(what, sizeof what, "%s does not take --", command->name);
        return command_usage_error(what, o->name);
    }
    if (takes_argument && !rest[0] && !c->options.stale) {
        snprintf(what, sizeof what, "%s needs ", command->name);
        return command_usage_error(what, command->takes);
    }
    if (takes_argument && rest[0])
        c->argument = *rest++;
    return rest[0] ? command_usage_error("one command, not also ", rest[0]) : EXIT_GOOD;
}

static int run_command(struct command_context *c)
{
    const struct names names = NAMES(commands);
    const char *first = c->words[0], *second = c->words[1];
    const bool helps = c->options.help;
    char name[64];
    snprintf(name, sizeof name, "%s%s%s", first, second ? " " : "", second ? second : "");
    size_t i = names_index(&names, sv_from(name));
    const size_t n = second && i < names.n ? 2 : 1;
    if (i == names.n)
        i = names_index(&names, sv_from(first));
    if (i == names.n) {
        if (describe_group(helps ? stdout : stderr, first) && !second)
            return helps ? EXIT_GOOD : EXIT_MISCONFIGURED;
        return unknown_name("there is no command ", "", &names, name);
    }
    if (helps) {
        describe(stdout, &commands[i]);
        return EXIT_GOOD;
    }
    const int status = check_usage(c, &commands[i], &c->words[n]);
    return status == EXIT_GOOD ? run_configured(c, &commands[i]) : status;
}

static int run(int argc, char **argv)
{
    struct command_context c = {.cfg = NULL};
    const int status = parse_options(argc, argv, &c);
    if (status != EXIT_GOOD)
        return status;
    if (c.options.help && !c.words[0])
        print_help(stdout);
    else if (c.options.version)
        printf("parley %s\n", PARLEY_VERSION);
    else
        return c.words[0] ? run_command(&c) : command_usage_error("a command is missing", NULL);
    return EXIT_GOOD;
}

/* Opens descriptors 0 to 2 if they are closed: else a socket could get one of them, and output
 * would go to it. A result that nobody gets is a fault: writes to descriptor 1 fail then. */
static void open_standard(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            (void)open("/dev/null", fd == STDOUT_FILENO ? O_RDONLY : O_RDWR);
}

int main(int argc, char **argv)
{
    open_standard();
    const int status = run(argc, argv);
    /* A pipe or a full disk may not have taken all of it. A command that failed has said why. */
    if (status != EXIT_GOOD || (fflush(stdout) == 0 && !ferror(stdout)))
        return status;
    return command_unwritten(errno);
}
