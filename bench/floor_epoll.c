/* floor_epoll.c - the floor: the least an epoll echo server on one thread can do, to measure others against.

   It is correct: a short send keeps its remainder, and nothing more is read from that peer meanwhile. It has no limits,
   no time-outs and no orderly end: SIGTERM ends it, and the socket file stays.

       cc -O2 -o floor_epoll bench/floor_epoll.c && ./floor_epoll ./uds_socket */

#define _GNU_SOURCE 1
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { BUFFER_BYTES = 65536, EVENTS = 256, FDS_MAX = 65536 };

static char buffer[BUFFER_BYTES];
static struct rest {
    char *bytes; /* NULL: nothing waits to be sent */
    size_t size, sent;
} rests[FDS_MAX];
static int epoll = -1;

static void watch(int op, int fd, unsigned events)
{
    struct epoll_event event = {.events = events, .data = {.fd = fd}};
    if (epoll_ctl(epoll, op, fd, &event)) exit(1);
}

static void forget(int fd)
{
    free(rests[fd].bytes);
    rests[fd].bytes = NULL;
}

/* Says how much went out, 0 for none just now; a peer that is gone is closed and gives -1. */
static ssize_t push(int fd, const char *bytes, size_t size)
{
    ssize_t n = send(fd, bytes, size, MSG_NOSIGNAL);
    if (n >= 0) return n;
    if (errno == EAGAIN || errno == EINTR) return 0;
    forget(fd);
    (void)close(fd);
    return -1;
}

static void echo(int fd)
{
    struct rest *rest = &rests[fd];
    ssize_t sent, n = recv(fd, buffer, sizeof buffer, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        (void)close(fd);
        return;
    }
    sent = push(fd, buffer, (size_t)n);
    if (sent < 0 || sent == n) return;
    rest->size = (size_t)(n - sent);
    rest->sent = 0;
    rest->bytes = malloc(rest->size);
    if (!rest->bytes) exit(1);
    memcpy(rest->bytes, buffer + sent, rest->size);
    watch(EPOLL_CTL_MOD, fd, EPOLLOUT);
}

static void resume(int fd)
{
    struct rest *rest = &rests[fd];
    ssize_t sent = push(fd, rest->bytes + rest->sent, rest->size - rest->sent);
    if (sent < 0) return;
    rest->sent += (size_t)sent;
    if (rest->sent < rest->size) return;
    forget(fd);
    watch(EPOLL_CTL_MOD, fd, EPOLLIN);
}

static void admit(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= FDS_MAX) exit(1);
    if (fd >= 0) watch(EPOLL_CTL_ADD, fd, EPOLLIN);
}

int main(int argc, char **argv)
{
    static struct epoll_event events[EVENTS];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (argc != 2 || strlen(argv[1]) >= sizeof address.sun_path) return 2;
    memcpy(address.sun_path, argv[1], strlen(argv[1]) + 1);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, SOMAXCONN))
        return 1;
    watch(EPOLL_CTL_ADD, listener, EPOLLIN);
    for (;;) {
        int i, n = epoll_wait(epoll, events, EVENTS, -1);
        if (n < 0 && errno != EINTR) return 1;
        for (i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) admit(listener);
            else if (rests[fd].bytes) resume(fd);
            else echo(fd);
        }
    }
}
