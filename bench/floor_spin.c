/* floor_spin.c - the floor for latency: an echo server that never sleeps. It reads every connection again and again, so
   it is for a few of them, and takes a whole core. SIGTERM ends it, and the socket file stays.

       cc -O2 -o floor_spin bench/floor_spin.c && ./floor_spin ./uds_socket */

#define _GNU_SOURCE 1
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { BUFFER_BYTES = 65536, FDS_MAX = 1024, ROUNDS = 1024 /* of reading, for each look at the listener */ };

static char buffer[BUFFER_BYTES];

/* 0: the connection goes on. A peer that does not read is waited for: there is nothing to win for it here. */
static int echo(int fd)
{
    ssize_t sent, at = 0, n = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (n < 0) return errno != EAGAIN && errno != EINTR;
    if (n == 0) return 1;
    for (; at < n; at += sent) {
        sent = send(fd, buffer + at, (size_t)(n - at), MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) return 1;
        if (sent < 0) sent = 0;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static int fds[FDS_MAX];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int count = 0, listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (argc != 2 || strlen(argv[1]) >= sizeof address.sun_path) return 2;
    memcpy(address.sun_path, argv[1], strlen(argv[1]) + 1);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, SOMAXCONN))
        return 1;
    for (;;) {
        int round, i, fd = count < FDS_MAX ? accept4(listener, NULL, NULL, SOCK_CLOEXEC) : -1;
        if (fd >= 0) fds[count++] = fd;
        for (round = 0; round < ROUNDS; round++) {
            for (i = 0; i < count; i++) {
                if (!echo(fds[i])) continue;
                (void)close(fds[i]);
                fds[i--] = fds[--count];
            }
        }
    }
}
