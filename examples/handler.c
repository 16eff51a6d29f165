/* handler.c - a protocol of lines, with answers that come at once and answers that come later.

       upper TEXT     answers TEXT in capitals
       wait MS        answers "waited MS" after so many milliseconds; meanwhile everybody else is served
       bye            answers "bye" and ends the connection

   Any client of a Unix-domain socket will do:

       cc -o handler examples/handler.c
       ./handler ./lines & sleep 1
       printf 'upper hello\nwait 500\nbye\n' | socat -t 5 - UNIX-CONNECT:./lines
       kill $! */

#define _GNU_SOURCE 1
#define UDS_ECHO_IMPLEMENTATION
#include "../uds_echo.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { WAITS_MAX = 64, WAIT_MS_MAX = 60000, LINE_MAX_BYTES = 1024 };

/* An answer that is owed, by the connection's id: when it is due, the connection may be gone and its slot another's. */
typedef struct debt {
    uds_echo_id to; /* 0: free */
    long long due_ms;
    int wait_ms;
} debt;

static debt debts[WAITS_MAX];
static uds_echo_server *volatile running;

static long long now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* A message is a line. Until its end has come this says 0, and the handler is not called. */
static size_t frame(const unsigned char *bytes, size_t size, void *user)
{
    const unsigned char *end = (const unsigned char *)memchr(bytes, '\n', size);
    (void)user;
    return end ? (size_t)(end - bytes) + 1 : 0;
}

static uds_echo_verdict answer(uds_echo_message *m, const char *text, uds_echo_verdict verdict)
{
    m->size = strlen(text);
    memcpy(m->data, text, m->size);
    return verdict;
}

static uds_echo_verdict wait_and_answer(uds_echo_conn *conn, uds_echo_message *m, int wait_ms)
{
    int i;
    for (i = 0; i < WAITS_MAX && debts[i].to; i++) continue;
    if (i == WAITS_MAX) return answer(m, "error: too many are waiting\n", UDS_ECHO_REPLY);
    debts[i].to = uds_echo_conn_id(conn);
    debts[i].due_ms = now_ms() + wait_ms;
    debts[i].wait_ms = wait_ms;
    return UDS_ECHO_DEFER;
}

static uds_echo_verdict on_message(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    size_t i;
    int n = 0;
    (void)user;
    if (m->size > 6 && !memcmp(m->data, "upper ", 6)) {
        m->size -= 6;
        for (i = 0; i < m->size; i++) m->data[i] = (unsigned char)toupper(m->data[i + 6]);
        return UDS_ECHO_REPLY;
    }
    if (m->size > 6 && !memcmp(m->data, "wait ", 5)) {
        for (i = 5; i + 1 < m->size && isdigit(m->data[i]) && n <= WAIT_MS_MAX; i++) n = n * 10 + (m->data[i] - '0');
        if (i + 1 == m->size && n <= WAIT_MS_MAX) return wait_and_answer(conn, m, n);
        return answer(m, "error: wait 0 to 60000\n", UDS_ECHO_REPLY);
    }
    if (m->size == 4 && !memcmp(m->data, "bye", 3))
        return UDS_ECHO_REPLY_AND_CLOSE; /* the line itself is the last
    answer */
    return answer(m, "error: upper TEXT, wait MS or bye\n", UDS_ECHO_REPLY);
}

/* Pays the debts that are due; returns the milliseconds until the next one, -1 if there is none. */
static int pay_debts(uds_echo_server *server)
{
    long long now = now_ms(), next = -1;
    char text[32];
    int i;
    for (i = 0; i < WAITS_MAX; i++) {
        if (!debts[i].to) continue;
        if (debts[i].due_ms <= now) {
            int size = snprintf(text, sizeof text, "waited %d\n", debts[i].wait_ms);
            /* NULL where the connection is gone, which conn_send takes for an answer nobody wants */
            (void)uds_echo_conn_send(uds_echo_server_find(server, debts[i].to), text, (size_t)size);
            debts[i].to = 0;
        } else if (next < 0 || debts[i].due_ms - now < next) {
            next = debts[i].due_ms - now;
        }
    }
    return (int)next;
}

static void on_signal(int number)
{
    (void)number;
    uds_echo_server_stop(running, UDS_ECHO_STOP_DRAIN); /* a drain waits for what is owed, at most desc.drain_ms */
}

int main(int argc, char **argv)
{
    uds_echo_server_desc desc = {0};
    uds_echo_server *server;
    uds_echo_failure why;
    uds_echo_error error;
    struct sigaction action;
    char text[1024];

    if (argc != 2 || argv[1][0] == '-') return fputs("usage: handler PATH\n", stderr), 2;
    desc.path = argv[1];
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

    if (uds_echo_server_open(&server, &desc, &why)) {
        (void)uds_echo_explain(&why, desc.path, text, sizeof text);
        return fprintf(stderr, "handler: %s\n", text), 1;
    }
    running = server;
    (void)sigprocmask(SIG_UNBLOCK, &action.sa_mask, NULL);
    do error = uds_echo_server_step(server, pay_debts(server));
    while (error == UDS_ECHO_OK);
    (void)sigprocmask(SIG_BLOCK, &action.sa_mask, NULL); /* and after its end there is none again */
    (void)uds_echo_server_close(server);
    return error == UDS_ECHO_ERR_STOPPED ? 0 : 1;
}
