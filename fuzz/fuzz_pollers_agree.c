/* fuzz_pollers_agree.c - the same script over epoll(7) and over poll(2) gives every peer the same bytes, the same end,
   and the same counters.

   This file is compiled twice, the second time with UDS_ECHO_USE_POLL, and both halves are linked: each has a private
   copy of the header. After each action the server runs until nothing is due, so that an order in which the two report
   events, which may differ, cannot show. Calls are made to fail by kind ("the second recv from here"), for the two make
   different calls. */
#define UDS_ECHO_STATIC
#include "fuzz.h"

enum { CONFIG = 4, PEERS = 4, KEPT = 2048 };

typedef struct outcome {
    unsigned char got[PEERS][KEPT];
    size_t got_size[PEERS], sent[PEERS];
    int why[PEERS], ended[PEERS]; /* why: -1: not closed */
    uds_echo_stats stats;
    int last;
} outcome;

void agree_over_epoll(const uint8_t *data, size_t size, outcome *out);
void agree_over_poll(const uint8_t *data, size_t size, outcome *out);
#ifdef UDS_ECHO_USE_POLL
#define AGREE agree_over_poll
#else
#define AGREE agree_over_epoll
#endif

static outcome *now;
static uds_echo_server *server;
static int ids[PEERS], half_closed[PEERS];
static int fail_kind, fail_in, fail_errno, fail_armed;

static int on_open(uds_echo_conn *conn, void *user)
{
    uds_echo_peer who;
    (void)user;
    if (uds_echo_conn_peer(conn, &who) || who.pid < 1000 || who.pid >= 1000 + PEERS) return 1;
    uds_echo_conn_set_user(conn, &now->why[who.pid - 1000]);
    return 0;
}

static void on_close(uds_echo_conn *conn, uds_echo_error why, void *user)
{
    int *told = (int *)uds_echo_conn_user(conn);
    (void)user;
    CHECK(*told == -1, "on_close twice");
    *told = (int)why;
}

static uds_echo_verdict on_message(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)conn, (void)user;
    switch (m->data[0] % 16) {
    case 0: /* what was in the buffer before is another's, and not the same */
        memset(m->data + m->size, 'x', m->capacity - m->size);
        m->size = m->capacity;
        return UDS_ECHO_REPLY;
    case 1: return UDS_ECHO_REPLY_AND_CLOSE;
    case 2: return UDS_ECHO_NO_REPLY;
    case 3: return UDS_ECHO_DEFER;
    case 4: (void)uds_echo_conn_send(conn, "pushed", 6); return UDS_ECHO_REPLY;
    default: return UDS_ECHO_REPLY;
    }
}

/* Who is read first when there is room again may differ, and with it where a read ends: then messages need ends of
   their own to be the same. */
static size_t frame(const unsigned char *bytes, size_t size, void *user)
{
    (void)size, (void)user;
    return (size_t)(bytes[0] & 7) + 1;
}

/* A kind of call fails once, counted from when that was asked for. */
static void before(fake_call what)
{
    static const fake_call kinds[] = {FAKE_recv, FAKE_send, FAKE_malloc, FAKE_realloc, FAKE_accept4, FAKE_shutdown};
    const int *errors;
    int count = 0;
    if (!fail_armed || what != kinds[fail_kind % 6] || fail_in-- > 0) return;
    errors = fake_errors_of(what);
    while (errors[count]) count++;
    fake_fault(fake_calls(), errors[fail_errno % count], 0);
    fail_armed = 0;
}

static void run_until_quiet(void)
{
    uds_echo_stats was, is;
    int quiet = 0, steps = 0;
    uds_echo_server_stats(server, &was);
    while (quiet < 3 && steps++ < 200) {
        now->last = (int)uds_echo_server_step(server, 0);
        uds_echo_server_stats(server, &is);
        was.waits = is.waits;
        quiet = memcmp(&was, &is, sizeof is) ? 0 : quiet + 1;
        was = is;
        fuzz_lawful();
    }
}

static void hear(int n, size_t size)
{
    long got;
    if (ids[n] < 0 || now->got_size[n] + size > KEPT) return;
    got = fake_peer_recv(ids[n], now->got[n] + now->got_size[n], size);
    if (got > 0) now->got_size[n] += (size_t)got;
    if (got <= 0 && !(got < 0 && errno == EAGAIN)) now->ended[n] |= got ? 2 : 1;
}

