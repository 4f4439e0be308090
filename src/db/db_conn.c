/* SPDX-License-Identifier: MIT */
/* One connection: waits for it, and proves that it may be used again. db_servers.c opens it. */
#include "db_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

int db_wait_fd(int fd, short events, struct deadline deadline)
{
    struct pollfd waited = {.fd = fd, .events = events};
    int n;
    do
        n = poll(&waited, 1, deadline_left_ms(deadline));
    while (n < 0 && errno == EINTR);
    return n > 0 ? waited.revents : n;
}

void db_conn_close(struct db_conn *c)
{
    PQfinish(c->pg);
    free(c);
}

bool db_conn_quiet(const struct db_conn *c)
{
    return db_wait_fd(PQsocket(c->pg), POLLIN, deadline_in_ms(0)) == 0;
}

bool db_conn_clean(struct db_conn *c)
{
    return c->pg && !c->broken && PQstatus(c->pg) == CONNECTION_OK &&
           PQpipelineStatus(c->pg) == PQ_PIPELINE_OFF &&
           PQtransactionStatus(c->pg) == PQTRANS_IDLE && !PQisBusy(c->pg) &&
           PQgetResult(c->pg) == NULL;
}
