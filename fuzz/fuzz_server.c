/* fuzz_server.c - the server over the fake kernel: many peers, handlers of every kind, faults, all in an order that the
   input decides.

   Input: CONFIG bytes that set sizes, limits, and how long the machine and the server have been up; then a script, two
   bytes an action. An exhausted script ends the run: no more faults, the peers half-close, or do not, and read, the
   server drains; then everything that is owed must have arrived. */
#include "fuzz.h"

enum { CONFIG = 8, PEERS = 6, PLACES = 4, CROWD = 40, ACCEPTS_MAX = 16, READS_MAX = 16, KEPT = 4096, DEBTS = 8 };

/* The other side of a connection, and what the oracle knows of it. */
typedef struct peer {
    int id; /* -1: not connected */
    int half_closed;
    unsigned char sent[KEPT];     /* what our kernel took from it */
    unsigned char answered[KEPT]; /* what the handler and pushes answered */
    size_t sent_size, handed, answered_size, got;
    int called, known;   /* its connect() worked; on_open was called */
    int welcome, closed; /* on_open let it in; on_close was called */
    int owed, ended;     /* DEFER; we end it: REPLY_AND_CLOSE, conn_close(), refused */
    int faithless;       /* the handler broke its contract */
    int broken;          /* a part of an answer may be lost: conn_send() said so */
    unsigned long broke; /* in, or behind, this step */
    int fd, struck;      /* ours, once it is known; a fault struck it, as it was seen when it closed */
    uds_echo_error why;
    /* What a step began with. */
    size_t sent_before;
    int waited;                /* it waited for us: for room, or for an answer */
    int its_turn;              /* what it says is read, as soon as the poller tells */
    int turn;                  /* messages in this step */
    long long waited_until;    /* the end of the last step that began so, or when it was paid; no later than that */
    unsigned long waited_call; /* the same by the number of calls, no earlier; 0: never */
    long long moved_ms;        /* when a byte last moved, what is thrown away at the end left out */
    unsigned long let_in;      /* by which step */
    unsigned long opened;      /* the number of calls until then */
    int queued;                /* it was, when a drain began */
} peer;

static peer peers[PEERS];
static uds_echo_id ids[PEERS], debts[DEBTS];
static int debt_count, next_peer, crowds, in_vain, accepts;
static int asked;       /* the strongest uds_echo_stop_mode that was asked for; -1: none */
static int woken, woke; /* a wake is on its way; on_wake was called */
static int prompt;      /* nobody is slow any more: a drain needs no deadline */
static int in_child;
static unsigned char seed, manner, elsewhere[64];
static uds_echo_server *server;
static int handed_now;               /* messages in this step */
static const peer *last_handled;     /* whose handler ran last: it may have sent to another since */
static size_t furniture;             /* bytes allocated once it is open */
static unsigned generations[PLACES]; /* what those of the slots must be */
static unsigned long steps, began_at,
    struck_before;                       /* the number of the step, of the call before it, of faults so far */
static long long slow;                   /* ms that handlers have taken in this step */
static long long drained_at, drained_by; /* the step that began to drain: no later, no earlier; -1: none did */

/* The peer of a connection is known by the pid that it had when it connected. */
ORACLE static peer *peer_of(const uds_echo_conn *conn)
{
    return (peer *)uds_echo_conn_user(conn);
}

ORACLE static uds_echo_conn *conn_of(const peer *p)
{
    return uds_echo_server_find(server, ids[p - peers]);
}

/* ---- what the process does to its server ------------------------------------------------------------------------- */

/* From a signal handler, as it were: errno is somebody else's. The kernel never refuses to ring. */
static void ring_stop(uds_echo_stop_mode how)
{
    fuzz_fault_settle();
    errno = EDOM;
    uds_echo_server_stop(server, how);
    CHECK(errno == EDOM, "stop changes errno");
    if ((int)how > asked) asked = (int)how;
}

static void ring_wake(void)
{
    fuzz_fault_settle();
    errno = EDOM;
    uds_echo_server_wake(server);
    CHECK(errno == EDOM, "wake changes errno");
    woken = 1;
}

/* A child of fork() has the pointer, and may do no more with it than close it. */
static void as_child(void)
{
    fuzz_fault_settle();
    fake.pid++;
    uds_echo_server_stop(server, UDS_ECHO_STOP_NOW);
    uds_echo_server_wake(server);
    CHECK(uds_echo_server_step(server, 0) == UDS_ECHO_ERR_FORKED, "a step in a child");
    CHECK(uds_echo_server_run(server) == UDS_ECHO_ERR_FORKED, "a run in a child");
    fake.pid--;
}

static void close_as_child(void)
{
    const int there = fake_exists(PATH);
    in_child = 1; /* no callback is for the child */
    fake.pid++;
    CHECK(uds_echo_server_close(server) == UDS_ECHO_OK, "close in a child");
    CHECK(fake_exists(PATH) == there, "a child takes its parent's path away");
}

/* With idle_ms the end of a wait for us counts as a byte that moved. */
ORACLE static void it_waited(peer *p, long long until)
{
    if (p->waited_until < until) p->waited_until = until;
    p->waited_call = fake_calls() + 1;
}

static void end(uds_echo_conn *conn)
{
    if (!conn) return;
    if (peer_of(conn) && peer_of(conn)->owed) it_waited(peer_of(conn), fake_now_ms());
    uds_echo_conn_close(conn);
    if (peer_of(conn)) peer_of(conn)->ended = 1;
    CHECK(uds_echo_conn_send(conn, "x", 1) == UDS_ECHO_ERR_CLOSING, "a send on a connection that is to end");
}

ORACLE static void answered(peer *p, const void *bytes, size_t size)
{
    if (p->answered_size + size > KEPT) return;
    memcpy(p->answered + p->answered_size, bytes, size);
    p->answered_size += size;
}

