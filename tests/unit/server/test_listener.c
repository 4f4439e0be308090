/* SPDX-License-Identifier: MIT */
#include "../../../src/server/server_internal.h"
#include "../suite.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct paths {
    char dir[40], path[64];
    char why[320];
};

static void make_directory(struct paths *p)
{
    snprintf(p->dir, sizeof p->dir, "/tmp/parley-listener-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL(mkdtemp(p->dir));
    snprintf(p->path, sizeof p->path, "%s/s", p->dir);
}

/* Fails if the listener has left anything in the directory. */
static void remove_directory(struct paths *p)
{
    CU_ASSERT_EQUAL(rmdir(p->dir), 0);
}

static bool answers(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool good = connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
    close(fd);
    return good;
}

/* Fails if the umask is left alone while binding: tried. */
TEST(socket_as_nginx_needs_it)
{
    struct paths p;
    struct listener l;
    struct stat st;
    make_directory(&p);
    mode_t before = umask(0);
    CU_ASSERT_EQUAL(listener_open(&l, p.path, p.why, sizeof p.why), ERR_NONE);
    CU_ASSERT_EQUAL(umask(before), 0); /* it is as it was */
    CU_ASSERT_EQUAL(lstat(p.path, &st), 0);
    CU_ASSERT_TRUE(S_ISSOCK(st.st_mode));
    CU_ASSERT_EQUAL(st.st_mode & 07777, 0660);
    CU_ASSERT_TRUE(fcntl(l.fd, F_GETFL) & O_NONBLOCK);
    CU_ASSERT_TRUE(fcntl(l.fd, F_GETFD) & FD_CLOEXEC);
    CU_ASSERT_TRUE(answers(p.path));
    listener_close(&l);
    listener_close(&l);
    remove_directory(&p);
}

/* Fails if check_path does not connect: tried. */
TEST(running_server_is_not_replaced)
{
    struct paths p;
    struct listener first, second;
    make_directory(&p);
    CU_ASSERT_EQUAL(listener_open(&first, p.path, p.why, sizeof p.why), ERR_NONE);
    CU_ASSERT_EQUAL(listener_open(&second, p.path, p.why, sizeof p.why), ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(p.why, "another process answers there"));
    CU_ASSERT_PTR_NOT_NULL(strstr(p.why, p.path));
    CU_ASSERT_EQUAL(second.fd, -1);
    listener_close(&second);
    CU_ASSERT_TRUE(answers(p.path));
    listener_close(&first);
    remove_directory(&p);
}

/* Fails if listener_close does not compare the inode: tried. */
TEST(stale_socket_is_replaced)
{
    struct paths p;
    struct listener drains, next;
    make_directory(&p);
    CU_ASSERT_EQUAL(listener_open(&drains, p.path, p.why, sizeof p.why), ERR_NONE);
    CU_ASSERT_EQUAL(shutdown(drains.fd, SHUT_RD), 0); /* the name stays */
    CU_ASSERT_FALSE(answers(p.path));
    CU_ASSERT_EQUAL(listener_open(&next, p.path, p.why, sizeof p.why), ERR_NONE);
    CU_ASSERT_TRUE(answers(p.path));
    listener_close(&drains); /* the name belongs to the next one by now */
    CU_ASSERT_TRUE(answers(p.path));
    listener_close(&next);
    remove_directory(&p);
}

TEST(wrong_paths)
{
    struct paths p;
    struct listener l;
    char path[128];
    make_directory(&p);
    int fd = open(p.path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    CU_ASSERT_EQUAL(listener_open(&l, p.path, p.why, sizeof p.why), ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(p.why, "is no socket"));
    CU_ASSERT_EQUAL(l.fd, -1);
    CU_ASSERT_EQUAL(unlink(p.path), 0);
    snprintf(path, sizeof path, "%s/none/s", p.dir);
    CU_ASSERT_EQUAL(listener_open(&l, path, p.why, sizeof p.why), ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(p.why, strerror(2)));
    memset(path, 'x', 108);
    path[108] = '\0';
    CU_ASSERT_EQUAL(listener_open(&l, path, p.why, sizeof p.why), ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(p.why, "too long"));
    remove_directory(&p);
}

/* Fails if the address of a running server is shared with another one (SO_REUSEPORT). */
TEST(tcp)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct paths p;
    struct listener l, second;
    socklen_t n = sizeof a;
    const int free_port = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL_FATAL(bind(free_port, (struct sockaddr *)&a, n), 0);
    CU_ASSERT_EQUAL(getsockname(free_port, (struct sockaddr *)&a, &n), 0);
    close(free_port);
    snprintf(p.path, sizeof p.path, "tcp://127.0.0.1:%d", ntohs(a.sin_port));
    CU_ASSERT_EQUAL_FATAL(listener_open(&l, p.path, p.why, sizeof p.why), ERR_NONE);
    CU_ASSERT_TRUE(fcntl(l.fd, F_GETFL) & O_NONBLOCK);
    CU_ASSERT_TRUE(fcntl(l.fd, F_GETFD) & FD_CLOEXEC);
    CU_ASSERT_EQUAL(listener_open(&second, p.path, p.why, sizeof p.why), ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(p.why, "another process answers there"));
    CU_ASSERT_PTR_NOT_NULL(strstr(p.why, p.path));
    CU_ASSERT_EQUAL(second.fd, -1);
    const int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL(connect(client, (struct sockaddr *)&a, sizeof a), 0);
    listener_close(&l);
    close(client);
    /* At once, although the connection of before is not forgotten yet. */
    CU_ASSERT_EQUAL(listener_open(&l, p.path, p.why, sizeof p.why), ERR_NONE);
    listener_close(&l);
    CU_ASSERT_EQUAL(listener_open(&l, "tcp://192.0.2.1:8184", p.why, sizeof p.why), ERR_INVALID);
    CU_ASSERT_STRING_EQUAL(p.why, "socket tcp://192.0.2.1:8184: Cannot assign requested address");
}
