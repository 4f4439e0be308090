/* SPDX-License-Identifier: MIT */
#include "cli_internal.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parley/base/sv.h"
#include "parley/cache/cache.h"
#include "parley/db/migrate.h"
#include "parley/obs/log.h"

enum { WORDS_MAX = 3 };

struct options {
    bool help;
    const char *words[WORDS_MAX]; /* the command, of one word or two, and its argument */
    int n_words;
    struct config cfg;
    struct command_work work;
};

static const struct option options[] = {{"to", required_argument, NULL, OPTION_TO},
                                        {"markdown", no_argument, NULL, OPTION_MARKDOWN},
                                        {"tenant", required_argument, NULL, OPTION_TENANT},
                                        {"name", required_argument, NULL, OPTION_NAME},
                                        {"expires", required_argument, NULL, OPTION_EXPIRES},
                                        {"requests", required_argument, NULL, OPTION_REQUESTS},
                                        {"sessions", required_argument, NULL, OPTION_SESSIONS},
                                        {"stale", required_argument, NULL, OPTION_STALE},
                                        {"config", required_argument, NULL, OPTION_CONFIG},
                                        {"help", no_argument, NULL, OPTION_HELP},
                                        {"version", no_argument, NULL, OPTION_VERSION},
                                        {NULL, 0, NULL, 0}};

static void usage(FILE *out)
{
    fprintf(
        out,
        "parley %s: a session server for chatbots\n\n"
        "usage: parley [--config FILE] COMMAND\n\n"
        "  serve             run the service until SIGTERM or SIGINT, which drain (twice: end\n"
        "                    at once); SIGHUP reads the file again, checks it, and replaces\n"
        "                    the workers, or leaves all as it is and logs why\n"
        "  migrate [--to N]  bring the schema to this program's version, or to version N\n"
        "                    (0: nothing of parley is left)\n"
        "  check             look at the configuration and the connections, say what is\n"
        "                    wrong; exit status 0: nothing, 1: a connection or the schema,\n"
        "                    2: the configuration\n"
        "  config            print the settings in force; --markdown: describe them all\n"
        "  key create --tenant T [--name N] [--expires 90d]\n"
        "                    make a key and print it, this once; d, h, m or s\n"
        "  key list          all keys, without their secrets\n"
        "  key revoke ID     of a key, or the key itself\n"
        "  tenant set T [--requests N] [--sessions N]\n"
        "                    bound its requests a second and its open sessions: a number, none,\n"
        "                    or default (the settings below)\n"
        "  tenant list       all tenants, their keys and bounds\n"
        "  host list         the hosts that are registered in the database\n"
        "  host forget ID | --stale SECONDS\n"
        "                    remove the registration of a host that is gone, or of all that were\n"
        "                    not seen for so long; one that lives is kept\n\n"
        "What key and tenant have changed holds on every worker when they end.\n\n"
        "  --config FILE     NAME=value lines; the environment wins [PARLEY_CONFIG]\n"
        "  --help, --version\n\n"
        "Settings, by environment or file:\n\n",
        PARLEY_VERSION);
    config_help(out);
}

int cli_wrong(const char *what, const char *value)
{
    fprintf(stderr, "parley: %s%s; see parley --help\n", what, value ? value : "");
    return EXIT_MISCONFIGURED;
}

/* EXIT_GOOD, or the exit status after a line that says what is wrong. */
static int parse(int argc, char **argv, struct options *o)
{
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, ":h", options, NULL)) != -1;) {
        if (c == 'h') {
            o->help = true;
            continue;
        }
        if (c >= OPTIONS)
            return cli_wrong(c == ':' ? "a value is missing after " : "there is no option ",
                             argv[optind - 1]);
        if (o->work.given[c])
            return cli_wrong("given twice: --", options[c].name);
        o->work.given[c] = optarg ? optarg : "";
    }
    for (; optind < argc && o->n_words < WORDS_MAX; optind++)
        o->words[o->n_words++] = argv[optind];
    if (optind < argc)
        return cli_wrong("one command, and not also ", argv[optind]);
    return EXIT_GOOD;
}

static void say(void *arg, bool fault, const char *line)
{
    (void)arg;
    FILE *out = fault ? stderr : stdout;
    fprintf(out, "parley: %s\n", line);
    fflush(out);
}

static int run_serve(struct command_work *w)
{
    log_open();
    return supervisor_run(w->cfg, worker_main, check_db);
}

