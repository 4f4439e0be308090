/* SPDX-License-Identifier: MIT */
/* The HTTP interfaces that api_dispatch chooses from by path. */
#ifndef PARLEY_API_INTERFACE_H
#define PARLEY_API_INTERFACE_H

#include "parley/http/route.h"

enum { API_PREFIXES_MAX = 5 };
struct api_interface {
    struct http_table table; /* routes, and the form of an error */
    /* What its paths begin with, in whole segments. The native interface has none, because it
     * serves all other paths. */
    const char *prefixes[API_PREFIXES_MAX + 1];
    bool open; /* no route needs an API key: none shows anything of a tenant */
};

extern const struct api_interface docs_interface;      /* docs.c */
extern const struct api_interface openai_interface;    /* openai_routes.c */
extern const struct api_interface langgraph_interface; /* langgraph_routes.c */
extern const struct api_interface native_interface;    /* native_routes.c */

#endif
