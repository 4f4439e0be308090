/* SPDX-License-Identifier: MIT */
/* The entry point of parley and its command line: options, the table of commands, and the
 * configuration of a command. */
#include "cli_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "parley/base/names.h"
#include "parley/cache/cache.h"
#include "parley/db/migrate.h"
#include "parley/obs/log.h"

enum { ARGS_MAX = 3 };

struct options {
    const char *args[ARGS_MAX]; /* the name of the command, one or two of them, and its argument */
    int n_args;
    struct config cfg;
    struct command_context command;
};

static const struct option options[] = {{"to", required_argument, NULL, OPTION_TO},
                                        {"markdown", no_argument, NULL, OPTION_MARKDOWN},
                                        {"json", no_argument, NULL, OPTION_JSON},
                                        {"tenant", required_argument, NULL, OPTION_TENANT},
                                        {"name", required_argument, NULL, OPTION_NAME},
                                        {"expires", required_argument, NULL, OPTION_EXPIRES},
                                        {"requests", required_argument, NULL, OPTION_REQUESTS},
                                        {"sessions", required_argument, NULL, OPTION_SESSIONS},
                                        {"stale", required_argument, NULL, OPTION_STALE},
                                        {"create", no_argument, NULL, OPTION_CREATE},
                                        {"erase", no_argument, NULL, OPTION_ERASE},
                                        {"config", required_argument, NULL, OPTION_CONFIG},
                                        {"help", no_argument, NULL, OPTION_HELP},
                                        {"version", no_argument, NULL, OPTION_VERSION},
                                        {NULL, 0, NULL, 0}};

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

static int unknown_option(char *given)
{
    const struct names known = {options, OPTIONS, sizeof options[0]};
    if (strncmp(given, "--", 2) != 0)
        return command_usage_error("there is no option ", given);
    given[strcspn(given, "=")] = '\0';
    return unknown_name("there is no option ", "--", &known, given + 2);
}

/* EXIT_GOOD, or the exit status after a line that says what is wrong. */
static int parse_options(int argc, char **argv, struct options *o)
{
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, ":h", options, NULL)) != -1;) {
        if (option == 'h')
            option = OPTION_HELP;
        if (option == ':')
            return command_usage_error("a value is missing after ", argv[optind - 1]);
        if (option >= OPTIONS)
            return unknown_option(argv[optind - 1]);
        /* getopt takes a beginning for the whole; --e must not erase. */
        char *word = argv[optind - (optarg && optarg == argv[optind - 1] ? 2 : 1)];
        if (strncmp(word, "--", 2) == 0 && strcspn(word + 2, "=") != strlen(options[option].name))
            return unknown_option(word);
        if (o->command.given[option])
            return command_usage_error("given twice: --", options[option].name);
        o->command.given[option] = optarg ? optarg : "";
    }
    for (; optind < argc && o->n_args < ARGS_MAX; optind++)
        o->args[o->n_args++] = argv[optind];
    if (optind < argc)
        return command_usage_error("one command, not also ", argv[optind]);
    return EXIT_GOOD;
}

static void print_progress(void *arg, bool fault, const char *line)
{
    (void)arg;
    FILE *out = fault ? stderr : stdout;
    fprintf(out, "parley: %s\n", line);
    fflush(out);
}

static int run_serve(struct command_context *c)
{
    log_open();
    return supervisor_run(c->cfg, worker_main);
}

static int run_migrate(struct command_context *c)
{
    const char *to = c->given[OPTION_TO];
    int64_t target = -1; /* the newest */
    if (to && (!sv_to_i64(sv_from(to), &target) || target < 0 || target > db_schema_version()))
        return command_usage_error("--to must be a schema version that this program knows, and is ",
                                   to);
    const enum err e =
        db_migrate(command_admin_url(c->cfg), c->cfg->database_url, db_migration_table,
                   db_migration_count, (int)target, print_progress, NULL);
    return e == ERR_NONE ? EXIT_GOOD : e == ERR_INVALID ? EXIT_MISCONFIGURED : EXIT_FAULT;
}

static void output_setting(void *arg, const char *name, const char *text, int64_t number)
{
    struct json_tree *out = arg;
    if (text)
        output_text(out, out->root, name, sv_from(text));
    else
        json_tree_number(out, out->root, name, number);
}

static int run_config(struct command_context *c)
{
    const struct config *cfg = c->cfg;
    struct json_tree out;
    if (!c->given[OPTION_JSON]) {
        config_print(cfg, stdout);
        return EXIT_GOOD;
    }
    json_tree_init(&out);
    config_each(cfg, true, output_setting, &out);
    return command_finish(c, output_end(&out, ERR_NONE, true, NULL, NULL, 0));
}

