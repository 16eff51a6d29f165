/* test_choices.c - every choice of the kernel for one connection. What recv, send, shutdown, epoll_ctl, malloc and the clock
   say is chosen, and so are the events, what the handler returns and what the program asks for. All combinations are run,
   one after the other, depth first: so within its bounds the search is complete. The number of runs is pinned: a search that
   shrinks has lost something, and one that grows has to be looked at. */
#define _GNU_SOURCE 1
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#define UDS_ECHO_SYS(fn) chosen_##fn

/* ---- choices ----------------------------------------------------------------------------------------------------- */

enum { DEPTH = 200, THE_FD = 9 };
static unsigned char taken[DEPTH], ways[DEPTH]; /* which of how many */
static int depth, place, choosing;
static unsigned long runs;

static int choose(int count)
{
    if (!choosing) return 0;
    if (place == depth) {
        if (depth == DEPTH) abort();
        taken[depth] = 0;
        ways[depth++] = (unsigned char)count;
    }
    if (ways[place] != count) abort(); /* a run is not repeatable */
    return taken[place++];
}

/* 0: that was the last. */
static int next_run(void)
{
    runs++;
    place = 0;
    while (depth && taken[depth - 1] + 1 == ways[depth - 1]) depth--;
    if (!depth) return 0;
    taken[depth - 1]++;
    return 1;
}

/* ---- the kernel ---------------------------------------------------------------------------------------------------- */

static int reads_left, sends_left, failures_left, is_open, blocks, wrote_end, shut_read, ended;
static long long now_ms;
static unsigned char next_in;           /* the byte that the peer sends next: it counts */
static unsigned char answered[64];      /* what is to be sent, in order */
static size_t answered_size, sent_size; /* and how much of it was */
static const char *broken;              /* the law that is */

static void law(int holds, const char *text)
{
    if (!holds && !broken) broken = text;
}

static int fails(int os_error)
{
    if (!failures_left || !choose(2)) return 0;
    failures_left--;
    errno = os_error;
    return 1;
}

static ssize_t chosen_recv(int fd, void *bytes, size_t size, int flags)
{
    int i, way;
    law(fd == THE_FD && is_open && size > 0, "recv of what is not open, or of nothing");
    law(!ended || flags & MSG_PEEK, "recv after the end");
    way = reads_left > 0 ? choose((int)(size < 3 ? size : 3) + (failures_left ? 3 : 2)) : 0;
    if (way && !(flags & MSG_PEEK)) reads_left--;
    if (way == 0 && shut_read) way = 1;
    if (way == 0) return errno = EAGAIN, -1;
    if (way == 1) return ended |= !(flags & MSG_PEEK), 0;
    if (failures_left && way == 2) return failures_left--, errno = ECONNRESET, -1;
    way -= failures_left ? 2 : 1;
    for (i = 0; i < way && !(flags & MSG_PEEK); i++) ((unsigned char *)bytes)[i] = next_in++;
    return way;
}

static ssize_t chosen_send(int fd, const void *bytes, size_t size, int flags)
{
    int way, most = (int)(size < 2 ? size : 2);
    law(fd == THE_FD && is_open && size > 0 && flags == MSG_NOSIGNAL, "send of what is not open, or of nothing");
    law(!wrote_end, "send after the end");
    if (sends_left-- <= 0) way = (int)size;
    else way = choose(most + (failures_left ? 2 : 1));
    if (way > most && sends_left >= 0) return failures_left--, errno = EPIPE, -1;
    if (!way) return errno = EAGAIN, -1;
    law(sent_size + (size_t)way <= answered_size && !memcmp(answered + sent_size, bytes, (size_t)way),
        "not what was answered");
    sent_size += (size_t)way;
    return way;
}

static int chosen_shutdown(int fd, int how)
{
    law(fd == THE_FD && is_open, "shutdown of what is not open");
    if (fails(ENOTCONN)) return -1;
    if (how == SHUT_WR) wrote_end = 1;
    if (how == SHUT_RD) shut_read = 1;
    return 0;
}

static int chosen_epoll_ctl(int epoll, int what, int fd, struct epoll_event *event)
{
    (void)epoll, (void)event;
    law(fd == THE_FD && is_open, "epoll_ctl of what is not open");
    return what != EPOLL_CTL_DEL && fails(ENOMEM) ? -1 : 0;
}

