/* SPDX-License-Identifier: MIT */
/*
 * A library for LD_PRELOAD that makes the n-th call of one kind fail in the thread of parley that
 * serves requests. A page of memory, shared with the test, says which kind, which n, and when
 * counting begins. It holds the counts. tests/faults/fault_injection.py has the same layout.
 *
 * Under ASan this library is loaded before ASan's, so that calls of libpq, hiredis and
 * libfcgi are counted like parley's, and ASan still sees what they allocate.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* glibc's prototypes have a transparent union for the address of a socket. */
#pragma GCC diagnostic ignored "-Wpedantic"

#define EXPORT __attribute__((visibility("default")))
#define CALLER ((uintptr_t)__builtin_return_address(0))

enum kind { MALLOC, READ, WRITE, SEND, RECV, POLL, ACCEPT, SOCKET, EPOLL, KINDS };
enum library { PARLEY, LIBPQ, HIREDIS, LIBFCGI, OTHER, LIBRARIES };
/* FAILS: the connection is lost for all its users. */
enum how { FAILS, SHORT, INTERRUPTED, NO_MEMORY };

struct page {
    _Atomic uint32_t counting; /* set by the test, after the members up to count */
    uint32_t kind, nth;        /* nth 0: only counted */
    uint32_t persistent;       /* all calls from the nth on */
    uint32_t how;
    uint32_t of;              /* whose calls: a bit for each library */
    _Atomic uint32_t count;   /* calls of that kind so far */
    _Atomic uint32_t failed;  /* those that were made to fail */
    _Atomic uint32_t culprit; /* the library of the first of them */
    _Atomic uint32_t learn;   /* the next thread that peeks at a record is the handler */
    _Atomic uint32_t waits;   /* the handler is idle */
    _Atomic uint32_t calls[KINDS][LIBRARIES];
};

static struct page *page;
static struct {
    uintptr_t from, to;
    enum library library;
} ranges[16];
static int n_ranges;
static __thread bool is_handler __attribute__((tls_model("initial-exec")));

static enum library library_of(uintptr_t caller)
{
    for (int i = 0; i < n_ranges; i++)
        if (caller >= ranges[i].from && caller < ranges[i].to)
            return ranges[i].library;
    return OTHER;
}

/* Whether this call is to fail, and how. */
static bool fails(enum kind kind, uintptr_t caller)
{
    if (!is_handler || !page || !atomic_load(&page->counting))
        return false;
    const enum library library = library_of(caller);
    atomic_fetch_add(&page->calls[kind][library], 1);
    if (kind != page->kind || !(page->of & 1u << library))
        return false;
    const uint32_t n = atomic_fetch_add(&page->count, 1) + 1;
    if (page->nth == 0 || n < page->nth || (n > page->nth && !page->persistent))
        return false;
    if (atomic_fetch_add(&page->failed, 1) == 0)
        atomic_store(&page->culprit, library);
    return true;
}

/* ---- memory: the next function is ASan's, or glibc's under its other name ---- */

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t), *__libc_memalign(size_t, size_t);
extern void *__interceptor_malloc(size_t) __attribute__((weak));
extern void *__interceptor_calloc(size_t, size_t) __attribute__((weak));
extern void *__interceptor_realloc(void *, size_t) __attribute__((weak));
extern void *__interceptor_memalign(size_t, size_t) __attribute__((weak));

static bool memory_fails(uintptr_t caller)
{
    if (!fails(MALLOC, caller))
        return false;
    errno = ENOMEM;
    return true;
}

static void *get(size_t n)
{
    return __interceptor_malloc ? __interceptor_malloc(n) : __libc_malloc(n);
}

static void *get_aligned(size_t align, size_t n)
{
    return __interceptor_memalign ? __interceptor_memalign(align, n) : __libc_memalign(align, n);
}

EXPORT void *malloc(size_t n)
{
    return memory_fails(CALLER) ? NULL : get(n);
}

