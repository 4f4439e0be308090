/* SPDX-License-Identifier: MIT */
/* The entry point of parley and its command line: options, the table of commands, and the
 * configuration of a command. */
#include "cli_internal.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "parley/base/names.h"
#include "parley/cache/cache.h"
#include "parley/db/migrate.h"
#include "parley/obs/log.h"

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
    const struct names known = {cli_options, OPTIONS, sizeof cli_options[0]};
    if (strncmp(given, "--", 2) != 0)
        return command_usage_error("there is no option ", given);
    given[strcspn(given, "=")] = '\0';
    return unknown_name("there is no option ", "--", &known, given + 2);
}

/* EXIT_GOOD, or the exit status after a line that says what is wrong. */
static int parse_options(int argc, char **argv, struct command_context *c)
{
    struct option known[OPTIONS + 1] = {{.name = NULL}};
    for (int i = 0; i < OPTIONS; i++)
        known[i] = (struct option){cli_options[i].name,
                                   cli_options[i].value ? required_argument : no_argument, NULL, i};
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, ":h", known, NULL)) != -1;) {
        if (option == 'h')
            option = OPTION_HELP;
        if (option == ':')
            return command_usage_error("a value is missing after ", argv[optind - 1]);
        if (option >= OPTIONS)
            return unknown_option(argv[optind - 1]);
        /* getopt takes a beginning for the whole; --e must not erase. */
        char *word = argv[optind - (optarg && optarg == argv[optind - 1] ? 2 : 1)];
        if (strncmp(word, "--", 2) == 0 && strcspn(word + 2, "=") != strlen(known[option].name))
            return unknown_option(word);
        if (c->given[option])
            return command_usage_error("given twice: --", known[option].name);
        c->given[option] = optarg ? optarg : "";
    }
    for (size_t n = 0; optind < argc; optind++) {
        if (n == COMMAND_WORDS_MAX)
            return command_usage_error("one command, not also ", argv[optind]);
        c->words[n++] = argv[optind];
    }
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

static int signal_supervisor(const struct command_context *c, int signo)
{
    char why[640];
    if (!c->cfg->listen)
        return command_usage_error(c->faults, NULL);
    const bool good = supervisor_signal(c->cfg->listen, signo, why, sizeof why);
    if (!good || signo == SIGHUP)
        fprintf(stderr, "parley: %s\n", good ? "reloaded" : why);
    return good ? EXIT_GOOD : EXIT_FAULT;
}

static int run_reload(struct command_context *c)
{
    return signal_supervisor(c, SIGHUP);
}

static int run_stop(struct command_context *c)
{
    return signal_supervisor(c, SIGTERM);
}