static void *chosen_malloc(size_t size)
{
    if (fails(ENOMEM)) return NULL;
    blocks++;
    return malloc(size);
}

static void *chosen_calloc(size_t count, size_t size)
{
    blocks++;
    return calloc(count, size);
}

static void chosen_free(void *block)
{
    blocks -= block != NULL;
    free(block);
}

static int chosen_close(int fd)
{
    law(fd == THE_FD && is_open, "close of what is not open");
    is_open = 0;
    return 0;
}

static int chosen_clock_gettime(clockid_t clock, struct timespec *t)
{
    (void)clock;
    t->tv_sec = (time_t)(now_ms / 1000);
    t->tv_nsec = (long)(now_ms % 1000) * 1000000;
    return 0;
}

static int chosen_setsockopt(int fd, int level, int option, const void *value, socklen_t size)
{
    (void)fd, (void)level, (void)option, (void)value, (void)size;
    return fails(ENOMEM) ? -1 : 0;
}

/* The calls that no connection makes. */
static int no_call(void)
{
    law(0, "a call that no connection makes");
    return errno = ENOSYS, -1;
}

static int chosen_fstatat(int fd, const char *path, struct stat *st, int flags)
{
    (void)fd, (void)path, (void)flags;
    memset(st, 0, sizeof *st);
    return no_call();
}

#define chosen_accept(a, b, c) ((void)(a), (void)(b), (void)(c), no_call())
#define chosen_accept4(a, b, c, d) ((void)(a), (void)(b), (void)(c), (void)(d), no_call())
#define chosen_bind(a, b, c) ((void)(a), (void)(b), (void)(c), no_call())
#define chosen_connect(a, b, c) ((void)(a), (void)(b), (void)(c), no_call())
#define chosen_epoll_create1(a) ((void)(a), no_call())
#define chosen_epoll_wait(a, b, c, d) ((void)(a), (void)(b), (void)(c), (void)(d), no_call())
#define chosen_eventfd(a, b) ((void)(a), (void)(b), no_call())
#define chosen_fchmod(a, b) ((void)(a), (void)(b), no_call())
#define chosen_fchmodat(a, b, c, d) ((void)(a), (void)(b), (void)(c), (void)(d), no_call())
#define chosen_fcntl(fd, ...) ((void)(fd), no_call())
#define chosen_flock(a, b) ((void)(a), (void)(b), no_call())
#define chosen_getpid() 77
#define chosen_getrlimit(a, b) ((void)(a), (void)(b), no_call())
#define chosen_getsockopt(a, b, c, d, e) ((void)(a), (void)(b), (void)(c), (void)(d), (void)(e), no_call())
#define chosen_linkat(a, b, c, d, e) ((void)(a), (void)(b), (void)(c), (void)(d), (void)(e), no_call())
#define chosen_listen(a, b) ((void)(a), (void)(b), no_call())
#define chosen_open(a, b) ((void)(a), (void)(b), no_call())
#define chosen_pipe(a) ((void)(a), no_call())
#define chosen_poll(a, b, c) ((void)(a), (void)(b), (void)(c), no_call())
#define chosen_read(a, b, c) ((void)(a), (void)(b), (void)(c), no_call())
#define chosen_renameat(a, b, c, d) ((void)(a), (void)(b), (void)(c), (void)(d), no_call())
#define chosen_renameat2(a, b, c, d, e) ((void)(a), (void)(b), (void)(c), (void)(d), (void)(e), no_call())
#define chosen_socket(a, b, c) ((void)(a), (void)(b), (void)(c), no_call())
#define chosen_syscall(a, b, c, d, e, f) ((void)(a), (void)(b), (void)(c), (void)(d), (void)(e), (void)(f), no_call())
#define chosen_unlinkat(a, b, c) ((void)(a), (void)(b), (void)(c), no_call())
#define chosen_write(a, b, c) ((void)(a), (void)(b), (void)(c), no_call())

#define UDS_ECHO_IMPLEMENTATION
#define UDS_ECHO_STATIC
#include "uds_echo.h"

#include <cmocka.h>

/* ---- the program --------------------------------------------------------------------------------------------------- */

static uds_echo_server server;
static unsigned char handed; /* the byte that the handler has to get next */
static int closes, asked_to_end, draining;
static uds_echo_error why_closed;