static void push(uds_echo_conn *conn, size_t size)
{
    unsigned char bytes[64];
    const unsigned long strikes = fake_strikes();
    peer *p = conn ? peer_of(conn) : NULL;
    if (!p || p->answered_size + size > KEPT) return;
    if (p->owed) it_waited(p, fake_now_ms());
    memset(bytes, 'A' + seed++ % 26, sizeof bytes);
    switch (uds_echo_conn_send(conn, bytes, size)) {
    case UDS_ECHO_ERR_WOULD_BLOCK: CHECK(!p->owed, "no room for an answer that is owed"); break;
    case UDS_ECHO_ERR_TOO_LONG: CHECK(size > server->message_max, "too long, and it is not"); break;
    case UDS_ECHO_ERR_CLOSING: CHECK(!conn_of(p), "a connection that is found takes nothing"); break;
    case UDS_ECHO_OK:
        answered(p, bytes, size);
        p->owed = 0;
        break;
    default: /* it broke on the way, and a part of it may arrive */
        CHECK(p->id < 0 || fake_strikes() != strikes || server->desc.memory_max,
              "a send that breaks, and nothing failed");
        answered(p, bytes, size);
        p->owed = 0;
        p->broken = 1;
        p->broke = steps;
    }
}

static void push_to_all(const peer *but, size_t size)
{
    int i;
    for (i = 0; i < PEERS; i++)
        if (&peers[i] != but) push(conn_of(&peers[i]), size);
}

static void pay(int which)
{
    uds_echo_conn *conn;
    if (!debt_count) return;
    which %= debt_count;
    conn = uds_echo_server_find(server, debts[which]);
    debts[which] = debts[--debt_count];
    if (!conn) return;
    if (peer_of(conn)->owed) push(conn, seed++ % 3 ? seed % 20 : 0);
    if (peer_of(conn)->owed) push(conn, 0);
}

/* ---- handlers ---------------------------------------------------------------------------------------------------- */

/* An id is never used again: each use of a slot has the next generation, 0 left out. */
ORACLE static void check_id(const uds_echo_conn *conn)
{
    const unsigned slot = (unsigned)(uds_echo_conn_id(conn) & 0xffffffff);
    CHECK(slot < server->conns_max && conn == &server->conns[slot], "an id of another slot");
    generations[slot] = generations[slot] < 0xffffffffu ? generations[slot] + 1 : 1;
    if (uds_echo_conn_id(conn) >> 32 == generations[slot]) return;
    fuzz_fault_note();
    CHECK(fuzz_fatal[FAKE_setsockopt],
          "an id that is not the next one"); /* one was lost before anybody was told of it */
    generations[slot] = (unsigned)(uds_echo_conn_id(conn) >> 32);
}

static int on_open(uds_echo_conn *conn, void *user)
{
    uds_echo_peer who;
    peer *p;
    (void)user;
    CHECK(!in_child, "a callback in a child");
    CHECK(!uds_echo_conn_user(conn), "a new connection has the pointer of another");
    check_id(conn);
    if (uds_echo_conn_peer(conn, &who) || who.pid < 1000 || who.pid >= 1000 + PEERS) return 1;
    p = &peers[who.pid - 1000];
    CHECK(p->called && !p->known, "a connection that nobody made, or made once");
    uds_echo_conn_set_user(conn, p);
    ids[p - peers] = uds_echo_conn_id(conn);
    p->known = 1;
    p->fd = conn->fd;
    p->let_in = steps;
    p->opened = fake_calls();
    p->moved_ms = fake_now_ms();
    if (seed % 7 == 3) push(conn, 3);
    if (seed++ % 11 == 5 || manner == 10) return p->ended = 1;
    p->welcome = 1;
    return 0;
}

/* 1: no byte moved for so long. */
ORACLE static int is_idle(const uds_echo_conn *conn)
{
    long long moved;
    (void)fake_moved(conn->fd, &moved);
    return fake_now_ms() - moved >= server->desc.idle_ms;
}

/* Since when it is in this queue its time was up, and its socket was looked at once more. */
ORACLE static void check_overdue(const ue_queue *q, const uds_echo_conn *conn, int ms)
{
    const long long since = q->places[conn - server->conns].since;
    CHECK(ms > 0 && since != UE_NONE, "cut for a time that it has not");
    CHECK(fake_now_ms() - since >= ms || fuzz_fatal[FAKE_clock_gettime], "cut too soon");
    CHECK(conn->state != UE_READING || !fake_unread(conn->fd) || fake_strikes() != struck_before,
          "cut, and its input was not looked at");
}

/* By which call a byte last moved; who was let in for one that was evicted takes its place when it is opened. */
ORACLE static unsigned long order_of(const uds_echo_conn *conn)
{
    long long ms;
    const unsigned long moved = fake_moved(conn->fd, &ms);
    const peer *p = peer_of(conn);
    return p && p->opened > moved ? p->opened : moved;
}

/* Not all that came in time need have been looked at. */
ORACLE static int has_short_steps(void)
{
    return server->desc.step_messages < 1024;
}

/* 1: with idle_ms it may have come to the end of the order without a byte that moved. Where steps are short, it may
   have waited for its turn. */
ORACLE static int may_have_waited(const uds_echo_conn *conn)
{
    const peer *p = peer_of(conn);
    if (!server->desc.idle_ms || !p) return 0;
    return has_short_steps() || p->waited || p->waited_call >= order_of(conn);
}

/* 1: and on no other connection for longer. */
ORACLE static int is_idlest(const uds_echo_conn *conn)
{
    const unsigned long order = order_of(conn);
    unsigned i;
    if (conn->state == UE_LINGERING) return 1;
    if (server->lingering.first != UE_NIL) return 0;
    for (i = 0; i < server->conns_used; i++) {
        const uds_echo_conn *other = &server->conns[i];
        if (other->state != UE_FREE && !may_have_waited(other) && order_of(other) < order) return 0;
    }
    return 1;
}

