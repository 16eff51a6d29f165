/* own_loop.c - the server as one of several things in a program's own poll() loop.

   Beside it are a timer, which every 200 ms says what happened if anything did, and a signalfd, which takes SIGINT and
   SIGTERM, so that no signal handler is needed.

       cc -o own_loop examples/own_loop.c
       cc -o echo_client examples/echo_client.c
       ./own_loop ./uds_socket & sleep 1
       ./echo_client
       kill $! */

#define _GNU_SOURCE 1
#define UDS_ECHO_IMPLEMENTATION
#include "../uds_echo.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { SERVER, TIMER, SIGNALS, SOURCES, TICK_MS = 200, MOMENT_MS = 20 };

static int open_signals(void)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int open_timer(void)
{
    struct itimerspec every;
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    memset(&every, 0, sizeof every);
    every.it_value.tv_nsec = every.it_interval.tv_nsec = TICK_MS * 1000000L;
    if (fd >= 0) (void)timerfd_settime(fd, 0, &every, NULL);
    return fd;
}

static void on_timer(int fd, const uds_echo_server *server)
{
    static unsigned long long shown;
    uint64_t ticks;
    uds_echo_stats stats;
    if (read(fd, &ticks, sizeof ticks) != (ssize_t)sizeof ticks) return;
    uds_echo_server_stats(server, &stats);
    if (stats.messages == shown) return;
    shown = stats.messages;
    fprintf(stderr, "tick: %llu connections so far, %llu messages\n", stats.accepted, stats.messages);
}

static void on_signals(int fd, uds_echo_server *server)
{
    static int signals;
    struct signalfd_siginfo info;
    while (read(fd, &info, sizeof info) == (ssize_t)sizeof info)
        uds_echo_server_stop(server, signals++ ? UDS_ECHO_STOP_NOW : UDS_ECHO_STOP_DRAIN);
}

/* Until the server has stopped and drained. */
static uds_echo_error loop(uds_echo_server *server, struct pollfd *sources)
{
    /* Compiled with UDS_ECHO_USE_POLL it has no descriptor to watch, and waits in step, a moment at a time. */
    int has_fd = sources[SERVER].fd >= 0;
    uds_echo_error error = UDS_ECHO_OK;
    while (error == UDS_ECHO_OK) {
        /* The server may be due though its descriptor is quiet: a deadline of its own is near. */
        int n = poll(sources, SOURCES, has_fd ? uds_echo_server_timeout(server) : 0);
        if (n < 0 && errno != EINTR) return UDS_ECHO_ERR_SYSTEM;
        if (n > 0 && sources[SIGNALS].revents) on_signals(sources[SIGNALS].fd, server);
        if (n > 0 && sources[TIMER].revents) on_timer(sources[TIMER].fd, server);
        error = uds_echo_server_step(server, has_fd ? 0 : MOMENT_MS); /* all that is due; cheap when nothing is */
    }
    return error;
}

int main(int argc, char **argv)
{
    uds_echo_server_desc desc = {0};
    uds_echo_server *server;
    uds_echo_failure why;
    uds_echo_error error;
    struct pollfd sources[SOURCES];
    char text[1024];
    int i;

    if (argc != 2 || argv[1][0] == '-') return fputs("usage: own_loop PATH\n", stderr), 2;
    memset(sources, 0, sizeof sources);
    sources[SIGNALS].fd = open_signals(); /* before the server: from then on a signal waits for the loop */
    sources[TIMER].fd = open_timer();
    if (sources[SIGNALS].fd < 0 || sources[TIMER].fd < 0) return perror("own_loop"), 1;

    desc.path = argv[1];
    if (uds_echo_server_open(&server, &desc, &why)) {
        (void)uds_echo_explain(&why, desc.path, text, sizeof text);
        return fprintf(stderr, "own_loop: %s\n", text), 1;
    }
    sources[SERVER].fd = uds_echo_server_fd(server);
    for (i = 0; i < SOURCES; i++) sources[i].events = POLLIN;
    error = loop(server, sources);

    (void)uds_echo_server_close(server);
    (void)close(sources[TIMER].fd);
    (void)close(sources[SIGNALS].fd);
    if (error == UDS_ECHO_ERR_STOPPED) return 0;
    return fprintf(stderr, "own_loop: %s\n", uds_echo_strerror(error)), 1;
}
