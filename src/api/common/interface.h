/* SPDX-License-Identifier: MIT */
/* The interfaces beside each other: each has a table of routes and a form of its errors. */
#ifndef PARLEY_API_INTERFACE_H
#define PARLEY_API_INTERFACE_H

#include "parley/http/route.h"

struct api_interface {
    struct http_table table;
    /* What its paths begin with, in whole segments, ending in NULL. Of the native interface, which
     * has what nobody else has: NULL. */
    const char *const *prefixes;
    bool open; /* its routes show nothing of a tenant and need no key */
};

extern const struct api_interface docs_interface;      /* docs.c */
extern const struct api_interface openai_interface;    /* openai_routes.c */
extern const struct api_interface langgraph_interface; /* langgraph_routes.c */
extern const struct api_interface native_interface;    /* native_routes.c */

#endif