/* It was served in this step, it was not its turn to be read when that began, or it had said nothing that was not. */
ORACLE static int was_looked_at(const peer *p, const uds_echo_conn *conn)
{
    const size_t taken = p->handed + ue_buf_size(conn->unhandled);
    long long ms;
    if (fake_strikes() != struck_before || fake.staged) return 1; /* it was not read, or nobody was */
    if (p->let_in == steps) return 0;
    if (has_short_steps()) return 1; /* its turn did not come */
    return conn->state != UE_READING || !p->its_turn || p->sent_before <= taken || fake_moved(conn->fd, &ms) > began_at;
}

/* What on_close is told is true. */
ORACLE static void check_reason(const peer *p, const uds_echo_conn *conn, uds_echo_error why)
{
    const uds_echo_server_desc *d = &server->desc;
    const int over = p->half_closed || p->id < 0 || asked >= 0;
    const int late =
        drained_at >= 0 && (!prompt || conn->state == UE_LINGERING) && fake_now_ms() - drained_at >= d->drain_ms;
    switch (why) {
    case UDS_ECHO_OK:
        CHECK(p->ended || over, "an end that nobody asked for");
        CHECK(p->ended || p->handed == p->sent_size, "an orderly end, and not all was handled");
        CHECK(!p->ended || p->half_closed || p->id < 0 || conn->input_shut || p->struck,
              "it ends before its peer does");
        CHECK(p->ended || p->half_closed || p->id < 0 || p->handed || server->finish_until == UE_NONE,
              "a drain ends who has not spoken yet");
        break;
    case UDS_ECHO_ERR_LINGER:
        CHECK(p->ended && conn->state == UE_LINGERING, "cut as lingering, and it is not");
        check_overdue(&server->lingering, conn, d->linger_ms);
        break;
    case UDS_ECHO_ERR_TIMEOUT:
        CHECK(d->frame && (p->sent[p->handed] & 7u) + 1 > ue_buf_size(conn->unhandled), "it has all of the message");
        check_overdue(&server->messages, conn, d->message_ms);
        break;
    case UDS_ECHO_ERR_UNEXPECTED_EOF:
        CHECK(d->frame && over && p->handed < p->sent_size, "no message is cut short");
        break;
    case UDS_ECHO_ERR_RESET: CHECK(p->id < 0 || p->struck, "a reset of one who is there"); break;
    case UDS_ECHO_ERR_BAD_HANDLER: CHECK(p->faithless, "the handler kept its contract"); break;
    case UDS_ECHO_ERR_IDLE:
        CHECK(d->idle_ms && (!p->owed || p->ended), "cut as idle, and an answer is owed");
        CHECK(is_idle(conn) || fuzz_fatal[FAKE_clock_gettime], "cut as idle too soon");
        check_overdue(&server->idle, conn, d->idle_ms);
        CHECK(!conn->unsent || !fake_room(conn->fd) || p->struck || fake_strikes() != struck_before,
              "cut as idle, and its socket takes more");
        CHECK(!p->waited || p->ended, "cut as idle, and it waited for us");
        CHECK(p->ended || fake_now_ms() - p->waited_until >= d->idle_ms || fuzz_fatal[FAKE_clock_gettime],
              "cut as idle, and it waited for us until just now");
        break;
    case UDS_ECHO_ERR_EVICTED:
        CHECK(d->when_full == UDS_ECHO_FULL_EVICT && is_idlest(conn), "evicted, and another was idler");
        CHECK(was_looked_at(p, conn), "evicted unheard");
        break;
    case UDS_ECHO_ERR_STOPPED:
        CHECK(asked == UDS_ECHO_STOP_NOW || late || fuzz_fatal[FAKE_clock_gettime], "cut, and nobody asked for it");
        break;
    case UDS_ECHO_ERR_NO_MEMORY:
        CHECK(p->struck || p->broken || d->memory_max || (fuzz_fatal[FAKE_malloc] && last_handled == p),
              "no memory, and nothing failed");
        break;
    default: CHECK(p->struck || p->broken, "an end that nothing explains");
    }
}

static void on_close(uds_echo_conn *conn, uds_echo_error why, void *user)
{
    peer *p = peer_of(conn);
    (void)user;
    CHECK(!in_child, "a callback in a child");
    CHECK(p && p->welcome && !p->closed, "on_close not once for each welcome");
    if (!p) return;
    p->closed = 1;
    p->why = why;
    fuzz_fault_note();
    p->struck = fuzz_struck(conn->fd);
    check_reason(p, conn, why);
    CHECK(uds_echo_conn_send(conn, "x", 1) == UDS_ECHO_ERR_CLOSING, "a send on a connection that is closed");
    if (seed++ % 5 == 0) end(conn);
    if (seed % 9 == 0) push(uds_echo_server_find(server, ids[seed % PEERS]), 5);
}

/* Longer than drain_ms, and than most idle_ms. Not while it drains, for that is judged by the end of the step in which
   it began. */
static void be_slow(void)
{
    if (server->phase != UE_SERVING) return;
    fake_sleep(600);
    slow += 600;
}

static uds_echo_verdict by_chance(uds_echo_conn *conn, uds_echo_message *m)
{
    seed = (unsigned char)(seed * 5 + m->data[0] + 1);
    if (seed % 13 == 1) push(conn, seed % 40);
    if (seed % 13 == 2) push(uds_echo_server_find(server, ids[seed % PEERS]), seed % 40);
    if (seed % 31 == 3) end(uds_echo_server_find(server, ids[seed % PEERS]));
    if (seed % 37 == 4) ring_wake();
    if (seed % 37 == 5) be_slow();
    if (seed % 8 == 6) m->size = seed % (m->capacity + 1); /* whatever the bytes are, they are the answer */
    return seed % 16 < 11 ? UDS_ECHO_REPLY : fuzz_verdicts[seed % 4];
}

