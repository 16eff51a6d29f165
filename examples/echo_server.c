/* echo_server.c - sends back what it receives, to many clients at once, and says so on stderr.

   It drains and stops on SIGINT or SIGTERM; a second one stops it at once.

       cc -o echo_server examples/echo_server.c
       cc -o echo_client examples/echo_client.c
       ./echo_server & sleep 1
       ./echo_client
       kill $! */

#define _GNU_SOURCE 1
#define UDS_ECHO_IMPLEMENTATION
#include "../uds_echo.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_BYTES = 1024 }; /* at most so much of what was received goes on one line */

static const char usage[] = "usage: echo_server [-q] [-s MICROSECONDS] [PATH]\n"
                            "    -q    silent but for errors\n"
                            "    -s    busy-poll so long before each wait: less latency for a core\n"
                            "    PATH  ./uds_socket unless given\n";

static uds_echo_server *volatile running; /* written only while the signals are blocked */
static volatile sig_atomic_t signals;

static void on_signal(int number)
{
    (void)number;
    uds_echo_server_stop(running, signals ? UDS_ECHO_STOP_NOW : UDS_ECHO_STOP_DRAIN);
    signals = 1;
}

/* Blocked, a signal waits. So one that comes before there is a server is not lost, and one that comes after its end
   does not meet freed memory. */
static void block_signals(int how)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    (void)sigprocmask(how, &set, NULL);
}

static void handle_signals(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    (void)sigemptyset(&action.sa_mask);
    (void)sigaddset(&action.sa_mask, SIGINT); /* one handler at a time: the other signal is the second one */
    (void)sigaddset(&action.sa_mask, SIGTERM);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

static void on_ready(uds_echo_server *server, void *user)
{
    const char *path = (const char *)user;
    char text[4 * 4096 + 1];
    running = server;
    if (path) {
        (void)uds_echo_escape(path, strlen(path), text, sizeof text);
        fprintf(stderr, "Listening on path: %s\n", text);
    }
    block_signals(SIG_UNBLOCK);
}

static uds_echo_verdict on_message(uds_echo_conn *conn, uds_echo_message *message, void *user)
{
    char text[4 * LINE_BYTES + 1]; /* an escaped byte takes up to four characters */
    (void)conn;
    (void)user;
    (void)uds_echo_escape(message->data, message->size, text, sizeof text);
    fprintf(stderr, "received [%s]\n", text);
    return UDS_ECHO_REPLY;
}

static void on_log(uds_echo_log_level level, uds_echo_error cause, const char *text, void *user)
{
    (void)cause;
    (void)user;
    if (level == UDS_ECHO_LOG_WARNING) fprintf(stderr, "echo_server: %s\n", text);
}

int main(int argc, char **argv)
{
    uds_echo_server_desc desc = {0};
    uds_echo_server *server;
    uds_echo_failure why = {UDS_ECHO_OK, 0, "", -1, -1};
    char text[1024];
    char *end;
    long busy_poll_us = 0;
    int quiet = 0, i = 1;

    if (i < argc && (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help"))) return fputs(usage, stdout) < 0;
    if (i < argc && !strcmp(argv[i], "-q")) quiet = i++;
    if (i + 1 < argc && !strcmp(argv[i], "-s")) {
        busy_poll_us = strtol(argv[i + 1], &end, 10);
        if (*end || end == argv[i + 1] || busy_poll_us < 0 || busy_poll_us > 1000000) return fputs(usage, stderr), 2;
        i += 2;
    }
    if (i < argc && !strcmp(argv[i], "--")) i++;
    else if (i < argc && argv[i][0] == '-') return fputs(usage, stderr), 2;
    if (argc - i > 1) return fputs(usage, stderr), 2;

    desc.path = i < argc ? argv[i] : "./uds_socket";
    desc.connections_max = -1; /* as many as ulimit -n allows */
    desc.busy_poll_us = (int)busy_poll_us;
    desc.on_ready = on_ready;
    desc.on_log = on_log;
    if (!quiet) {
        fputs("starting unix domain socket server\n", stderr);
        desc.on_message = on_message;
        desc.message_max = LINE_BYTES;
        desc.user = (void *)desc.path;
    }

    block_signals(SIG_BLOCK);
    handle_signals();
    if (!uds_echo_server_open(&server, &desc, &why)) {
        why.error = uds_echo_server_run(server);
        why.call = "uds_echo_server_run";
        why.os_error = why.error == UDS_ECHO_ERR_SYSTEM ? errno : 0;
        block_signals(SIG_BLOCK);
        (void)uds_echo_server_close(server);
    }
    if (!why.error) return 0;
    (void)uds_echo_explain(&why, desc.path, text, sizeof text);
    fprintf(stderr, "echo_server: %s\n", text);
    return 1;
}
