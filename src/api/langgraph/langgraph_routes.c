/* SPDX-License-Identifier: MIT */
/* LangGraph's interface: its route table. */
#include "api/common/interface.h"
#include "langgraph.h"

static const struct api_route routes[] = {
    {{HTTP_POST, "/threads", "thread_create", api_run},
     {langgraph_thread_create, API_PRECONDITIONS | API_CREATES | API_BODY_OPTIONAL, NULL}},
    {{HTTP_GET, "/threads/*", "thread_get", api_run},
     {langgraph_thread_get, API_THREAD | API_USER_HEADER, NULL}},
    {{HTTP_PATCH, "/threads/*", "thread_patch", api_run},
     {langgraph_thread_patch, API_THREAD | API_PRECONDITIONS | API_BODY_PATCH, NULL}},
    {{HTTP_DELETE, "/threads/*", "thread_delete", api_run},
     {api_session_delete, API_THREAD | API_PRECONDITIONS, NULL}},
    {{HTTP_POST, "/threads/search", "threads_search", api_run},
     {langgraph_threads_search, API_USER_HEADER | API_BODY_OPTIONAL, NULL}},
    {{HTTP_POST, "/threads/count", "threads_count", api_run},
     {langgraph_threads_count, API_USER_HEADER | API_BODY_OPTIONAL, NULL}},
    {{HTTP_POST, "/threads/*/copy", "thread_copy", api_run},
     {langgraph_thread_copy, API_THREAD | API_PRECONDITIONS, NULL}},
    {{HTTP_GET, "/threads/*/state", "thread_state_get", api_run},
     {langgraph_state_get, API_THREAD | API_USER_HEADER, NULL}},
    {{HTTP_POST, "/threads/*/state", "thread_state_update", api_run},
     {langgraph_state_update, API_THREAD | API_PRECONDITIONS | API_BODY_REQUIRED, NULL}},
    {{HTTP_GET, "/threads/*/state/*", "thread_state_get_at", api_run},
     {langgraph_state_get, API_THREAD | API_USER_HEADER, NULL}},
    {{HTTP_POST, "/threads/*/state/checkpoint", "thread_state_find", api_run},
     {langgraph_state_find, API_THREAD | API_USER_HEADER | API_BODY_REQUIRED, NULL}},
};

const struct api_interface langgraph_interface = {
    {&routes[0].http, ARRAY_LEN(routes), sizeof(routes[0]), langgraph_problem, false},
    {"/threads", "/runs", "/assistants", "/crons", "/store"},
    false};
