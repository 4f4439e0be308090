/* SPDX-License-Identifier: MIT */
/* Documents that need no API key: /openapi.json, which describes all interfaces; /docs, the page
 * that shows it; /, which says where they are; and /status/, the page for operators. The build
 * embeds the JSON and both pages from docs/ (embed.sh). */
#include "api/common/handler.h"

/* Made by embed.sh. A policy (CSP) allows only the page's own script and style. */
extern const char docs_openapi[], docs_openapi_tag[];
extern const char docs_page[], docs_page_tag[], docs_page_policy[];
extern const char docs_status[], docs_status_tag[], docs_status_policy[];
extern const size_t docs_openapi_n, docs_page_n, docs_status_n;

static enum err answer_document(struct api_call *c, const char *type, struct sv bytes,
                                const char *tag)
{
    c->res->cache_control = "no-cache";
    TRY(api_set_etag(c, false, sv_from(tag)));
    if (c->res->status == 304)
        return ERR_NONE;
    c->res->status = 200;
    c->res->content_type = type;
    buf_sv(&c->res->body, bytes);
    return ERR_NONE;
}

static enum err get_openapi(struct api_call *c)
{
    return answer_document(c, "application/json", (struct sv){docs_openapi, docs_openapi_n},
                           docs_openapi_tag);
}

static enum err answer_page(struct api_call *c, struct sv bytes, const char *tag,
                            const char *policy)
{
    http_response_header(c->res, "Content-Security-Policy", sv_from(policy));
    return answer_document(c, "text/html; charset=utf-8", bytes, tag);
}

static enum err get_page(struct api_call *c)
{
    return answer_page(c, (struct sv){docs_page, docs_page_n}, docs_page_tag, docs_page_policy);
}

enum err api_status_page(struct api_call *c)
{
    return answer_page(c, (struct sv){docs_status, docs_status_n}, docs_status_tag,
                       docs_status_policy);
}

static enum err get_root(struct api_call *c)
{
    struct json_writer j = api_begin(c->res, 200);
    buf_printf(j.b,
               "{\"name\":\"parley\",\"version\":\"%s\",\"documentation\":\"/docs\","
               "\"openapi\":\"/openapi.json\"}",
               c->api->version);
    return ERR_NONE;
}

static const struct api_route routes[] = {
    {{HTTP_GET, "/", "root", api_run}, {get_root, 0, api_no_params}},
    {{HTTP_GET, "/openapi.json", "openapi_json", api_run},
     {get_openapi, API_IF_NONE_MATCH, api_no_params}},
    {{HTTP_GET, "/docs", "docs_page", api_run}, {get_page, API_IF_NONE_MATCH, api_no_params}},
    {{HTTP_GET, "/docs/", "docs_slash", api_run}, {get_page, API_IF_NONE_MATCH, api_no_params}},
};

const struct api_interface docs_interface = {
    {&routes[0].http, ARRAY_LEN(routes), sizeof(routes[0]), http_problem, true},
    {"/", "/docs", "/openapi.json"},
    true};
