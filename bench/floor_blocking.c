/* floor_blocking.c - the floor for bulk: an echo server with one blocking thread a connection, nothing else.

   What a peer does not read stops the thread that serves it, and so the reading from that peer. SIGTERM ends the
   server, and the socket file stays.

       cc -O2 -pthread -o floor_blocking bench/floor_blocking.c && ./floor_blocking ./uds_socket */

#define _GNU_SOURCE 1
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { BUFFER_BYTES = 65536, STACK_BYTES = 4 * BUFFER_BYTES };

static int send_all(int fd, const char *bytes, size_t size)
{
    while (size) {
        ssize_t n = send(fd, bytes, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        bytes += n;
        size -= (size_t)n;
    }
    return 0;
}

static void *serve(void *argument)
{
    char buffer[BUFFER_BYTES];
    int fd = (int)(intptr_t)argument;
    for (;;) {
        ssize_t n = recv(fd, buffer, sizeof buffer, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0 || send_all(fd, buffer, (size_t)n)) break;
    }
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