/* As the input says; 0 and what is not told: by chance. */
static uds_echo_verdict by_manner(uds_echo_conn *conn, uds_echo_message *m)
{
    const size_t most = m->capacity;
    switch (manner) {
    case 1: return UDS_ECHO_REPLY;
    case 2: return UDS_ECHO_NO_REPLY;
    case 3: return UDS_ECHO_DEFER;
    case 4: return UDS_ECHO_REPLY_AND_CLOSE;
    case 5: m->size = most; return UDS_ECHO_REPLY;
    case 6: push(conn, most); return UDS_ECHO_REPLY;
    case 7:
        push_to_all(peer_of(conn), most);
        push(conn, most);
        m->size = most;
        return UDS_ECHO_REPLY;
    case 8: push(conn, most); return UDS_ECHO_DEFER;
    case 9: end(conn); return UDS_ECHO_REPLY;
    case 11:
        if (m->data[0] % 4 == 3) { /* an answer that lies elsewhere */
            m->data = elsewhere;
            return UDS_ECHO_REPLY;
        }
        if (m->data[0] & 1) m->capacity++; /* what it was told is its own copy */
        m->size = most + 1;
        return UDS_ECHO_REPLY;
    case 12: ring_stop(UDS_ECHO_STOP_DRAIN); return UDS_ECHO_REPLY;
    case 13: end(uds_echo_server_find(server, ids[m->data[0] % PEERS])); return UDS_ECHO_REPLY;
    case 14: return fuzz_verdicts[4];
    case 15: m->size = most; return UDS_ECHO_REPLY_AND_CLOSE;
    case 16: be_slow(); return UDS_ECHO_REPLY;
    case 17: be_slow(); return UDS_ECHO_DEFER;
    case 18:
        be_slow();
        pay(seed);
        return UDS_ECHO_REPLY;
    default: return by_chance(conn, m);
    }
}

static uds_echo_verdict on_message(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    peer *p = peer_of(conn);
    uds_echo_verdict verdict;
    (void)user;
    CHECK(!in_child, "a callback in a child");
    CHECK(m->capacity == server->message_max && m->size > 0 && m->size <= m->capacity, "a message of a wrong size");
    CHECK(p && p->welcome && !p->closed && !p->ended && !p->owed, "a message that was not to be handled now");
    CHECK(p && p->handed + m->size <= p->sent_size && !memcmp(p->sent + p->handed, m->data, m->size),
          "the handler got what was not sent, or not in order");
    if (!p) return UDS_ECHO_REPLY_AND_CLOSE;
    last_handled = p;
    p->handed += m->size;
    CHECK(++p->turn <= UE_TURN, "more messages than a turn has");
    /* the look that ends a drain may hand over a turn's worth more */
    CHECK(++handed_now <= server->desc.step_messages + (server->now >= server->drain_until ? (int)UE_TURN : 0),
          "more messages than a step has");
    CHECK(uds_echo_server_step(server, 0) == UDS_ECHO_ERR_REENTRANT, "a step inside a callback");
    verdict = by_manner(conn, m);
    if (verdict == UDS_ECHO_DEFER && debt_count == DEBTS) verdict = UDS_ECHO_NO_REPLY;
    if (verdict == UDS_ECHO_DEFER) debts[debt_count++] = uds_echo_conn_id(conn);
    if (m->data == elsewhere || m->size > server->message_max || verdict == fuzz_verdicts[4]) p->faithless = 1;
    /* an answer may be in the making while an earlier one failed: it is answered, and lost with a named error */
    else if (verdict == UDS_ECHO_REPLY || verdict == UDS_ECHO_REPLY_AND_CLOSE) answered(p, m->data, m->size);
    p->owed |= verdict == UDS_ECHO_DEFER;
    p->ended |= verdict == UDS_ECHO_REPLY_AND_CLOSE || p->faithless;
    return verdict;
}

static void on_wake(uds_echo_server *s, void *user)
{
    (void)s, (void)user;
    CHECK(!in_child, "a callback in a child");
    woke = 1;
    woken = 0;
    pay(seed);
}

/* A message is a byte with its length in the low three bits, and what follows. */
static size_t frame(const unsigned char *bytes, size_t size, void *user)
{
    (void)user;
    CHECK(size > 0, "asked for a message in nothing");
    return (size_t)(bytes[0] & 7) + 1;
}

/* ---- what peers do ----------------------------------------------------------------------------------------------- */

static void dial(void)
{
    peer *p = &peers[next_peer];
    if (next_peer == PEERS) return;
    fake.peer_pid = 1000 + next_peer;
    p->id = fake_peer_connect(PATH);
    p->called = p->id >= 0;
    next_peer += p->called;
}

ORACLE static unsigned char byte_of(const peer *p, size_t at)
{
    return (unsigned char)(at * 37 + (size_t)(p - peers) * 11 + seed);
}

ORACLE static void sent(peer *p, const unsigned char *bytes, long n)
{
    if (n <= 0) return;
    memcpy(p->sent + p->sent_size, bytes, (size_t)n);
    p->sent_size += (size_t)n;
}

ORACLE static void speak(peer *p, size_t size)
{
    unsigned char bytes[64];
    size_t i;
    if (p->id < 0 || p->half_closed || p->sent_size + size > KEPT) return;
    for (i = 0; i < size; i++) bytes[i] = byte_of(p, p->sent_size + i);
    sent(p, bytes, fake_peer_send(p->id, bytes, size));
}

/* With MSG_OOB: a byte of the stream like any other. */
static void urge(peer *p)
{
    const unsigned char byte = byte_of(p, p->sent_size);
    if (p->id < 0 || p->half_closed || p->sent_size == KEPT) return;
    sent(p, &byte, fake_peer_send_urgent(p->id, byte));
}

/* Who is not cut reads to the end of the stream, whatever it left unsaid. */
ORACLE static void check_reset(const peer *p)
{
    const unsigned long long *closed = server->stats.closed;
    const int cut = asked == UDS_ECHO_STOP_NOW || (asked >= 0 && !prompt) || closed[UDS_ECHO_ERR_IDLE] ||
                    closed[UDS_ECHO_ERR_EVICTED] || closed[UDS_ECHO_ERR_LINGER] || closed[UDS_ECHO_ERR_STOPPED] ||
                    fuzz_fatal_any;
    CHECK(!p->closed || p->why || p->struck, "an orderly end that resets the peer");
    CHECK(!p->known || p->welcome || cut, "who is refused is reset");
}