static void answer(const unsigned char *bytes, size_t size)
{
    if (answered_size + size > sizeof answered) abort();
    memcpy(answered + answered_size, bytes, size);
    answered_size += size;
}

static uds_echo_verdict on_message(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    static const uds_echo_verdict verdicts[] = {UDS_ECHO_REPLY, UDS_ECHO_DEFER, UDS_ECHO_REPLY_AND_CLOSE};
    int way = choose(3);
    size_t i;
    (void)conn, (void)user;
    for (i = 0; i < m->size; i++) law(m->data[i] == handed++, "the handler got what was not sent, or not in order");
    law(!closes && !asked_to_end, "a message behind the end");
    if (way != 1) answer(m->data, m->size);
    asked_to_end |= way == 2;
    return verdicts[way];
}

static size_t frame(const unsigned char *bytes, size_t size, void *user)
{
    (void)bytes, (void)size, (void)user;
    return 2;
}

static void on_close(uds_echo_conn *conn, uds_echo_error why, void *user)
{
    (void)conn, (void)user;
    closes++;
    why_closed = why;
    law(why != UDS_ECHO_OK || sent_size == answered_size, "an orderly end, and not all was sent");
    law(why != UDS_ECHO_OK || ended || asked_to_end || shut_read, "an orderly end that nobody asked for");
}

/* ---- what must hold between any two events -------------------------------------------------------------------------- */

static void check_state(const uds_echo_conn *c)
{
    const int buffers = (c->unhandled != NULL) + (c->unsent != NULL);
    if (c->in_todo && c->state != UE_FREE && c->state != UE_LINGERING) return; /* the next step decides it anew */
    switch (c->state) {
    case UE_FREE:
        law(!is_open && c->fd == -1 && !buffers, "a free slot that holds something");
        law(server.lingering.places[0].since == UE_NONE, "a free slot that lingers");
        break;
    case UE_SENDING: law(c->unsent && c->interest == UE_OUT, "sending, and not watched for room"); break;
    case UE_WAITING: law(c->deferred && !c->unsent, "waiting for nothing"); break;
    case UE_LINGERING:
        law(c->closing && wrote_end && !buffers && c->interest == UE_IN, "lingering, and it has not ended");
        law(server.lingering.places[0].since != UE_NONE, "lingering without end");
        law(sent_size == answered_size, "lingering, and not all was sent");
        break;
    default:
        law(c->state == UE_READING && !c->closing && !c->failed, "reading behind the end");
        law(c->interest == (c->more ? 0 : UE_IN), "reading, and not watched");
        law(!c->more || c->in_todo, "its turn never comes");
    }
    if (c->state != UE_FREE) law(is_open, "closed, and its slot is not free");
    law(server.stats.connections == (c->state != UE_FREE), "connections are miscounted");
    law(!closes == (c->state != UE_FREE) || !c->admitted, "on_close is not told once");
    if (server.messages.places)
        law((server.messages.places[0].since != UE_NONE) <= (c->state == UE_READING && c->unhandled != NULL),
            "the time of no message");
}

/* ---- a run --------------------------------------------------------------------------------------------------------- */

typedef struct bounds {
    int framed, message_max, events, reads, sends, failures;
    unsigned long runs; /* pinned */
} bounds;

static const bounds *now;

static void begin(void)
{
    uds_echo_failure why;
    unsigned char *scratch;
    memset(&server, 0, sizeof server);
    choosing = 0;
    reads_left = now->reads;
    sends_left = now->sends;
    failures_left = 0;
    blocks = is_open = wrote_end = shut_read = ended = closes = asked_to_end = draining = 0;
    next_in = handed = 0;
    answered_size = sent_size = 0;
    now_ms = 1000;
    server.desc.on_message = on_message;
    server.desc.on_close = on_close;
    server.desc.frame = now->framed ? frame : NULL;
    server.desc.message_max = now->message_max;
    server.desc.connections_max = 1;
    server.desc.idle_ms = 300;
    server.desc.message_ms = now->framed ? 200 : 0;
    server.desc.linger_ms = 400;
    server.desc.drain_ms = 1000;
    server.free_slot = server.todo.first = server.todo.last = UE_NIL;
    server.idle.first = server.idle.last = server.messages.first = server.messages.last = UE_NIL;
    server.lingering.first = server.lingering.last = UE_NIL;
    server.stop_mode = -1;
    server.accept_resume_at = server.grace_until = server.finish_until = server.drain_until = UE_NONE;
    server.now = 1000;
    server.listener_registered = 1; /* there is no listener: nobody is accepted */
    if (ue_apply_defaults(&server, &why)) abort();
    server.conns = (uds_echo_conn *)chosen_calloc(1, sizeof *server.conns);
    (void)ue_queue_alloc(&server.idle, 1);
    (void)ue_queue_alloc(&server.lingering, 1);
    if (now->framed) (void)ue_queue_alloc(&server.messages, 1);
    scratch = (unsigned char *)chosen_malloc(server.message_max * 2);
    server.scratch = scratch;
    server.input = (unsigned char *)chosen_malloc(server.message_max);
    server.steps = 1;
    server.left = server.desc.step_messages;
    server.look_at = 0;
    choosing = 1;
    failures_left = now->failures;
    is_open = 1;
    ue_conn_open(&server, THE_FD);
}

