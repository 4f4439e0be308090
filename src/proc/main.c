/* SPDX-License-Identifier: MIT */
#include "proc_internal.h"

int main(int argc, char **argv)
{
    return cli_run(argc, argv);
}