/* 1: something came. What comes is the next of what was answered. */
ORACLE static int listen_to(peer *p, size_t size)
{
    unsigned char bytes[64];
    long n;
    if (p->id < 0) return 0;
    if (fake.staged) (void)fake_peer_drain(p->id, size);
    n = fake_peer_recv(p->id, bytes, size);
    if (n < 0 && errno == ECONNRESET) check_reset(p);
    if (n <= 0) return 0;
    CHECK(p->got + (size_t)n <= p->answered_size || p->answered_size + 64 > KEPT, "more came than was answered");
    CHECK(p->answered_size + 64 > KEPT || !memcmp(p->answered + p->got, bytes, (size_t)n), "not what was answered");
    p->got += (size_t)n;
    return 1;
}

static void half_close(peer *p)
{
    if (p->id < 0) return;
    (void)fake_peer_shutdown(p->id, SHUT_WR);
    p->half_closed = 1;
}

static void leave(peer *p)
{
    if (p->id >= 0) fake_peer_close(p->id);
    p->id = -1;
}

/* Strangers who call all at once and are gone again before anybody answers: once a run, for they take time. */
static void crowd(void)
{
    int i;
    if (crowds++) return;
    fake.peer_pid = 1;
    for (i = 0; i < CROWD; i++) {
        int id = fake_peer_connect(PATH);
        if (id >= 0) fake_peer_close(id);
    }
}

/* ---- a run ------------------------------------------------------------------------------------------------------- */

/* An id leads to its own connection until that is to end, and nobody makes us hold more than two messages. */
ORACLE static void check_peer(const peer *p)
{
    const uds_echo_conn *conn = p->known ? conn_of(p) : NULL;
    CHECK(!conn || uds_echo_conn_user(conn) == p, "an id that leads to another connection");
    CHECK(!conn || !(p->closed || p->ended), "an id that leads to a connection that is to end");
    if (p->id < 0 || p->closed || p->broken || !p->known || fuzz_struck(p->fd) || p->answered_size + 64 > KEPT) return;
    if (fake.staged) return; /* what is in flight is nobody's */
    CHECK(p->answered_size - p->got - fake_peer_pending(p->id) <= 2 * server->message_max, "too much is held for one");
}

/* Law 2: beside what is allocated at open, the buffers that are told of. */
ORACLE static size_t memory_bound(const uds_echo_stats *stats)
{
    size_t bound = furniture + (size_t)stats->pending;
    unsigned i;
    for (i = 0; i < server->conns_used; i++) {
        const uds_echo_conn *conn = &server->conns[i];
        const ue_buf *b = conn->unsent;
        if (conn->unhandled) bound += sizeof(ue_buf);
        for (; b; b = b->next == conn->unsent ? NULL : b->next) bound += sizeof(ue_buf);
    }
    return bound;
}

ORACLE static void lawful(void)
{
    uds_echo_stats stats;
    int i;
    fuzz_lawful();
    uds_echo_server_stats(server, &stats);
    CHECK(fake_live_bytes() <= memory_bound(&stats), "more memory than is said");
    CHECK(stats.pending_peak <= server->memory_max, "more was held than memory_max");
    CHECK(stats.connections <= server->conns_max, "more connections than connections_max");
    for (i = 0; i < PEERS; i++) check_peer(&peers[i]);
}

/* Law 5: however many there are, a step lets in no more than 16, and reads of each no more than 16 times. */
ORACLE static void check_share(const uds_echo_stats *before, const uds_echo_stats *now, unsigned long long lacked)
{
    const unsigned long long accepted = now->accepted - before->accepted;
    CHECK(accepted <= ACCEPTS_MAX, "a step that does nothing but accept");
    /* who is looked at once more is read once more */
    CHECK(now->bytes_in - before->bytes_in <= (before->connections + accepted) * 2 * READS_MAX * server->message_max,
          "a step that does nothing but read");
    /* one who comes, or one who could not be accepted for want of a descriptor */
    CHECK(now->closed[UDS_ECHO_ERR_EVICTED] - before->closed[UDS_ECHO_ERR_EVICTED] <= accepted + lacked,
          "evicted for nobody");
    CHECK(now->pauses_failed == before->pauses_failed || fuzz_fatal[FAKE_accept] || fuzz_fatal[FAKE_accept4] ||
              fuzz_fatal[FAKE_fcntl] || fuzz_fatal[FAKE_epoll_ctl] || fake.descriptors_max < 64,
          "it rests for nothing");
}

/* Law 5: what was asked for between steps is done by the next one, or by the one after it. */
ORACLE static void check_asked_for(void)
{
    CHECK(server->todo.first == UE_NIL || !uds_echo_server_timeout(server), "what was asked for is put off");
}

/* Law 8: what rang is heard by the next step whose wait and read are let through; where that ended among its events, by
   the one that goes on with them. */
ORACLE static void check_bells(uds_echo_error error, int asked_before, int woken_before, int faulted)
{
    CHECK(error != UDS_ECHO_ERR_STOPPED || asked >= 0, "it stopped, and nobody asked");
    CHECK(error == UDS_ECHO_ERR_STOPPED || asked_before != UDS_ECHO_STOP_NOW || faulted, "a stop that is lost");
    if (!woken_before || woke) return;
    CHECK(faulted, "a wake that is lost");
    woken = 1;
}

/* Where its connection is, to the end of that, which no id leads to; NULL: nowhere. */
ORACLE static const uds_echo_conn *slot_of(const peer *p)
{
    const uds_echo_conn *conn = p->known && !p->closed ? &server->conns[ids[p - peers] & 0xffffffff] : NULL;
    return conn && conn->state != UE_FREE && conn->generation == ids[p - peers] >> 32 ? conn : NULL;
}