static int run_migrate(struct command_work *w)
{
    const char *to = w->given[OPTION_TO];
    int64_t target = -1; /* the newest */
    if (to && (!sv_to_i64(sv_from(to), &target) || target < 0 || target > db_schema_version()))
        return cli_wrong("--to must be a schema version that this program knows, and is ", to);
    const enum err e = db_migrate(admin_url(w->cfg), w->cfg->database_url, (int)target, say, NULL);
    return e == ERR_NONE ? EXIT_GOOD : e == ERR_INVALID ? EXIT_MISCONFIGURED : EXIT_FAULT;
}

static int run_config(struct command_work *w)
{
    config_print(w->cfg, stdout);
    return EXIT_GOOD;
}

#define TAKES(option) (1U << OPTION_##option)

static const struct command {
    const char *name, *verb; /* one word, or two */
    const char *argument;    /* what it takes; NULL: nothing */
    int (*run)(struct command_work *w);
    unsigned options; /* each option belongs to one command */
} commands[] = {
    {"serve", NULL, NULL, run_serve, 0},
    {"migrate", NULL, NULL, run_migrate, TAKES(TO)},
    {"check", NULL, NULL, check_run, 0},
    {"config", NULL, NULL, run_config, TAKES(MARKDOWN)},
    {"key", "create", NULL, key_create_run, TAKES(TENANT) | TAKES(NAME) | TAKES(EXPIRES)},
    {"key", "list", NULL, key_list_run, 0},
    {"key", "revoke", "ID", key_revoke_run, 0},
    {"tenant", "set", "NAME", tenant_set_run, TAKES(REQUESTS) | TAKES(SESSIONS)},
    {"tenant", "list", NULL, tenant_list_run, 0},
    {"host", "list", NULL, host_list_run, 0},
    {"host", "forget", "ID", host_forget_run, TAKES(STALE)},
};

static const struct command *find_command(const struct options *o)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        const struct command *c = &commands[i];
        if (strcmp(c->name, o->words[0]) == 0 &&
            (!c->verb || (o->n_words > 1 && strcmp(c->verb, o->words[1]) == 0)))
            return c;
    }
    return NULL;
}

static int check_options(const struct command_work *w, const struct command *command)
{
    for (int i = 0; i < OPTION_CONFIG; i++) {
        const struct command *home = commands;
        char what[64];
        if (!w->given[i] || command->options & 1U << i)
            continue;
        while (!(home->options & 1U << i))
            home++;
        snprintf(what, sizeof what, "--%s goes with %s%s%s only", options[i].name, home->name,
                 home->verb ? " " : "", home->verb ? home->verb : "");
        return cli_wrong(what, NULL);
    }
    return EXIT_GOOD;
}

static int run_configured(struct options *o, const struct command *command)
{
    struct command_work *w = &o->work;
    struct config *cfg = &o->cfg;
    char why[4096];
    const char *file = w->given[OPTION_CONFIG] ? w->given[OPTION_CONFIG] : getenv("PARLEY_CONFIG");
    if (config_load(cfg, file, why, sizeof why) != ERR_NONE) {
        for (char *rest = why, *fault; (fault = strsep(&rest, "\n"));)
            fprintf(stderr, "parley: %s\n", fault);
        return EXIT_MISCONFIGURED;
    }
    int status = EXIT_MISCONFIGURED;
    w->cfg = cfg;
    if (cfg->redis_url[0] && !cache_url_valid(cfg->redis_url, why, sizeof why))
        fprintf(stderr, "parley: REDIS_URL: %s\n", why);
    else
        status = command->run(w);
    config_free(cfg);
    return status;
}

static int run_command(struct options *o)
{
    struct command_work *w = &o->work;
    const struct command *command = find_command(o);
    if (!command)
        return cli_wrong("there is no command ", o->words[0]);
    int n = command->verb ? 2 : 1, status = check_options(w, command);
    if (status != EXIT_GOOD)
        return status;
    if (command->argument && n == o->n_words && !w->given[OPTION_STALE])
        return cli_wrong("something is missing at the end: ", command->argument);
    if (command->argument && n < o->n_words)
        w->argument = o->words[n++];
    if (n < o->n_words)
        return cli_wrong("one command, and not also ", o->words[n]);
    if (!w->given[OPTION_MARKDOWN])
        return run_configured(o, command);
    config_markdown(stdout);
    return EXIT_GOOD;
}

int cli_run(int argc, char **argv)
{
    struct options o = {.n_words = 0};
    int status = parse(argc, argv, &o);
    if (status != EXIT_GOOD)
        return status;
    if (!o.help && !o.work.given[OPTION_HELP] && !o.work.given[OPTION_VERSION])
        return o.n_words > 0 ? run_command(&o) : cli_wrong("a command is missing", NULL);
    if (o.help || o.work.given[OPTION_HELP])
        usage(stdout);
    else
        printf("parley %s\n", PARLEY_VERSION);
    return EXIT_GOOD;
}
