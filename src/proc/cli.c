/* SPDX-License-Identifier: MIT */
#include "proc_internal.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parley/base/sv.h"
#include "parley/cache/cache.h"
#include "parley/db/migrate.h"

struct options {
    const char *command, *file;
    int to; /* -1: the newest */
    bool to_given, markdown, help, version;
};

static void usage(FILE *out)
{
    fprintf(out,
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
            "  config            print the settings in force; --markdown: describe them all\n\n"
            "  --config FILE     NAME=value lines; the environment wins [PARLEY_CONFIG]\n"
            "  --help, --version\n\n"
            "Settings, by environment or file:\n\n",
            PARLEY_VERSION);
    config_help(out);
}

static int wrong(const char *what, const char *value)
{
    fprintf(stderr, "parley: %s%s; see parley --help\n", what, value ? value : "");
    return EXIT_MISCONFIGURED;
}

static bool parse_version(const char *text, int *out)
{
    int64_t n;
    if (!sv_to_i64(sv_from(text), &n) || n < 0 || n > db_schema_version())
        return false;
    *out = (int)n;
    return true;
}

/* EXIT_GOOD, or the exit status after a line that says what is wrong. */
static int parse(int argc, char **argv, struct options *o)
{
    enum { CONFIG = 1, TO, MARKDOWN, HELP, VERSION };
    static const struct option options[] = {
        {"config", required_argument, NULL, CONFIG}, {"to", required_argument, NULL, TO},
        {"markdown", no_argument, NULL, MARKDOWN},   {"help", no_argument, NULL, HELP},
        {"version", no_argument, NULL, VERSION},     {NULL, 0, NULL, 0}};
    *o = (struct options){.file = getenv("PARLEY_CONFIG"), .to = -1};
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, ":h", options, NULL)) != -1;) {
        if (c == CONFIG)
            o->file = optarg;
        else if (c == TO)
            o->to_given = true;
        else if (c == MARKDOWN)
            o->markdown = true;
        else if (c == HELP || c == 'h')
            o->help = true;
        else if (c == VERSION)
            o->version = true;
        else
            return wrong(c == ':' ? "a value is missing after " : "there is no option ",
                         argv[optind - 1]);
        if (c == TO && !parse_version(optarg, &o->to))
            return wrong("--to must be a schema version that this program knows, and is ", optarg);
    }
    o->command = optind < argc ? argv[optind] : NULL;
    if (optind + 1 < argc)
        return wrong("one command, and not also ", argv[optind + 1]);
    return EXIT_GOOD;
}

static void say(void *arg, const char *line)
{
    (void)arg;
    printf("parley: %s\n", line);
    fflush(stdout);
}

static int run_serve(const struct config *cfg)
{
    return supervisor_run(cfg, worker_main, check_db);
}

static int run_config(const struct config *cfg)
{
    config_print(cfg, stdout);
    return EXIT_GOOD;
}

static int run_configured(const struct options *o, int (*run)(const struct config *))
{
    char why[512];
    struct config cfg;
    if (config_load(&cfg, o->file, why, sizeof why) != ERR_NONE) {
        fprintf(stderr, "parley: %s\n", why);
        return EXIT_MISCONFIGURED;
    }
    int status = EXIT_MISCONFIGURED;
    if (cfg.redis_url[0] && !cache_url_valid(cfg.redis_url, why, sizeof why))
        fprintf(stderr, "parley: REDIS_URL: %s\n", why);
    else if (run)
        status = run(&cfg);
    else
        status = db_migrate(cfg.database_url, cfg.db_role, o->to, say, NULL) == ERR_NONE
                     ? EXIT_GOOD
                     : EXIT_FAULT;
    config_free(&cfg);
    return status;
}

int cli_run(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(const struct config *cfg); /* NULL: migrate, which has an option of its own */
    } commands[] = {
        {"serve", run_serve}, {"migrate", NULL}, {"check", check_run}, {"config", run_config}};
    struct options o;
    int status = parse(argc, argv, &o);
    if (status != EXIT_GOOD)
        return status;
    if (o.help) {
        usage(stdout);
        return EXIT_GOOD;
    }
    if (o.version) {
        printf("parley %s\n", PARLEY_VERSION);
        return EXIT_GOOD;
    }
    if (!o.command)
        return wrong("a command is missing", NULL);
    if (o.to_given && strcmp(o.command, "migrate") != 0)
        return wrong("--to goes with migrate only", NULL);
    if (o.markdown && strcmp(o.command, "config") != 0)
        return wrong("--markdown goes with config only", NULL);
    if (o.markdown) {
        config_markdown(stdout);
        return EXIT_GOOD;
    }
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(commands[i].name, o.command) == 0)
            return run_configured(&o, commands[i].run);
    return wrong("there is no command ", o.command);
}