EXPORT void *calloc(size_t n, size_t size)
{
    if (memory_fails(CALLER))
        return NULL;
    return __interceptor_calloc ? __interceptor_calloc(n, size) : __libc_calloc(n, size);
}

EXPORT void *realloc(void *p, size_t n)
{
    /* A realloc to 0 frees, and does not fail. */
    if (n > 0 && memory_fails(CALLER))
        return NULL;
    return __interceptor_realloc ? __interceptor_realloc(p, n) : __libc_realloc(p, n);
}

EXPORT int posix_memalign(void **out, size_t align, size_t n)
{
    *out = memory_fails(CALLER) ? NULL : get_aligned(align, n);
    return *out ? 0 : ENOMEM;
}

EXPORT void *aligned_alloc(size_t align, size_t n)
{
    return memory_fails(CALLER) ? NULL : get_aligned(align, n);
}

/* ASan's would allocate without malloc. */
EXPORT char *strdup(const char *s)
{
    const size_t n = strlen(s) + 1;
    char *p = memory_fails(CALLER) ? NULL : get(n);
    return p ? memcpy(p, s, n) : NULL;
}

EXPORT char *strndup(const char *s, size_t most)
{
    const size_t n = strnlen(s, most);
    char *p = memory_fails(CALLER) ? NULL : get(n + 1);
    if (p)
        *(char *)mempcpy(p, s, n) = '\0';
    return p;
}

/* ---- descriptors ---- */

/* Looked up once, at the start: dlsym may allocate. */
static struct {
    __typeof__(read) *read;
    __typeof__(write) *write;
    __typeof__(recv) *recv;
    __typeof__(send) *send;
    __typeof__(poll) *poll;
    __typeof__(accept4) *accept4;
    __typeof__(connect) *connect;
    __typeof__(socket) *socket;
    __typeof__(epoll_wait) *epoll_wait;
    __typeof__(epoll_ctl) *epoll_ctl;
} next;

static int note_library(struct dl_phdr_info *info, size_t size, void *arg)
{
    static const struct {
        const char *part;
        enum library library;
    } names[] = {{"/libpq.so", LIBPQ},
                 {"/libhiredis", HIREDIS},
                 {"/libfcgi.so", LIBFCGI},
                 {"/libfail.so", OTHER},
                 {"", PARLEY}};
    (void)size;
    (void)arg;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        /* The program itself has no name here. */
        if (names[i].part[0] ? !strstr(info->dlpi_name, names[i].part) : info->dlpi_name[0] != 0)
            continue;
        for (int p = 0; p < info->dlpi_phnum && n_ranges < 16; p++) {
            const ElfW(Phdr) *h = &info->dlpi_phdr[p];
            if (h->p_type != PT_LOAD || !(h->p_flags & PF_X))
                continue;
            ranges[n_ranges].from = info->dlpi_addr + h->p_vaddr;
            ranges[n_ranges].to = ranges[n_ranges].from + h->p_memsz;
            ranges[n_ranges++].library = names[i].library;
        }
        return 0;
    }
    return 0;
}

/* POSIX has the conversion that ISO C lacks: a function's address read as an object's. */
static void find_next(void)
{
    *(void **)&next.read = dlsym(RTLD_NEXT, "read");
    *(void **)&next.write = dlsym(RTLD_NEXT, "write");
    *(void **)&next.recv = dlsym(RTLD_NEXT, "recv");
    *(void **)&next.send = dlsym(RTLD_NEXT, "send");
    *(void **)&next.poll = dlsym(RTLD_NEXT, "poll");
    *(void **)&next.accept4 = dlsym(RTLD_NEXT, "accept4");
    *(void **)&next.connect = dlsym(RTLD_NEXT, "connect");
    *(void **)&next.socket = dlsym(RTLD_NEXT, "socket");
    *(void **)&next.epoll_wait = dlsym(RTLD_NEXT, "epoll_wait");
    *(void **)&next.epoll_ctl = dlsym(RTLD_NEXT, "epoll_ctl");
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("FAULT_PAGE");
    find_next();
    dl_iterate_phdr(note_library, NULL);
    const int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *p = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (p != MAP_FAILED)
        page = p;
}