static int run_migrate(struct command_context *c)
{
    const char *to = c->given[OPTION_TO];
    int64_t target = -1; /* the newest */
    if (to && (!sv_to_i64(sv_from(to), &target) || target < 0 || target > db_schema_version()))
        return command_usage_error("--to must be a schema version that this program knows, and is ",
                                   to);
    const enum err e = db_migrate(command_admin_url(c->cfg), c->cfg->database_url, (int)target,
                                  print_progress, NULL);
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

static const struct command commands[] = {
    {"serve", "", run_serve, false,
     "run the service until SIGTERM or SIGINT, which drain (twice: end\n"
     "at once); SIGHUP reads the file again, checks it, and replaces\n"
     "the workers, or changes nothing and logs why"},
    {"reload", "", run_reload, false,
     "make the service that runs with this configuration reload (as\n"
     "SIGHUP), and wait; exit status 0: done, 1: refused, and why, or no\n"
     "service runs"},
    {"stop", "", run_stop, true, "drain and end that service (as SIGTERM), and wait for its end"},
    {"migrate", "[--to N]", run_migrate, false,
     "bring the schema to this program's version, or to version N\n"
     "(0: remove all that parley has made)"},
    {"check", "[--json]", check_run, true,
     "check the configuration, the sockets' directories, PostgreSQL,\n"
     "Redis and the keys, and name every fault; exit status 0: all is\n"
     "well, 1: a connection or the schema is wrong, 2: the\n"
     "configuration is"},
    {"config", "[--json | --markdown]", run_config, false,
     "print the settings in force; --markdown: describe all settings"},
    {"key create", "--tenant T [--name N] [--expires 90d]", key_create_run, false,
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
    {"tenant list", "[--json]", tenant_list_run, false, "all tenants, their keys and limits"},
    {"host list", "[--json]", host_list_run, false,
     "the hosts that are registered in the database"},
    {"host forget", "ID | --stale SECONDS", host_forget_run, false,
     "remove the registration of a host that is gone, or of all that were\n"
     "not seen for so long; a running host is kept"},
};

static void print_help(FILE *out)
{
    fprintf(out, "parley %s: a session server for chatbots\n\n", PARLEY_VERSION);
    (void)help_commands(out, commands, ARRAY_LEN(commands), "");
    fprintf(out, "\nWhen key or tenant ends, its change is in force on every worker.\n\n"
                 "Settings, by environment or file:\n\n");
    config_help(out);
}

/* Reads the configuration. */
static int run_configured(struct command_context *c, const struct command *command)
{
    struct config cfg;
    char why[4096], redis[256];
    const char *file = c->given[OPTION_CONFIG] ? c->given[OPTION_CONFIG] : getenv("PARLEY_CONFIG");
    enum err e = config_read(&cfg, file, why, sizeof why);
    const size_t n = strlen(why);
    if (cfg.redis_url && !cache_url_valid(cfg.redis_url, redis, sizeof redis)) {
        snprintf(why + n, sizeof why - n, "%sREDIS_URL: %s", n > 0 ? "\n" : "", redis);
        cfg.redis_url = NULL;
        e = ERR_INVALID;
    }
    int status = EXIT_MISCONFIGURED;
    c->cfg = &cfg;
    c->faults = why;
    if (e == ERR_NONE || command->runs_misconfigured)
        status = command->run(c);
    else
        for (char *fault; (fault = strsep(&c->faults, "\n"));)
            fprintf(stderr, "parley: %s\n", fault);
    config_free(&cfg);
    return status;
}

/* Whether command takes what c was given. rest: the words after its name. EXIT_GOOD, or the exit
 * status after a line that says what is wrong. */
static int check_usage(struct command_context *c, const struct command *command,
                       const char *const *rest)
{
    char what[96];
    const bool takes_argument = isupper((unsigned char)command->takes[0]);
    for (int i = 0; i < OPTION_CONFIG; i++) {
        snprintf(what, sizeof what, "--%s", cli_options[i].name);
        if (!c->given[i] || strstr(command->takes, what))
            continue;
        snprintf(what, sizeof what, "%s does not take --", command->name);
        return command_usage_error(what, cli_options[i].name);
    }
    if (takes_argument && !rest[0] && !c->given[OPTION_STALE]) {
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
    const bool helps = c->given[OPTION_HELP];
    char name[64];
    snprintf(name, sizeof name, "%s%s%s", first, second ? " " : "", second ? second : "");
    size_t i = names_index(&names, sv_from(name));
    const size_t n = second && i < names.n ? 2 : 1;
    if (i == names.n)
        i = names_index(&names, sv_from(first));
    if (i == names.n) {
        if (help_commands(helps ? stdout : stderr, commands, names.n, first) && !second)
            return helps ? EXIT_GOOD : EXIT_MISCONFIGURED;
        return unknown_name("there is no command ", "", &names, name);
    }
    if (helps) {
        help_command(stdout, &commands[i]);
        return EXIT_GOOD;
    }
    const int status = check_usage(c, &commands[i], &c->words[n]);
    if (status != EXIT_GOOD)
        return status;
    if (!c->given[OPTION_MARKDOWN])
        return run_configured(c, &commands[i]);
    if (c->given[OPTION_JSON])
        return command_usage_error("--json or --markdown, and not both", NULL);
    config_markdown(stdout);
    return EXIT_GOOD;
}

static int run(int argc, char **argv)
{
    struct command_context c = {.cfg = NULL};
    const int status = parse_options(argc, argv, &c);
    if (status != EXIT_GOOD)
        return status;
    if (c.given[OPTION_HELP] && !c.words[0])
        print_help(stdout);
    else if (c.given[OPTION_VERSION])
        printf("parley %s\n", PARLEY_VERSION);
    else
        return c.words[0] ? run_command(&c) : command_usage_error("a command is missing", NULL);
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
