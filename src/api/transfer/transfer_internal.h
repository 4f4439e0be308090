/* SPDX-License-Identifier: MIT */
/* What the files of api/transfer share: readers of the formats. */
#pragma once

#include "api/common/handler.h"
#include "api/native/native.h"
#include "parley/api/transfer.h"

/* A conversation of ChatGPT's export. */
MUSTCHECK enum err transfer_read_chatgpt(const struct json_input *in, struct transfer *out);