static void say(int n, size_t size)
{
    unsigned char bytes[64];
    long took;
    if (ids[n] < 0 || half_closed[n]) return;
    fuzz_pattern(bytes, size, now->sent[n], (unsigned)n);
    took = fake_peer_send(ids[n], bytes, size);
    if (took > 0) now->sent[n] += (size_t)took;
}

static void act(unsigned char what, unsigned char with)
{
    const int n = with % PEERS;
    switch (what % 10) {
    case 0:
    case 1:
        fake.peer_pid = 1000 + n;
        if (ids[n] < 0 && now->why[n] == -1) ids[n] = fake_peer_connect(PATH);
        break;
    case 2:
    case 3: say(n, with / PEERS % 60 + 1u); break;
    case 4:
    case 5: hear(n, with / PEERS + 1u); break;
    case 6:
        if (ids[n] >= 0) (void)fake_peer_shutdown(ids[n], with & 128 ? SHUT_RDWR : SHUT_WR);
        half_closed[n] = 1;
        break;
    case 7: fake_sleep(with); break;
    case 8:
        if (with == 255) uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
        if (with == 254) uds_echo_server_stop(server, UDS_ECHO_STOP_NOW);
        fail_armed = 0; /* what a stop does to all at once may happen in any order */
        break;
    default:
        fail_armed = 1;
        fail_kind = with;
        fail_in = with >> 3 & 3;
        fail_errno = with >> 5;
    }
    run_until_quiet();
}

void AGREE(const uint8_t *data, size_t size, outcome *out)
{
    uds_echo_server_desc desc;
    size_t i;
    int n;
    fuzz_begin();
    now = out;
    memset(out, 0, sizeof *out);
    for (n = 0; n < PEERS; n++) out->why[n] = ids[n] = -1, half_closed[n] = 0;
    fake.queue_bytes = data[0] % 128 + 1u;
    fake.before = before;
    fail_armed = 0;
    memset(&desc, 0, sizeof desc);
    desc.message_max = data[1] % 48 + 8;
    desc.connections_max = data[2] % PEERS + 1;
    desc.when_full = data[2] & 64 ? UDS_ECHO_FULL_EVICT : UDS_ECHO_FULL_QUEUE;
    desc.step_messages = data[2] & 128 ? 4 : 0;
    desc.frame = data[2] & 128 ? frame : NULL;
    desc.idle_ms = data[3] & 1 ? data[3] * 2 : 0;
    desc.drain_ms = 300;
    desc.on_open = on_open;
    desc.on_close = on_close;
    desc.on_message = on_message;
    if (uds_echo_server_adopt(&server, fuzz_listener(PATH, PEERS), &desc, NULL)) abort();
    for (i = CONFIG; i + 1 < size; i += 2) act(data[i], data[i + 1]);
    fail_armed = 0;
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    for (i = 0; i < 20; i++) {
        fake_sleep(20);
        run_until_quiet();
        for (n = 0; n < PEERS; n++) hear(n, 64);
    }
    CHECK(out->last == UDS_ECHO_ERR_STOPPED, "a drain that does not end");
    uds_echo_server_stats(server, &out->stats);
    out->stats.waits = 0; /* the only counter in which they may differ */
    CHECK(uds_echo_server_close(server) == UDS_ECHO_OK, "close");
    for (n = 0; n < PEERS; n++)
        if (ids[n] >= 0) fake_peer_close(ids[n]);
    fuzz_finish();
}

#ifndef UDS_ECHO_USE_POLL
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static outcome one, other;
    char trace[24];
    int n;
    if (size < CONFIG || size > 512) return 0;
    agree_over_epoll(data, size, &one);
    (void)snprintf(trace, sizeof trace, "/%016llx", fake_trace_hash());
    agree_over_poll(data, size, &other);
    /* The second half began anew: the first one's trace goes into the second's as a name that is not there. */
    (void)fake_unlinkat(AT_FDCWD, trace, 0);
    for (n = 0; n < PEERS; n++) {
        CHECK(one.sent[n] == other.sent[n], "one took more than the other");
        CHECK(one.got_size[n] == other.got_size[n] && !memcmp(one.got[n], other.got[n], one.got_size[n]),
              "other bytes");
        CHECK(one.why[n] == other.why[n] && one.ended[n] == other.ended[n], "another end");
    }
    CHECK(!memcmp(&one.stats, &other.stats, sizeof one.stats), "other counters");
    return 0;
}
#endif
