/* bot URL SESSION: a bot that keeps its conversation in parley. Each line of input is a turn.
 * API_KEY in the environment is parley's key.
 * cc bot.c -o bot $(pkg-config --cflags --libs libcurl json-c) */
#include <curl/curl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A request that is repeated, under one key, until its outcome is known. Its answer. Owns body. */
static json_object *call(const char *method, const char *url, json_object *body)
{
    static int requests;
    char key[100], authorization[200];
    snprintf(key, sizeof key, "Idempotency-Key: %d-%ld-%d", getpid(), (long)time(NULL), requests++);
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    headers = curl_slist_append(headers, key);
    snprintf(authorization, sizeof authorization, "Authorization: Bearer %s",
             getenv("API_KEY") ? getenv("API_KEY") : "");
    headers = curl_slist_append(headers, authorization);
    for (;;) {
        char *text = NULL;
        size_t n = 0;
        FILE *answer = open_memstream(&text, &n);
        CURL *curl = curl_easy_init();
        curl_easy_setopt(curl, CURLOPT_URL, url);
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, json_object_to_json_string(body));
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
        curl_easy_setopt(curl, CURLOPT_TIMEOUT, 20L);
        CURLcode done = curl_easy_perform(curl);
        long status = 0;
        curl_off_t wait = 0;
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &wait);
        curl_easy_cleanup(curl);
        fclose(answer);
        json_object *result = done == CURLE_OK && status < 300 ? json_tokener_parse(text) : NULL;
        if (!result && done == CURLE_OK && wait == 0) {
            fprintf(stderr, "%s\n", text);
            exit(1);
        }
        free(text);
        if (!result) {
            if (done != CURLE_OK)
                fprintf(stderr, "%s: %s; trying again\n", url, curl_easy_strerror(done));
            sleep(wait ? (unsigned)wait : 1); /* nobody answered, or not now */
            continue;
        }
        curl_slist_free_all(headers);
        json_object_put(body);
        return result;
    }
}

static json_object *message(const char *role, const char *content)
{
    json_object *m = json_object_new_object();
    json_object_object_add(m, "role", json_object_new_string(role));
    json_object_object_add(m, "content", json_object_new_string(content));
    return m;
}

/* What the bot says. window: the newest messages, oldest first; the last one is the user's. */
static void reply(json_object *window, char *out, size_t n)
{
    const char *before = NULL, *last = NULL;
    for (size_t i = 0; i < json_object_array_length(window); i++) {
        json_object *m = json_object_array_get_idx(window, i);
        if (strcmp(json_object_get_string(json_object_object_get(m, "role")), "user") != 0)
            continue;
        before = last;
        last = json_object_get_string(json_object_object_get(m, "content"));
    }
    if (before)
        snprintf(out, n, "You spoke of %s. Why %s now?", before, last);
    else
        snprintf(out, n, "Why %s?", last);
}

int main(int argc, char **argv)
{
    static char session[1000], messages[1100], window[1100], line[10000], answer[20100];
    if (argc != 3) {
        fprintf(stderr, "usage: bot URL SESSION\n");
        return 1;
    }
    snprintf(session, sizeof session, "%s/v1/sessions/%s", argv[1], argv[2]);
    snprintf(messages, sizeof messages, "%s/messages", session);
    snprintf(window, sizeof window, "%s/messages?return=10", session);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    json_object_put(call("PUT", session, json_object_new_object())); /* gets it, or makes it */
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        json_object *turn = call("POST", window, message("user", line));
        reply(json_object_object_get(turn, "messages"), answer, sizeof answer);
        json_object_put(turn);
        json_object_put(call("POST", messages, message("assistant", answer)));
        printf("%s\n", answer);
        fflush(stdout);
    }
    curl_global_cleanup();
    return 0;
}
