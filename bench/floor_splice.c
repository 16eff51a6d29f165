/* floor_splice.c - what splice(2) would buy in bulk: one blocking thread a connection, which moves what it is sent
   through a pipe, so that no byte is copied into this process. SIGTERM ends it, and the socket file stays.

       cc -O2 -pthread -o floor_splice bench/floor_splice.c && ./floor_splice ./uds_socket */

#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PIPE_BYTES = 262144, STACK_BYTES = 65536 };

/* How much moved; 0 at the end of the stream, -1 when the peer is gone. */
static ssize_t move(int from, int to, size_t size)
{
    ssize_t n;
    do n = splice(from, NULL, to, NULL, size, SPLICE_F_MOVE);
    while (n < 0 && errno == EINTR);
    return n;
}

static void *serve(void *argument)
{
    int fd = (int)(intptr_t)argument, ends[2];
    ssize_t n, sent;
    if (pipe2(ends, O_CLOEXEC)) {
        (void)close(fd);
        return NULL;
    }
    (void)fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES);
    while ((n = move(fd, ends[1], PIPE_BYTES)) > 0)
        for (; n > 0; n -= sent)
            if ((sent = move(ends[0], fd, (size_t)n)) <= 0) goto done;
done:
    (void)close(ends[0]);
    (void)close(ends[1]);
    (void)close(fd);
    return NULL;
}

int main(int argc, char **argv)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pthread_attr_t detached;
    if (argc != 2 || strlen(argv[1]) >= sizeof address.sun_path) return 2;
    memcpy(address.sun_path, argv[1], strlen(argv[1]) + 1);
    (void)signal(SIGPIPE, SIG_IGN); /* splice() has no MSG_NOSIGNAL */
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, SOMAXCONN))
        return 1;
    if (pthread_attr_init(&detached) || pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED) ||
        pthread_attr_setstacksize(&detached, STACK_BYTES))
        return 1;
    for (;;) {
        pthread_t thread;
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED)) continue;
        if (fd < 0) return 1;
        if (pthread_create(&thread, &detached, serve, (void *)(intptr_t)fd)) (void)close(fd);
    }
}