#define TAKES(option) (1U << OPTION_##option)

static const struct command commands[] = {
    {"serve", "", NULL, run_serve, 0, false,
     "run the service until SIGTERM or SIGINT, which drain (twice: end\n"
     "at once); SIGHUP reads the file again, checks it, and replaces\n"
     "the workers, or changes nothing and logs why"},
    {"reload", "", NULL, service_reload_run, 0, false,
     "make the service that runs with this configuration reload (as\n"
     "SIGHUP), and wait; exit status 0: done, 1: refused, and why, or no\n"
     "service runs"},
    {"stop", "", NULL, service_stop_run, 0, true,
     "drain and end that service (as SIGTERM), and wait for its end"},
    {"migrate", "[--to N]", NULL, run_migrate, TAKES(TO), false,
     "bring the schema to this program's version, or to version N\n"
     "(0: remove all that parley has made)"},
    {"check", "[--json]", NULL, check_run, TAKES(JSON), true,
     "check the configuration, the sockets' directories, PostgreSQL,\n"
     "Redis and the keys, and name every fault; exit status 0: all is\n"
     "well, 1: a connection or the schema is wrong, 2: the\n"
     "configuration is"},
    {"config", "[--json | --markdown]", NULL, run_config, TAKES(MARKDOWN) | TAKES(JSON), false,
     "print the settings in force; --markdown: describe all settings"},
    {"key create", "--tenant T [--name N] [--expires 90d]", NULL, key_create_run,
     TAKES(TENANT) | TAKES(NAME) | TAKES(EXPIRES), false,
     "make a key and print it, only this once; it expires after so many\n"
     "d, h, m or s"},
    {"key list", "[--json]", NULL, key_list_run, TAKES(JSON), false,
     "all keys, without their secrets"},
    {"key revoke", "ID", "ID", key_revoke_run, 0, false,
     "revoke the key of that id; ID may also be the key itself"},
    {"tenant set", "NAME [--requests N] [--sessions N] [--create]", "NAME", tenant_set_run,
     TAKES(REQUESTS) | TAKES(SESSIONS) | TAKES(CREATE), false,
     "limit its requests a second and its open sessions: a number, none,\n"
     "or default (the settings PARLEY_TENANT_...)"},
    {"tenant delete", "NAME [--erase]", "NAME", tenant_delete_run, TAKES(ERASE), false,
     "revoke and delete its keys and its limits; with --erase its\n"
     "sessions, too, else it must have none; waits PARLEY_REQUEST_MS for\n"
     "requests that are under way"},
    {"tenant list", "[--json]", NULL, tenant_list_run, TAKES(JSON), false,
     "all tenants, their keys and limits"},
    {"host list", "[--json]", NULL, host_list_run, TAKES(JSON), false,
     "the hosts that are registered in the database"},
    {"host forget", "ID | --stale SECONDS", "an ID or --stale SECONDS", host_forget_run,
     TAKES(STALE), false,
     "remove the registration of a host that is gone, or of all that were\n"
     "not seen for so long; a running host is kept"},
};

static void print_help(FILE *out)
{
    fprintf(out, "parley %s: a session server for chatbots\n\n", PARLEY_VERSION);
    (void)help_print(out, commands, ARRAY_LEN(commands), "");
    fprintf(out, "\nWhen key or tenant ends, its change is in force on every worker.\n\n"
                 "Settings, by environment or file:\n\n");
    config_help(out);
}

/* The command of one word or of two; NULL: none, after a line that says what is wrong. */
static const struct command *select_command(const struct options *o)
{
    char given[64], verbs[64] = "";
    const char *first = o->args[0], *second = o->n_args > 1 ? o->args[1] : "";
    snprintf(given, sizeof given, "%s%s%s", first, *second ? " " : "", second);
    size_t i = names_index(&NAMES(commands), sv_from(given));
    if (i == ARRAY_LEN(commands))
        i = names_index(&NAMES(commands), sv_from(first));
    if (i < ARRAY_LEN(commands))
        return &commands[i];
    const char *known[ARRAY_LEN(commands)];
    size_t n = 0, used = 0;
    for (i = 0; i < ARRAY_LEN(commands); i++) {
        struct sv verb = sv_from(commands[i].name);
        if (!sv_eq(sv_cut(&verb, ' '), sv_from(first)))
            continue;
        known[n++] = verb.p;
        used += (size_t)snprintf(verbs + used, sizeof verbs - used, "%s%s",
                                 n > 1 ? ", " : " needs one of ", verb.p);
    }
    const struct names of_first = {known, n, sizeof known[0]};
    if (n > 0 && !names_nearest(&of_first, sv_from(second)))
        (void)command_usage_error(first, verbs);
    else
        (void)unknown_name("there is no command ", "", &NAMES(commands), given);
    return NULL;
}