static void finish(void)
{
    choosing = 0;
    failures_left = 0;
    ue_abort_all(&server);
    check_state(&server.conns[0]);
    law(!is_open && server.stats.connections == 0 && server.stats.pending == 0, "something is left");
    chosen_free(server.conns);
    chosen_free(server.idle.places);
    chosen_free(server.messages.places);
    chosen_free(server.lingering.places);
    chosen_free(server.scratch);
    chosen_free(server.input);
    law(blocks == 0, "memory is left");
}

static void begin_drain(void)
{
    if (draining++) return;
    server.stop_mode = UDS_ECHO_STOP_DRAIN;
    ue_set_drain_deadlines(&server);
    server.phase = UE_DRAINING;
    ue_drain_all(&server);
}

/* So much later: what is due is done, as a step would. */
static void later(void)
{
    now_ms += 210;
    ue_update_now(&server);
    ue_tick(&server);
}

static void push(uds_echo_conn *c)
{
    static const unsigned char byte = 250;
    const size_t before = answered_size;
    const int ending = c->closing || c->failed;
    uds_echo_error error;
    answer(&byte, 1); /* it may be sent at once */
    error = uds_echo_conn_send(c, &byte, 1);
    law(!ending || error == UDS_ECHO_ERR_CLOSING, "a send on what is to end");
    if (error == UDS_ECHO_ERR_WOULD_BLOCK || error == UDS_ECHO_ERR_CLOSING || (error && sent_size <= before))
        answered_size = before;
}

static void run(void)
{
    uds_echo_conn *c;
    int i;
    begin();
    for (i = 0; i < now->events && server.conns[0].state != UE_FREE && !broken; i++) {
        c = &server.conns[0];
        check_state(c);
        server.steps++;
        server.left = server.desc.step_messages;
        server.look_at = 0;
        switch (choose(6)) {
        case 0: ue_conn_event(c); break;
        case 1: push(c); break;
        case 2:
            asked_to_end = 1;
            uds_echo_conn_close(c);
            break;
        case 3: begin_drain(); break;
        case 4:
            if (c->in_todo) ue_run_todo(&server);
            break;
        default: later();
        }
    }
    check_state(&server.conns[0]);
    finish();
}

static void every_choice(void **state)
{
    now = (const bounds *)*state;
    depth = place = 0;
    runs = 0;
    broken = NULL;
    do {
        run();
        if (broken) fail_msg("run %lu: %s", runs, broken);
    } while (next_run());
    print_message("# framed %d, message_max %d, %d events, %d reads, %d sends, %d failures: %lu runs, complete\n",
                  now->framed, now->message_max, now->events, now->reads, now->sends, now->failures, runs);
    assert_int_equal(runs, now->runs);
}

static const bounds searches[] = {
    {0, 2, 5, 2, 2, 1, 1979467},
    {1, 2, 5, 2, 2, 1, 1241338},
    {1, 3, 5, 2, 2, 1, 2638166},
};

int main(void)
{
    enum { COUNT = sizeof searches / sizeof *searches };
    struct CMUnitTest tests[COUNT];
    int i;
    memset(tests, 0, sizeof tests);
    for (i = 0; i < COUNT; i++) {
        tests[i].name = "every choice of the kernel for one connection";
        tests[i].test_func = every_choice;
        tests[i].initial_state = (void *)(uintptr_t)&searches[i];
    }
    return cmocka_run_group_tests_name("choices", tests, NULL, NULL);
}