/* What the oracle has to know of how things stand as a step begins, and ends. */
ORACLE static void note_peers(int ends, long long woken_at)
{
    int i;
    for (i = 0; i < PEERS; i++) {
        peer *p = &peers[i];
        const uds_echo_conn *conn = slot_of(p);
        if (conn && conn->state != UE_LINGERING) (void)fake_moved(conn->fd, &p->moved_ms);
        if (ends) {
            CHECK(!p->broken || !conn || p->broke == steps, "it broke, and on_close does not follow in the next step");
            if (p->waited) it_waited(p, woken_at);
        } else {
            p->sent_before = p->sent_size;
            p->waited = conn && (conn->more || p->owed);
            p->its_turn = conn && conn->state == UE_READING && !conn->more;
            p->turn = 0;
        }
    }
}

/* When the server has to do something though nobody says anything, as far as that is certain; -1: it need not. */
ORACLE static long long deadline(void)
{
    const uds_echo_server_desc *d = &server->desc;
    long long due = drained_at >= 0 ? drained_by + d->drain_ms : -1;
    int i;
    for (i = 0; i < PEERS && d->idle_ms; i++) {
        const peer *p = &peers[i];
        const uds_echo_conn *conn = slot_of(p);
        if (!conn || conn->state == UE_LINGERING || may_have_waited(conn)) continue;
        if (due < 0 || p->moved_ms + d->idle_ms < due) due = p->moved_ms + d->idle_ms;
    }
    return due;
}

ORACLE static void note_drain(long long began)
{
    int i;
    drained_by = fake_now_ms();
    drained_at = fake.calls_per_ms ? began : drained_by;
    for (i = 0; i < PEERS; i++) peers[i].queued = peers[i].id >= 0 && !peers[i].known;
}

/* Over poll(2) no call shows that the server looks away: from one that it owes a reply, and which has said something; or
   from the queue, for which there is no place. */
ORACLE static int may_look_away(const uds_echo_stats *before, const uds_echo_stats *now)
{
    int i, away = before->pauses_full != now->pauses_full;
    for (i = 0; i < PEERS; i++) away |= peers[i].waited;
    return away && !UDS_ECHO_HAVE_EPOLL;
}

/* Law 5: where nothing was to be done it slept for as long as it may. */
ORACLE static void check_sleep(long long slept, int timeout_ms, int due)
{
    const int most = due >= 0 && (due < timeout_ms || timeout_ms < 0) ? due : timeout_ms;
    CHECK(most <= 0 || slept >= most - 1, "it woke up for nothing");
}

ORACLE static uds_echo_error step(int timeout_ms)
{
    const int asked_before = asked, woken_before = woken && server->phase != UE_STOPPED;
    const long long began = fake_now_ms();
    const unsigned long work = fuzz_calls_of_work(), lacked = fake_lacks();
    const int went_on = server->unfinished;
    unsigned long calls = fake_calls();
    uds_echo_stats before, now;
    uds_echo_error error;
    long long must, awake;
    int faulted, due, took, goes_on;
    fuzz_fault_note();
    faulted = fuzz_hits;
    due = uds_echo_server_timeout(server);
    woken = woke = 0;
    slow = 0;
    uds_echo_server_stats(server, &before);
    note_peers(0, 0);
    handed_now = 0;
    must = server->phase == UE_STOPPED ? -1 : deadline();
    steps++;
    began_at = calls;
    struck_before = fake_strikes();
    error = fuzz_step(server, timeout_ms, &in_vain);
    if (drained_at < 0 && server->phase != UE_SERVING) note_drain(began);
    calls = fake_calls() - calls;
    took = fake.calls_per_ms ? (int)(calls / fake.calls_per_ms) + 1 : 0;
    awake = fake_now_ms() - slow - took; /* it did not wake earlier */
    note_peers(1, awake);
    uds_echo_server_stats(server, &now);
    faulted = fuzz_hits - faulted;
    CHECK(error == UDS_ECHO_OK || error == UDS_ECHO_ERR_STOPPED || fuzz_fatal[FAKE_poll], "a step");
    CHECK(due < 0 || awake - began <= due || faulted, "it slept past what is due");
    CHECK(must < 0 || awake <= (must > began ? must : began) + 1 || fuzz_fatal[FAKE_clock_gettime] || faulted,
          "it slept past a deadline");
    if (error == UDS_ECHO_OK && !faulted && !handed_now && work == fuzz_calls_of_work() &&
        !may_look_away(&before, &now))
        check_sleep(fake_now_ms() - began, timeout_ms, due);
    check_share(&before, &now, fake_lacks() - lacked);
    goes_on = server->unfinished && !went_on;
    check_bells(error, asked_before, woken_before, faulted || goes_on);
    if (!faulted) check_asked_for();
    return error;
}

/* As much waits for one as may, and everybody else has something to say. */
static void fill(peer *p)
{
    int i;
    for (i = 0; i < 3; i++) push(conn_of(p), server->message_max);
    for (i = 0; i < PEERS; i++)
        if (&peers[i] != p) speak(&peers[i], 1);
    (void)step(0);
}

/* A slow reader that is told a little more as it reads; or for which there is no memory, where all of it has to be
   kept. */
static void trickle(peer *p, int in_want)
{
    if (in_want) fill(p);
    (void)listen_to(p, 64);
    (void)step(0);
    if (in_want) fuzz_fault(server->idle.places ? 1 : 0, 0); /* behind a look at the clock */
    push(conn_of(p), 1);
}

/* What does not happen often: the actions of which a script needs few. */
static void act_rarely(peer *p, unsigned what, unsigned how)
{
    switch (what) {
    case 0: manner = (unsigned char)how; break;
    case 1: ring_stop(UDS_ECHO_STOP_DRAIN); break;
    case 2: ring_stop(UDS_ECHO_STOP_NOW); break;
    case 3:
        for (how %= 4; how + 1; how--) ring_wake();
        break;
    case 4:
        if (how == 15) crowd();
        else (void)step((int)how * 20);
        break;
    case 5: as_child(); break;
    case 6: urge(p); break;
    default: push_to_all(NULL, how & 1 ? 1 : server->message_max);
    }
}

/* A sandbox refuses for good what a server does once it runs. */
static void refuse(unsigned which, unsigned how)
{
    static const fake_call calls[] = {FAKE_accept4,    FAKE_recv,       FAKE_send,     FAKE_epoll_ctl,
                                      FAKE_setsockopt, FAKE_getsockopt, FAKE_shutdown, FAKE_clock_gettime};
    fuzz_refuse(calls[which], how);
}