static int check_options(const struct command_context *c, const struct command *command)
{
    for (int i = 0; i < OPTION_CONFIG; i++) {
        char what[64];
        if (!c->given[i] || command->options & 1U << i)
            continue;
        snprintf(what, sizeof what, "%s does not take --", command->name);
        return command_usage_error(what, options[i].name);
    }
    return EXIT_GOOD;
}

static int run_configured(struct options *o, const struct command *command)
{
    struct command_context *c = &o->command;
    struct config *cfg = &o->cfg;
    char why[4096], redis[256];
    const char *file = c->given[OPTION_CONFIG] ? c->given[OPTION_CONFIG] : getenv("PARLEY_CONFIG");
    enum err e = config_read(cfg, file, why, sizeof why);
    const size_t n = strlen(why);
    if (cfg->redis_url && !cache_url_valid(cfg->redis_url, redis, sizeof redis)) {
        snprintf(why + n, sizeof why - n, "%sREDIS_URL: %s", n > 0 ? "\n" : "", redis);
        cfg->redis_url = NULL;
        e = ERR_INVALID;
    }
    int status = EXIT_MISCONFIGURED;
    c->cfg = cfg;
    c->faults = why;
    if (e == ERR_NONE || command->runs_misconfigured)
        status = command->run(c);
    else
        for (char *fault; (fault = strsep(&c->faults, "\n"));)
            fprintf(stderr, "parley: %s\n", fault);
    config_free(cfg);
    return status;
}

static int missing_argument(const struct command *command)
{
    char line[96];
    snprintf(line, sizeof line, "%s needs ", command->name);
    return command_usage_error(line, command->argument);
}

static int run_command(struct options *o)
{
    struct command_context *c = &o->command;
    const bool helps = c->given[OPTION_HELP];
    /* Only the first word of several commands is given: describe them. */
    if (o->n_args == 1 &&
        names_index(&NAMES(commands), sv_from(o->args[0])) == ARRAY_LEN(commands) &&
        help_print(helps ? stdout : stderr, commands, ARRAY_LEN(commands), o->args[0]) > 0)
        return helps ? EXIT_GOOD : EXIT_MISCONFIGURED;
    const struct command *command = select_command(o);
    if (!command)
        return EXIT_MISCONFIGURED;
    if (helps) {
        (void)help_print(stdout, commands, ARRAY_LEN(commands), command->name);
        return EXIT_GOOD;
    }
    int n = strchr(command->name, ' ') ? 2 : 1, status = check_options(c, command);
    if (status != EXIT_GOOD)
        return status;
    if (command->argument && n == o->n_args && !c->given[OPTION_STALE])
        return missing_argument(command);
    if (command->argument && n < o->n_args)
        c->argument = o->args[n++];
    if (n < o->n_args)
        return command_usage_error("one command, not also ", o->args[n]);
    if (!c->given[OPTION_MARKDOWN])
        return run_configured(o, command);
    if (c->given[OPTION_JSON])
        return command_usage_error("--json or --markdown, and not both", NULL);
    config_markdown(stdout);
    return EXIT_GOOD;
}

static int run(int argc, char **argv)
{
    struct options o = {.n_args = 0};
    const int status = parse_options(argc, argv, &o);
    if (status != EXIT_GOOD)
        return status;
    if (o.command.given[OPTION_HELP] && o.n_args == 0)
        print_help(stdout);
    else if (o.command.given[OPTION_VERSION])
        printf("parley %s\n", PARLEY_VERSION);
    else
        return o.n_args > 0 ? run_command(&o) : command_usage_error("a command is missing", NULL);
    return EXIT_GOOD;
}

/* Opens descriptors 0 to 2 if they are closed: else a socket could get one of them, and output
 * would go to it. */
static void open_standard(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    open_standard();
    const int status = run(argc, argv);
    /* A pipe or a full disk may not have taken all of it. A command that failed has said why. */
    if (status != EXIT_GOOD || (fflush(stdout) == 0 && !ferror(stdout)))
        return status;
    fprintf(stderr, "parley: the output could not be written: %s\n", strerror(errno));
    return EXIT_FAULT;
}
