/* threads.c - several servers, each on a thread of its own, share one listener: the way to use more than one core.

   SIGINT or SIGTERM drains and stops them all. Then each says how many connections it had.

       cc -pthread -o threads examples/threads.c
       cc -o echo_client examples/echo_client.c
       ./threads ./uds_socket 4 & sleep 1
       ./echo_client
       kill $! */

#define _GNU_SOURCE 1
#define UDS_ECHO_IMPLEMENTATION
#include "../uds_echo.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS_MAX = 64 };

typedef struct worker {
    pthread_t thread;
    uds_echo_server *server;
} worker;

/* A server belongs to one thread at a time: main opens and closes it, this thread runs it in between. */
static void *work(void *argument)
{
    worker *self = (worker *)argument;
    uds_echo_error error = uds_echo_server_run(self->server);
    if (error) {
        fprintf(stderr, "threads: %s\n", uds_echo_strerror(error));
        (void)kill(getpid(), SIGTERM); /* main waits for this */
    }
    return NULL;
}

/* The first opens the path, every other shares its listener; this comes before the first of them runs on its thread.
   Returns how many there are. */
static int open_servers(worker *workers, int wanted, const char *path)
{
    uds_echo_server_desc desc = {0};
    uds_echo_failure why;
    char text[1024];
    int n;

    desc.path = path;
    for (n = 0; n < wanted; n++) {
        if (uds_echo_server_open(&workers[n].server, &desc, &why)) {
            (void)uds_echo_explain(&why, path, text, sizeof text);
            fprintf(stderr, "threads: %s\n", text);
            break;
        }
        desc.path = NULL;
        desc.share_with = workers[0].server;
    }
    return n;
}

static int start_threads(worker *workers, int wanted)
{
    int n, error = 0;
    for (n = 0; n < wanted; n++) {
        error = pthread_create(&workers[n].thread, NULL, work, &workers[n]);
        if (error) break;
    }
    if (error) fprintf(stderr, "threads: pthread_create: %s\n", strerror(error));
    return n;
}

static void stop_threads(worker *workers, int count)
{
    int i;
    /* Stopping is what another thread may do; all are told before the first is waited for. */
    for (i = 0; i < count; i++) uds_echo_server_stop(workers[i].server, UDS_ECHO_STOP_DRAIN);
    for (i = 0; i < count; i++) (void)pthread_join(workers[i].thread, NULL);
}

static void close_servers(worker *workers, int count)
{
    uds_echo_stats stats;
    int i;
    for (i = 0; i < count; i++) {
        uds_echo_server_stats(workers[i].server, &stats);
        fprintf(stderr, "thread %d: %llu connections, %llu messages\n", i, stats.accepted, stats.messages);
        (void)uds_echo_server_close(workers[i].server);
    }
}

int main(int argc, char **argv)
{
    static worker workers[THREADS_MAX];
    sigset_t set;
    int count = argc == 3 ? atoi(argv[2]) : 4, opened, started = 0, number;

    if (argc < 2 || argc > 3 || argv[1][0] == '-' || count < 1 || count > THREADS_MAX)
        return fprintf(stderr, "usage: threads PATH [COUNT]    (COUNT: 1 to %d)\n", THREADS_MAX), 2;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL); /* before the threads, which inherit it: sigwait() gets the signal */

    opened = open_servers(workers, count, argv[1]);
    if (opened == count) started = start_threads(workers, count);
    if (started == count) {
        fprintf(stderr, "%d threads serve %s\n", count, argv[1]);
        (void)sigwait(&set, &number);
    }
    stop_threads(workers, started);
    close_servers(workers, opened);
    return started == count ? 0 : 1;
}