static void act(unsigned char what, unsigned char with)
{
    peer *p = &peers[with % PEERS];
    switch (what % 16) {
    case 0:
    case 1:
    case 2: (void)step(0); break;
    case 3: dial(); break;
    case 4:
    case 5: speak(p, with % 61 + 1u); break;
    case 6:
    case 7:
        if (fake.staged && p->id >= 0) (void)fake_peer_arrive(p->id, with % 61 + 1u);
        (void)listen_to(p, with % 64 + 1u);
        break;
    case 8: half_close(p); break;
    case 9:
        if (with & 128) leave(p);
        else act_rarely(p, with & 7, with >> 3);
        break;
    case 10: pay(with); break;
    case 11:
        if (with & 128) trickle(p, with & 64);
        else push(conn_of(p), with % 64u);
        break;
    case 12: end(with & 64 ? conn_of(p) : NULL); break;
    case 13:
        fake_sleep(with * 8);
        if (with & 1) ring_wake();
        break;
    case 14:
        if (with == 255) ring_stop(UDS_ECHO_STOP_DRAIN);
        if (with == 254) ring_stop(UDS_ECHO_STOP_NOW);
        if (with < 192 && with % 4 == 3) refuse(with >> 2 & 7, with >> 5);
        fake.descriptors_max = with & 1 ? 64 : fake_open_descriptors() + (with >> 6);
        break;
    default: fuzz_fault(with % 16, with >> 4);
    }
    lawful();
}

static uds_echo_server_desc describe(const uint8_t *config)
{
    uds_echo_server_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.path = PATH;
    desc.message_max = config[0] % 48 + 8;
    desc.connections_max = config[1] % 4 + 1;
    desc.when_full = config[1] & 64 ? UDS_ECHO_FULL_EVICT : UDS_ECHO_FULL_QUEUE;
    desc.send_buffer = config[1] & 128 ? 1 : 0;
    desc.step_messages = config[2] & 1 ? config[2] / 2 % 4 + 1 : 0;
    desc.memory_max = config[2] & 16 ? (config[2] / 32 + 1) * desc.message_max : 0;
    desc.idle_ms = config[3] & 1 ? config[3] * 4 : 0;
    desc.message_ms = config[1] & 4 ? 100 : 0;
    desc.linger_ms = config[1] & 8 ? 40 : config[1] & 16 ? 1500 : 0;
    desc.frame = config[4] & 1 ? frame : NULL;
    desc.drain_ms = config[4] & 2 ? 500 : 0;
    desc.busy_poll_us = config[4] & 32 ? 25000 : 0;
    desc.on_message = on_message;
    desc.on_open = on_open;
    desc.on_close = on_close;
    desc.on_wake = on_wake;
    return desc;
}

/* A call failed that costs a connection before it is known. */
ORACLE static int may_have_lost_one(void)
{
    return fuzz_fatal[FAKE_setsockopt] || fuzz_fatal[FAKE_getsockopt] || fuzz_hit[FAKE_fcntl];
}

/* Whoever called was let in. */
ORACLE static void everybody_is_known(void)
{
    int i;
    if (may_have_lost_one()) return;
    for (i = 0; i < PEERS; i++) CHECK(peers[i].id < 0 || peers[i].known, "somebody is queued for ever");
}

/* At this time the drain had taken all of drain_ms. Where the clock failed the server's own time may have run ahead. */
ORACLE static int drain_was_over(long long ms)
{
    return ms - drained_at >= server->desc.drain_ms ||
           (fuzz_fatal[FAKE_clock_gettime] && server->now >= server->drain_until);
}

/* Who was queued when a drain began is let in by it, whatever ran out meanwhile, as long as it may last. */
ORACLE static void nobody_is_left_queued(void)
{
    int i;
    if (asked != UDS_ECHO_STOP_DRAIN || drain_was_over(fake_now_ms())) return;
    if (may_have_lost_one() || fuzz_denied || fuzz_refused < FAKE_CALL_COUNT) return;
    for (i = 0; i < PEERS; i++) CHECK(!peers[i].queued || peers[i].known, "a drain forgets who is queued");
}

/* All peers half-closed, read all, and nobody owes them anything: whoever was welcome must have been seen off. */
ORACLE static void nobody_is_forgotten(void)
{
    int i;
    for (i = 0; i < PEERS; i++) CHECK(!peers[i].welcome || peers[i].closed, "a connection that nobody looks after");
    everybody_is_known();
}

/* How it all ends. */
enum {
    IN_CHILD = 4,
    HASTY = 8,    /* it drains at once */
    PATIENT = 16, /* nobody half-closes; HASTY, too, and with idle_ms: nor reads before it has stopped */
    ABORTED = 64,
    STAGED = 128 /* bytes take their time, to the end */
};

/* The second connection that is taken was aborted; who is behind it in the queue is not. */
static void abort_one(fake_call what)
{
    if ((what != FAKE_accept && what != FAKE_accept4) || ++accepts != 2) return;
    fake_fault(fake_calls(), ECONNABORTED, 0);
}

/* No more faults and no more malice: what is owed must arrive, in a bounded number of steps. What a sandbox refuses it
   may go on refusing while a server drains: then that has to end all the same. */
