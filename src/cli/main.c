/* SPDX-License-Identifier: MIT */
/* The entry point of parley. */
#include "cli_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Opens descriptors 0 to 2 if they are closed: else a socket could get one of them, and output
 * would go to it. */
static void open_standard(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    open_standard();
    const int status = cli_run(argc, argv);
    /* A pipe or a full disk may not have taken all of it. A command that failed has said why. */
    if (status != EXIT_GOOD || (fflush(stdout) == 0 && !ferror(stdout)))
        return status;
    fprintf(stderr, "parley: the output could not be written: %s\n", strerror(errno));
    return EXIT_FAULT;
}