/* True: the call is to return -1. False: it is made, with *n bytes at most. */
static bool call_fails(enum kind kind, uintptr_t caller, int error, size_t *n)
{
    if (!fails(kind, caller))
        return false;
    if (page->how == SHORT) {
        *n = *n > 1 ? *n / 2 : *n;
        return false;
    }
    errno = page->how == INTERRUPTED ? EINTR : page->how == NO_MEMORY ? ENOMEM : error;
    return true;
}

static bool bytes_fail(enum kind kind, uintptr_t caller, int fd, size_t *n)
{
    if (!call_fails(kind, caller, kind == WRITE || kind == SEND ? EPIPE : ECONNRESET, n))
        return false;
    const int error = errno;
    if (page->how == FAILS)
        (void)shutdown(fd, SHUT_RDWR);
    errno = error;
    return true;
}

EXPORT ssize_t read(int fd, void *p, size_t n)
{
    return bytes_fail(READ, CALLER, fd, &n) ? -1 : next.read(fd, p, n);
}

EXPORT ssize_t write(int fd, const void *p, size_t n)
{
    return bytes_fail(WRITE, CALLER, fd, &n) ? -1 : next.write(fd, p, n);
}

EXPORT ssize_t send(int fd, const void *p, size_t n, int flags)
{
    return bytes_fail(SEND, CALLER, fd, &n) ? -1 : next.send(fd, p, n, flags);
}

EXPORT ssize_t recv(int fd, void *p, size_t n, int flags)
{
    if (page && (flags & MSG_PEEK) && atomic_exchange(&page->learn, 0))
        is_handler = true;
    /* A short peek would look like a short record. */
    if (flags & MSG_PEEK && page && page->how == SHORT)
        return next.recv(fd, p, n, flags);
    return bytes_fail(RECV, CALLER, fd, &n) ? -1 : next.recv(fd, p, n, flags);
}

EXPORT int poll(struct pollfd *fds, nfds_t n, int ms)
{
    return call_fails(POLL, CALLER, ENOMEM, &(size_t){0}) ? -1 : next.poll(fds, n, ms);
}

/* Called in place of poll where _FORTIFY_SOURCE is on. */
EXPORT int __poll_chk(struct pollfd *fds, nfds_t n, int ms, size_t size);
EXPORT int __poll_chk(struct pollfd *fds, nfds_t n, int ms, size_t size)
{
    (void)size;
    return call_fails(POLL, CALLER, ENOMEM, &(size_t){0}) ? -1 : next.poll(fds, n, ms);
}

EXPORT int accept4(int fd, struct sockaddr *a, socklen_t *n, int flags)
{
    return call_fails(ACCEPT, CALLER, EMFILE, &(size_t){0}) ? -1 : next.accept4(fd, a, n, flags);
}

EXPORT int socket(int domain, int type, int protocol)
{
    return call_fails(SOCKET, CALLER, EMFILE, &(size_t){0}) ? -1
                                                            : next.socket(domain, type, protocol);
}

EXPORT int connect(int fd, const struct sockaddr *a, socklen_t n)
{
    return call_fails(SOCKET, CALLER, ECONNREFUSED, &(size_t){0}) ? -1 : next.connect(fd, a, n);
}

EXPORT int epoll_ctl(int epoll, int op, int fd, struct epoll_event *e)
{
    return call_fails(EPOLL, CALLER, ENOMEM, &(size_t){0}) ? -1 : next.epoll_ctl(epoll, op, fd, e);
}

/* Never fails: here the thread is idle. */
EXPORT int epoll_wait(int epoll, struct epoll_event *e, int n, int ms)
{
    if (is_handler && page)
        atomic_store(&page->waits, 1);
    const int got = next.epoll_wait(epoll, e, n, ms);
    if (is_handler && page)
        atomic_store(&page->waits, 0);
    return got;
}