static void finish(unsigned char how)
{
    enum { QUIET = 12 };
    const int unread = how & PATIENT && how & HASTY && server->desc.idle_ms; /* nobody reads until it has stopped */
    int pause; /* without a clock the server's time runs ahead by what it waited for: its rests end later */
    unsigned long before;
    int i, round, rounds, quiet = 0, moved, error = UDS_ECHO_OK;
    long long stopped_at = -1;
    fuzz_fault_settle();
    if (!(how & HASTY)) fuzz_allow();
    pause = fuzz_fatal[FAKE_clock_gettime] ? 20 : 10;
    fake.descriptors_max = 64;
    fake.calls_per_ms = 0;
    if (how & ABORTED) fake.before = abort_one;
    prompt = asked < 0 && !unread && fuzz_refused == FAKE_CALL_COUNT;
    for (i = 0; i < PEERS && !(how & PATIENT); i++) half_close(&peers[i]);
    if (how & HASTY) ring_stop(UDS_ECHO_STOP_DRAIN);
    /* Without a clock a step of a drain counts as a millisecond at least. */
    rounds = fuzz_refused == FAKE_clock_gettime ? 3000 + server->desc.drain_ms : 3000;
    for (round = 0; round < rounds && (quiet < QUIET || error == UDS_ECHO_OK); round++) {
        if (quiet == QUIET) {
            if (!(how & PATIENT) && asked < 0) nobody_is_forgotten();
            if (how & IN_CHILD) return;
            ring_stop(UDS_ECHO_STOP_DRAIN);
        }
        while (debt_count) pay(0);
        for (i = 0; i < PEERS && fake.staged; i++)
            if (peers[i].id >= 0) (void)fake_peer_arrive(peers[i].id, 64);
        before = fuzz_calls_of_work();
        if (!server->desc.busy_poll_us && !fake.staged && quiet > 2 && quiet < QUIET && asked == UDS_ECHO_STOP_DRAIN)
            error = (int)step(-1); /* nobody else has anything to do: it has to end by itself */
        else error = (int)step(0);
        if (error == UDS_ECHO_ERR_STOPPED && stopped_at < 0) stopped_at = fake_now_ms();
        moved = debt_count + (fuzz_calls_of_work() != before) + (!error && !uds_echo_server_timeout(server));
        for (i = 0; i < PEERS && !unread; i++) moved += listen_to(&peers[i], 64);
        quiet = moved ? 0 : quiet + 1;
        /* Before a drain longer than any rest, and it has its deadline. */
        if (!moved) fake_sleep(quiet > QUIET ? 100 : pause);
        lawful();
    }
    CHECK(error == UDS_ECHO_ERR_STOPPED, "a drain that does not end");
    for (i = 0; i < PEERS; i++)
        while (listen_to(&peers[i], 64)) continue;
    /* Those who linger may keep all places until the drain is over. */
    if (asked == UDS_ECHO_STOP_DRAIN && prompt && !server->stats.closed[UDS_ECHO_ERR_STOPPED] &&
        !drain_was_over(stopped_at))
        everybody_is_known();
    nobody_is_left_queued();
}

/* At an orderly end all of what was answered arrived. */
ORACLE static void settle_accounts(void)
{
    int i;
    for (i = 0; i < PEERS; i++) {
        peer *p = &peers[i];
        CHECK(!p->welcome || p->closed, "a connection without its on_close");
        if (p->id < 0 || !p->closed || p->why != UDS_ECHO_OK || p->answered_size + 64 > KEPT) continue;
        CHECK(p->got == p->answered_size, "an orderly end, and bytes are missing");
    }
}

/* Just before numbers become too large for 31 and 32 bits: of milliseconds, and of seconds, where those have more. */
static void age_clock(unsigned how)
{
    static const long long at_ms[] = {1000, 0x7fffffff - 50, 0xffffffff - 50,
                                      sizeof(time_t) > 4 ? 0x7fffffff * 1000ll - 50 : 1000};
    fake_set_clock(at_ms[how] * 1000 + (how ? 987 : 0));
}

/* A server that has had millions of connections and steps, near to where their numbers wrap or grow by a bit. */
static void age_server(int old)
{
    static const unsigned ages[] = {0xfffffffeu, 0x7ffffffeu, 0xfffe, 0xfe};
    unsigned i;
    memset(generations, 0, sizeof generations);
    if (!old) return;
    for (i = 0; i < server->conns_max; i++) server->conns[i].generation = generations[i] = ages[i % 4];
    server->stats.waits = server->ready_again_at = 0xfffffffeull;
}

static void begin(const uint8_t *data)
{
    uds_echo_server_desc desc = describe(data);
    int i;
    fuzz_begin();
    age_clock(data[7] >> 4 & 3);
    fake.staged = (data[4] & STAGED) != 0;
    fake.queue_bytes = (data[5] % 128 + 1u) * (data[5] & 128 ? 16 : 1);
    fake.calls_max = 1000000;
    if (desc.busy_poll_us) fake.calls_per_ms = 4; /* who spins sees time go by */
    memset(ids, 0, sizeof ids);
    memset(peers, 0, sizeof peers);
    last_handled = NULL;
    for (i = 0; i < PEERS; i++) peers[i].id = peers[i].fd = -1;
    steps = began_at = struck_before = 0;
    slow = 0;
    drained_at = -1;
    debt_count = next_peer = crowds = in_vain = accepts = woken = woke = prompt = in_child = 0;
    asked = -1;
    seed = data[6];
    manner = data[7] % 16;
    if (uds_echo_server_open(&server, &desc, NULL)) abort();
    furniture = fake_live_bytes();
    age_server(data[7] & 128);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t i;
    int excused, late;
    if (size < CONFIG || size > 2048) return 0;
    begin(data);
    for (i = CONFIG; i + 1 < size; i += 2) act(data[i], data[i + 1]);
    finish(data[4]);
    late = fake_now_ms() - drained_at >= server->desc.drain_ms;
    if (data[4] & IN_CHILD) {
        close_as_child();
    } else {
        settle_accounts();
        CHECK(uds_echo_server_close(server) == UDS_ECHO_OK, "close");
    }
    for (i = 0; i < PEERS; i++) leave(&peers[i]);
    fuzz_finish();
    /* only a retire that could not lock, look or unlink may leave the path; a drain tries again, if it has the time */
    excused = fuzz_hit[FAKE_flock] + fuzz_hit[FAKE_fstatat] + fuzz_hit[FAKE_unlinkat];
    excused = in_child || fuzz_denied || excused > (asked == UDS_ECHO_STOP_DRAIN && !late);
    CHECK(!fake_exists(PATH) || excused, "the path is left behind");
    return 0;
}
