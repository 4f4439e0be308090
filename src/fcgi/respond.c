/* SPDX-License-Identifier: MIT */
/*
 * struct http_response to FastCGI records. They are sent from where the response lies: libfcgi
 * would copy it into a buffer of 8 KB and write that as often as it is full. The end of the request
 * goes out with the last record, so that an answer of up to RECORD_MAX is one sendmsg(2).
 */
#include "fcgi_internal.h"

#include <errno.h>
#include <sys/socket.h>

#include <fastcgi.h>

enum {
    RECORD_MAX = 65528, /* the largest multiple of 8 that a length of 16 bits holds */
    HEAD_SIZE = 512     /* first size of the buffer for the headers */
};

static FCGI_Header header_of(int type, int id, size_t n)
{
    return (FCGI_Header){.version = FCGI_VERSION_1,
                         .type = (unsigned char)type,
                         .requestIdB1 = (unsigned char)(id >> 8 & 0xff),
                         .requestIdB0 = (unsigned char)(id & 0xff),
                         .contentLengthB1 = (unsigned char)(n >> 8),
                         .contentLengthB0 = (unsigned char)(n & 0xff)};
}

/* Leaves of m what follows its first n bytes, and no empty part in front. */
static void skip_sent(struct msghdr *m, size_t n)
{
    while (m->msg_iovlen > 0 && n >= m->msg_iov->iov_len) {
        n -= m->msg_iov->iov_len;
        m->msg_iov++;
        m->msg_iovlen--;
    }
    if (m->msg_iovlen > 0) {
        m->msg_iov->iov_base = (char *)m->msg_iov->iov_base + n;
        m->msg_iov->iov_len -= n;
    }
}

/* False: the peer is gone, or took nothing until the time-out of a send. */
static bool send_all(int fd, struct iovec *iov, size_t n)
{
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = n};
    skip_sent(&m, 0);
    while (m.msg_iovlen > 0) {
        ssize_t sent = sendmsg(fd, &m, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        skip_sent(&m, (size_t)sent);
    }
    return true;
}

/* sendmsg takes what it only reads as not const. */
static struct iovec iov_of(const void *p, size_t n)
{
    return (struct iovec){.iov_base = (void *)(uintptr_t)p, .iov_len = n};
}

/* head, of RECORD_MAX at most, and then body as output; last: and the end of the request. */
static bool send_output(int fd, int id, struct sv head, struct sv body, bool last)
{
    /* What closes the output and ends the request. */
    const struct {
        FCGI_Header output;
        FCGI_EndRequestRecord request;
    } ending = {header_of(FCGI_STDOUT, id, 0),
                {header_of(FCGI_END_REQUEST, id, sizeof(FCGI_EndRequestBody)),
                 {.protocolStatus = FCGI_REQUEST_COMPLETE}}};
    bool more = head.n > 0 || body.n > 0 || last;
    while (more) {
        FCGI_Header header;
        struct iovec iov[4];
        size_t n = 0;
        const size_t room = RECORD_MAX - head.n;
        more = body.n > room;
        const size_t part = more ? room : body.n;
        /* An empty record would be the end of the output. */
        if (head.n + part > 0) {
            header = header_of(FCGI_STDOUT, id, head.n + part);
            iov[n++] = iov_of(&header, sizeof header);
            iov[n++] = iov_of(head.p, head.n);
            iov[n++] = iov_of(body.p, part);
        }
        if (last && !more)
            iov[n++] = iov_of(&ending, sizeof ending);
        if (!send_all(fd, iov, n))
            return false;
        head.n = 0;
        if (more)
            sv_skip(&body, part);
    }
    return true;
}

/* The pieces after the first. Each is sent before the next is made, so that nginx receives
 * something at least as often as a piece is made, and memory holds one of them. */
static bool send_pieces(int fd, int id, const struct http_response *res)
{
    const struct arena_mark mark = arena_get_mark(res->body.arena);
    for (bool more = true; more;) {
        struct buf piece;
        buf_init(&piece, res->body.arena, 0);
        if (res->next_piece(res->piece_arg, &piece, &more) != ERR_NONE || piece.failed ||
            !send_output(fd, id, SV_NONE, buf_get(&piece), !more))
            return false;
        arena_rewind(res->body.arena, mark);
    }
    return true;
}

bool fcgi_respond(int fd, int id, const struct http_response *res, bool head)
{
    struct buf text;
    if (res->body.failed || res->status < 200 || res->status > 599)
        return fcgi_respond_nomem(fd, id, head);
    buf_init(&text, res->body.arena, HEAD_SIZE);
    /* nginx copies this text into its status line. */
    BUF_LIT(&text, "Status: ");
    http_response_head(&text, res);
    if (text.failed || text.n > RECORD_MAX)
        return fcgi_respond_nomem(fd, id, head);
    /* nginx closes the connection when a HEAD is answered with a body. */
    const struct sv body = res->content_type && !head ? buf_get(&res->body) : SV_NONE;
    const bool pieces = res->next_piece && !head;
    return send_output(fd, id, buf_get(&text), body, !pieces) &&
           (!pieces || send_pieces(fd, id, res));
}

#define NOMEM_BODY                                                               \
    "{\"type\":\"/docs#error-out_of_memory\",\"title\":\"Service Unavailable\"," \
    "\"status\":503,\"code\":\"out_of_memory\"}"

bool fcgi_respond_nomem(int fd, int id, bool head)
{
    const struct sv body = SV(NOMEM_BODY);
    const struct sv text = SV("Status: 503 Service Unavailable\r\n"
                              "Content-Type: application/problem+json\r\n"
                              "Content-Length: 102\r\n"
                              "Retry-After: 1\r\n"
                              "Cache-Control: no-store\r\n\r\n");
    _Static_assert(sizeof(NOMEM_BODY) - 1 == 102, "the length that the header says");
    return send_output(fd, id, text, head ? SV_NONE : body, true);
}
