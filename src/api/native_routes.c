/* SPDX-License-Identifier: MIT */
/* The native interface: its route table. */
#include "interface.h"
#include "native.h"
#include "parley/http/problem.h"

static const struct http_route routes[] = {
    {HTTP_POST, "/v1/sessions", "session_create", native_session_create},
    {HTTP_PUT, "/v1/sessions/*", "session_put", native_session_put},
    {HTTP_GET, "/v1/sessions/*", "session_get", native_session_get},
    {HTTP_PATCH, "/v1/sessions/*", "session_patch", native_session_patch},
    {HTTP_DELETE, "/v1/sessions/*", "session_delete", native_session_delete},
    {HTTP_POST, "/v1/sessions/*/messages", "messages_append", native_messages_append},
    {HTTP_GET, "/v1/sessions/*/messages", "messages_page", native_messages_page},
    {HTTP_GET, "/v1/sessions/*/messages/*", "message_get", native_message_get},
    {HTTP_DELETE, "/v1/sessions/*/messages/*", "message_delete", native_message_delete},
    {HTTP_GET, "/v1/users/*/sessions", "user_sessions", native_user_sessions},
    {HTTP_GET, "/v1/users/*/export", "user_export", native_user_export},
    {HTTP_DELETE, "/v1/users/*", "user_delete", native_user_delete},
};

const struct api_interface native_interface = {
    {routes, ARRAY_LEN(routes), http_problem, false},
    NULL,
    false,
};
