/* SPDX-License-Identifier: MIT */
/* The native interface: its route table. */
#include "native.h"

enum { READ = API_SESSION | API_USER_HEADER, WRITE = API_SESSION | API_PRECONDITIONS };

static const struct api_route routes[] = {
    {{HTTP_POST, "/v1/sessions", "session_create", api_run},
     {native_session_create, API_PRECONDITIONS | API_CREATES | API_BODY_OPTIONAL, api_no_params}},
    {{HTTP_GET, "/v1/sessions", "session_list", api_run},
     {native_session_list, API_USER_HEADER, native_list_params}},
    {{HTTP_PUT, "/v1/sessions/*", "session_put", api_run},
     {native_session_create, WRITE | API_CREATES | API_BODY_OPTIONAL, api_no_params}},
    {{HTTP_GET, "/v1/sessions/*", "session_get", api_run},
     {native_session_get, READ | API_IF_NONE_MATCH, native_session_params}},
    {{HTTP_PATCH, "/v1/sessions/*", "session_patch", api_run},
     {native_session_patch, WRITE | API_BODY_PATCH, api_no_params}},
    {{HTTP_DELETE, "/v1/sessions/*", "session_delete", api_run},
     {api_session_delete, WRITE | API_NO_BODY, api_no_params}},
    {{HTTP_POST, "/v1/sessions/*/fork", "session_fork", api_run},
     {native_session_fork, WRITE | API_FORKS | API_BODY_OPTIONAL, api_no_params}},
    {{HTTP_POST, "/v1/sessions/*/messages", "messages_append", api_run},
     {native_messages_append, WRITE | API_BODY_REQUIRED, native_append_params}},
    {{HTTP_GET, "/v1/sessions/*/window", "window_get", api_run},
     {native_window_get, READ | API_IF_NONE_MATCH, native_window_params}},
    {{HTTP_PUT, "/v1/sessions/*/summary", "summary_put", api_run},
     {native_summary_change, WRITE | API_BODY_REQUIRED, api_no_params}},
    {{HTTP_DELETE, "/v1/sessions/*/summary", "summary_delete", api_run},
     {native_summary_change, WRITE | API_NO_BODY, api_no_params}},
    {{HTTP_GET, "/v1/sessions/*/messages", "messages_page", api_run},
     {native_messages_page, READ | API_IF_NONE_MATCH, native_page_params}},
    {{HTTP_DELETE, "/v1/sessions/*/messages", "messages_truncate", api_run},
     {native_messages_truncate, WRITE | API_NO_BODY, native_truncate_params}},
    {{HTTP_GET, "/v1/sessions/*/messages/*", "message_get", api_run},
     {native_message_get, READ | API_MESSAGE, native_message_params}},
    {{HTTP_PATCH, "/v1/sessions/*/messages/*", "message_patch", api_run},
     {native_message_patch, WRITE | API_MESSAGE | API_BODY_PATCH, native_message_params}},
    {{HTTP_DELETE, "/v1/sessions/*/messages/*", "message_delete", api_run},
     {native_message_delete, WRITE | API_MESSAGE | API_NO_BODY, native_message_params}},
    {{HTTP_GET, "/v1/search", "messages_search", api_run},
     {native_search, API_USER_HEADER, native_search_params}},
    {{HTTP_GET, "/v1/key", "key_get", api_run},
     {native_key, API_USER_HEADER | API_ANY_TOKEN, api_no_params}},
    {{HTTP_GET, "/v1/users/*/sessions", "user_sessions", api_run},
     {native_session_list, API_PATH_USER, native_user_list_params}},
    {{HTTP_GET, "/v1/users/*/export", "user_export", api_run},
     {native_user_export, API_PATH_USER, api_no_params}},
    {{HTTP_GET, "/v1/users/*/state", "user_state_get", api_run},
     {native_user_state, API_PATH_USER | API_IF_NONE_MATCH, api_no_params}},
    {{HTTP_PATCH, "/v1/users/*/state", "user_state_patch", api_run},
     {native_user_state, API_PATH_USER | API_BODY_PATCH | API_PRECONDITIONS, api_no_params}},
    {{HTTP_DELETE, "/v1/users/*/state", "user_state_delete", api_run},
     {native_user_state, API_PATH_USER | API_NO_BODY | API_PRECONDITIONS, api_no_params}},
    {{HTTP_DELETE, "/v1/users/*", "user_delete", api_run},
     {native_user_delete, API_PATH_USER | API_NO_BODY | API_PRECONDITIONS, api_no_params}},
};

const struct api_interface native_interface = {
    {&routes[0].http, ARRAY_LEN(routes), sizeof(routes[0]), http_problem, false}, {NULL}, false};
