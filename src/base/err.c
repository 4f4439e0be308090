/* SPDX-License-Identifier: MIT */
#include "parley/base/err.h"

const char *err_name(enum err e)
{
#define ERR_NAME(value, name) [value] = (name),
    static const char *const names[ERR_COUNT] = {ERRORS(ERR_NAME)};
    return (unsigned)e < ERR_COUNT ? names[e] : "unknown";
}
