/* worker.c - answers that take long are worked out by another thread, while the server goes on with everybody else: the
   handler says DEFER, the worker wakes the server, and on_wake sends what is done.

   A line is a number of at least 2; its answer is the smallest factor of it. SIGINT or SIGTERM drains: what is worked
   out within drain_ms (5 s) is still answered, and what is not is given up.

       cc -pthread -o worker examples/worker.c
       ./worker ./numbers & sleep 1
       printf '1000000016000000063\n' | socat -t 5 - UNIX-CONNECT:./numbers
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

enum { LINE_MAX_BYTES = 64 };

typedef struct job {
    struct job *next;
    uds_echo_id asker; /* not the connection itself: it may be gone when the answer is there */
    unsigned long long number, factor;
} job;

/* What the two threads share. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t there_is_work = PTHREAD_COND_INITIALIZER;
static job *asked, **asked_end = &asked; /* first come, first served */
static job *done;
static int quit;

static uds_echo_server *volatile running; /* for the signal handler */

static void on_signal(int number)
{
    (void)number;
    uds_echo_server_stop(running, UDS_ECHO_STOP_DRAIN);
}

static int is_over(void)
{
    int over;
    (void)pthread_mutex_lock(&lock);
    over = quit;
    (void)pthread_mutex_unlock(&lock);
    return over;
}

/* 0: given up. */
static unsigned long long smallest_factor(unsigned long long n)
{
    unsigned long long d;
    if (n % 2 == 0) return 2;
    for (d = 3; d <= n / d; d += 2) {
        if (n % d == 0) return d;
        if (d % 0x100000 == 1 && is_over()) return 0;
    }
    return n;
}

/* The worker: nothing of the server is used here but its bell. */
static void *work(void *server)
{
    job *j;
    (void)pthread_mutex_lock(&lock);
    for (;;) {
        while (!asked && !quit) (void)pthread_cond_wait(&there_is_work, &lock);
        if (quit) break;
        j = asked;
        asked = j->next;
        if (!asked) asked_end = &asked;
        (void)pthread_mutex_unlock(&lock);
        j->factor = smallest_factor(j->number);
        (void)pthread_mutex_lock(&lock);
        j->next = done;
        done = j;
        uds_echo_server_wake((uds_echo_server *)server);
    }
    (void)pthread_mutex_unlock(&lock);
    return NULL;
}

static size_t line(const unsigned char *bytes, size_t size, void *user)
{
    const unsigned char *end = (const unsigned char *)memchr(bytes, '\n', size);
    (void)user;
    return end ? (size_t)(end - bytes) + 1 : 0;
}

/* The answer is one line, and at most LINE_MAX_BYTES long. */
static uds_echo_verdict say(uds_echo_message *m, const char *text)
{
    m->size = strlen(text);
    memcpy(m->data, text, m->size);
    return UDS_ECHO_REPLY;
}

/* 1: the line is a number of at least 2, and nothing else. */
static int is_number(uds_echo_message *m, unsigned long long *number)
{
    char *end, *digits = (char *)m->data;
    if (digits[0] < '0' || digits[0] > '9') return 0;
    digits[m->size - 1] = '\0';
    errno = 0;
    *number = strtoull(digits, &end, 10);
    return !errno && !*end && end == digits + m->size - 1 && *number >= 2;
}

static uds_echo_verdict on_message(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    unsigned long long number;
    job *j;
    (void)user;
    if (!is_number(m, &number)) return say(m, "error: a number of at least 2\n");
    j = (job *)calloc(1, sizeof *j);
    if (!j) return say(m, "error: out of memory\n");
    j->asker = uds_echo_conn_id(conn);
    j->number = number;
    (void)pthread_mutex_lock(&lock);
    *asked_end = j;
    asked_end = &j->next;
    (void)pthread_cond_signal(&there_is_work);
    (void)pthread_mutex_unlock(&lock);
    return UDS_ECHO_DEFER;
}

/* On the server's thread: several wakes may come as one, so all that is done is sent. */
static void on_wake(uds_echo_server *server, void *user)
{
    char text[LINE_MAX_BYTES];
    job *j, *next;
    int size;
    (void)user;
    (void)pthread_mutex_lock(&lock);
    j = done;
    done = NULL;
    (void)pthread_mutex_unlock(&lock);
    for (; j; j = next) {
        next = j->next;
        size = snprintf(text, sizeof text, "%llu\n", j->factor);
        /* NULL where the connection has ended meanwhile, which conn_send() just says */
        (void)uds_echo_conn_send(uds_echo_server_find(server, j->asker), text, (size_t)size);
        free(j);
    }
}

static void forget(job *j)
{
    job *next;
    for (; j; j = next) {
        next = j->next;
        free(j);
    }
}

/* The worker starts with the signals blocked, so that it is the server's thread that gets them. */
static int start_worker(pthread_t *thread, uds_echo_server *server)
{
    sigset_t set, before;
    int error;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    (void)pthread_sigmask(SIG_BLOCK, &set, &before);
    error = pthread_create(thread, NULL, work, server);
    if (!error) running = server;
    (void)signal(SIGINT, on_signal);
    (void)signal(SIGTERM, on_signal);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) fprintf(stderr, "worker: pthread_create: %s\n", strerror(error));
    return !error;
}

int main(int argc, char **argv)
{
    uds_echo_server_desc desc = {0};
    uds_echo_server *server;
    uds_echo_failure why;
    uds_echo_error error;
    pthread_t thread;
    char text[1024];

    if (argc != 2 || argv[1][0] == '-') return fprintf(stderr, "usage: worker PATH\n"), 2;
    desc.path = argv[1];
    desc.frame = line;
    desc.message_max = LINE_MAX_BYTES;
    desc.on_message = on_message;
    desc.on_wake = on_wake;
    if (uds_echo_server_open(&server, &desc, &why)) {
        (void)uds_echo_explain(&why, desc.path, text, sizeof text);
        return fprintf(stderr, "worker: %s\n", text), 1;
    }
    if (!start_worker(&thread, server)) return (void)uds_echo_server_close(server), 1;
    error = uds_echo_server_run(server);
    if (error) fprintf(stderr, "worker: %s\n", uds_echo_strerror(error));

    (void)pthread_mutex_lock(&lock);
    quit = 1;
    (void)pthread_cond_signal(&there_is_work);
    (void)pthread_mutex_unlock(&lock);
    (void)pthread_join(thread, NULL); /* from here on nobody wakes it */
    running = NULL;
    (void)uds_echo_server_close(server);
    forget(asked);
    forget(done);
    return error ? 1 : 0;
}
