/* activated.c - a server over a listening socket that its parent made, so that it can be restarted without losing a client.
   It answers each line with its process id and the line.

   The parent is systemd, or any program that does as docs/restart.md says. From a shell:

       cc -o activated examples/activated.c
       systemd-socket-activate --listen="$PWD"/lines ./activated & sleep 1
       printf 'hello\n' | socat -t 5 - UNIX-CONNECT:./lines
       kill $! */

#define _GNU_SOURCE 1
#define UDS_ECHO_IMPLEMENTATION
#include "../uds_echo.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_FD = 3, LINE_MAX_BYTES = 1024 }; /* sd_listen_fds(3): the sockets begin at descriptor 3 */

static uds_echo_server *volatile running;

static size_t frame(const unsigned char *bytes, size_t size, void *user)
{
    const unsigned char *end = (const unsigned char *)memchr(bytes, '\n', size);
    (void)user;
    return end ? (size_t)(end - bytes) + 1 : 0;
}

static uds_echo_verdict on_message(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    char pid[32];
    size_t size = (size_t)snprintf(pid, sizeof pid, "%ld ", (long)getpid());
    (void)conn, (void)user;
    if (m->size + size > m->capacity) return UDS_ECHO_REPLY_AND_CLOSE;
    memmove(m->data + size, m->data, m->size);
    memcpy(m->data, pid, size);
    m->size += size;
    return UDS_ECHO_REPLY;
}

static void on_signal(int number)
{
    (void)number;
    uds_echo_server_stop(running, UDS_ECHO_STOP_DRAIN);
}

/* The one socket that this process was given, see sd_listen_fds(3); -1: it was given none, or more. The variables are for
   this process alone: a child of it does not see them. */
static int given_listener(void)
{
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    int is_ours = pid && count && strtol(pid, NULL, 10) == (long)getpid() && strtol(count, NULL, 10) == 1;
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDS");
    return is_ours ? FIRST_FD : -1;
}

int main(void)
{
    uds_echo_server_desc desc = {0};
    uds_echo_server *server;
    uds_echo_failure why;
    uds_echo_error error;
    struct sigaction action;
    char text[1024];
    int listener = given_listener();

    if (listener < 0) return fputs("usage: activated, started with one socket by systemd or a parent\n", stderr), 2;
    desc.frame = frame;
    desc.on_message = on_message;
    desc.message_max = LINE_MAX_BYTES;

    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    (void)sigemptyset(&action.sa_mask);
    (void)sigaddset(&action.sa_mask, SIGINT);
    (void)sigaddset(&action.sa_mask, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &action.sa_mask, NULL); /* a signal waits until there is a server to stop */
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);

    if (uds_echo_server_adopt(&server, listener, &desc, &why)) {
        (void)uds_echo_explain(&why, NULL, text, sizeof text);
        return fprintf(stderr, "activated: %s\n", text), 1;
    }
    running = server;
    (void)sigprocmask(SIG_UNBLOCK, &action.sa_mask, NULL);
    error = uds_echo_server_run(server);
    (void)sigprocmask(SIG_BLOCK, &action.sa_mask, NULL);
    (void)uds_echo_server_close(server);
    return error ? 1 : 0;
}
