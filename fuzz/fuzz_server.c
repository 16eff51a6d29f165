/* fuzz_server.c - the server over the fake kernel: many peers, handlers of every kind, faults, all in an order that the
   input decides.

   Input: CONFIG bytes that set sizes and limits, then a script, two bytes an action. An exhausted script ends the run: no
   more faults, the peers half-close and read, the server drains; then everything that is owed must have arrived.
 */
#include "fuzz.h"

enum { CONFIG = 8, PEERS = 6, CROWD = 40, ACCEPTS_MAX = 32, KEPT = 4096, DEBTS = 8, FAULTS = 512 };

/* The other side of a connection, and what the oracle knows of it. */
typedef struct peer {
    int id; /* -1: not connected */
    int half_closed;
    unsigned char sent[KEPT];     /* what our kernel took from it */
    unsigned char answered[KEPT]; /* what the handler and pushes answered */
    size_t sent_size, handed, answered_size, got;
    int known, welcome, closed; /* closed: on_close was called */
    uds_echo_error why;
} peer;

static peer peers[PEERS];
static uds_echo_id ids[PEERS], debts[DEBTS];
static unsigned long faults[FAULTS]; /* numbers of the calls that were to fail */
static int fault_count, debt_count, next_peer, crowds;
static unsigned char seed;
static uds_echo_server *server;

/* The peer of a connection is known by the pid that it had when it connected. */
static peer *peer_of(const uds_echo_conn *conn)
{
    return (peer *)uds_echo_conn_user(conn);
}

static void answered(peer *p, const void *bytes, size_t size)
{
    if (!p || p->answered_size + size > KEPT) return;
    memcpy(p->answered + p->answered_size, bytes, size);
    p->answered_size += size;
}

static void push(uds_echo_conn *conn, size_t size)
{
    unsigned char bytes[64];
    peer *p = conn ? peer_of(conn) : NULL;
    if (!conn || !p || p->answered_size + size > KEPT) return;
    memset(bytes, 'A' + seed++ % 26, sizeof bytes);
    switch (uds_echo_conn_send(conn, bytes, size)) {
    case UDS_ECHO_WOULD_BLOCK:
    case UDS_ECHO_GONE:
    case UDS_ECHO_TOO_LONG:
    case UDS_ECHO_INVALID: break;
    default: answered(p, bytes, size); /* or it broke on the way, and a part of it may arrive */
    }
}

static int on_open(uds_echo_conn *conn, void *user)
{
    uds_echo_peer who;
    peer *p;
    (void)user;
    if (uds_echo_conn_peer(conn, &who) || who.pid < 1000 || who.pid >= 1000 + PEERS) return 1;
    p = &peers[who.pid - 1000];
    uds_echo_conn_set_user(conn, p);
    ids[p - peers] = uds_echo_conn_id(conn);
    p->known = 1;
    if (seed % 7 == 3) push(conn, 3);
    if (seed++ % 11 == 5) return 1;
    p->welcome = 1;
    return 0;
}

static void on_close(uds_echo_conn *conn, uds_echo_error why, void *user)
{
    peer *p = peer_of(conn);
    (void)user;
    CHECK(p && p->welcome && !p->closed, "on_close not once for each welcome");
    if (!p) return;
    p->closed = 1;
    p->why = why;
    CHECK(uds_echo_conn_send(conn, "x", 1) == UDS_ECHO_GONE, "a send on a connection that is closed");
    if (seed++ % 5 == 0) uds_echo_conn_close(conn);
    if (seed % 9 == 0) push(uds_echo_server_find(server, ids[seed % PEERS]), 5);
}

static uds_echo_verdict on_message(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    peer *p = peer_of(conn);
    uds_echo_verdict verdict;
    (void)user;
    CHECK(m->capacity == server->message_max && m->size > 0 && m->size <= m->capacity, "a message of a wrong size");
    CHECK(p && p->handed + m->size <= p->sent_size && !memcmp(p->sent + p->handed, m->data, m->size),
          "the handler got what was not sent, or not in order");
    if (!p) return UDS_ECHO_CLOSE;
    p->handed += m->size;
    seed = (unsigned char)(seed * 5 + m->data[0] + 1);
    if (seed % 13 == 1) push(conn, seed % 40);
    if (seed % 13 == 2) push(uds_echo_server_find(server, ids[seed % PEERS]), seed % 40);
    if (seed % 31 == 3) uds_echo_conn_close(uds_echo_server_find(server, ids[seed % PEERS]));
    if (seed % 37 == 4) uds_echo_server_wake(server);
    CHECK(uds_echo_server_step(server, 0) == UDS_ECHO_REENTRANT, "a step inside a callback");
    verdict = seed % 16 < 11 ? UDS_ECHO_REPLY : (uds_echo_verdict)(seed % 4);
    if (verdict == UDS_ECHO_LATER && debt_count == DEBTS) verdict = UDS_ECHO_SILENT;
    if (verdict == UDS_ECHO_LATER) debts[debt_count++] = uds_echo_conn_id(conn);
    if (seed % 8 == 6) m->size = seed % (m->capacity + 1); /* whatever the bytes are, they are the answer */
    if (verdict == UDS_ECHO_REPLY || verdict == UDS_ECHO_CLOSE) {
        /* an answer may be in the making while an earlier one failed: it is answered, and lost with a named error */
        answered(p, m->data, m->size);
    }
    return verdict;
}

static void pay(int which)
{
    uds_echo_conn *conn;
    if (!debt_count) return;
    which %= debt_count;
    conn = uds_echo_server_find(server, debts[which]);
    debts[which] = debts[--debt_count];
    if (!conn) return;
    push(conn, seed++ % 3 ? seed % 20 : 0);
    if (conn->owed) (void)uds_echo_conn_send(conn, NULL, 0);
}

static void on_wake(uds_echo_server *s, void *user)
{
    (void)s, (void)user;
    pay(seed);
}

/* A message is a byte with its length in the low three bits, and what follows. */
static size_t frame(const unsigned char *bytes, size_t size, void *user)
{
    (void)user;
    CHECK(size > 0, "asked for a message in nothing");
    return (size_t)(bytes[0] & 7) + 1;
}

/* ---- what peers do ------------------------------------------------------------------------------------------------------ */

static void dial(void)
{
    peer *p = &peers[next_peer];
    if (next_peer == PEERS) return;
    fake.peer_pid = 1000 + next_peer;
    p->id = fake_peer_connect(PATH);
    if (p->id >= 0) next_peer++;
}

static void speak(peer *p, size_t size)
{
    unsigned char bytes[64];
    size_t i;
    long n;
    if (p->id < 0 || p->half_closed || p->sent_size + size > KEPT) return;
    for (i = 0; i < size; i++) bytes[i] = (unsigned char)((p->sent_size + i) * 37 + (size_t)(p - peers) * 11 + seed);
    n = fake_peer_send(p->id, bytes, size);
    if (n <= 0) return;
    memcpy(p->sent + p->sent_size, bytes, (size_t)n);
    p->sent_size += (size_t)n;
}

/* 1: something came. What comes is the next of what was answered. */
static int listen_to(peer *p, size_t size)
{
    unsigned char bytes[64];
    long n;
    if (p->id < 0) return 0;
    n = fake_peer_recv(p->id, bytes, size);
    if (n <= 0) return 0;
    CHECK(p->got + (size_t)n <= p->answered_size || p->answered_size + 64 > KEPT, "more came than was answered");
    CHECK(p->answered_size + 64 > KEPT || !memcmp(p->answered + p->got, bytes, (size_t)n), "not what was answered");
    p->got += (size_t)n;
    return 1;
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

/* ---- a run --------------------------------------------------------------------------------------------------------------- */

static void lawful(void)
{
    uds_echo_stats stats;
    fuzz_lawful();
    if (!server) return;
    uds_echo_server_stats(server, &stats);
    CHECK(stats.pending <= server->pending_max, "more is held than pending_max");
}

/* Law 5: however many there are, a step lets in no more than so many: 16, and as many again where the path just went. */
static uds_echo_error step(void)
{
    uds_echo_stats before, now;
    uds_echo_error error;
    uds_echo_server_stats(server, &before);
    error = uds_echo_server_step(server, 0);
    uds_echo_server_stats(server, &now);
    CHECK(now.accepted - before.accepted <= ACCEPTS_MAX, "a step that does nothing but accept");
    return error;
}

static void act(unsigned char what, unsigned char with)
{
    peer *p = &peers[with % PEERS];
    switch (what % 16) {
    case 0:
    case 1:
    case 2: (void)step(); break;
    case 3: dial(); break;
    case 4:
    case 5: speak(p, with % 61 + 1u); break;
    case 6:
    case 7: (void)listen_to(p, with % 64 + 1u); break;
    case 8:
        if (p->id >= 0) (void)fake_peer_shutdown(p->id, SHUT_WR);
        p->half_closed = 1;
        break;
    case 9:
        if (with & 128) leave(p);
        else if (with > 120) crowd();
        break;
    case 10: pay(with); break;
    case 11: push(uds_echo_server_find(server, ids[with % PEERS]), with % 64u); break;
    case 12: uds_echo_conn_close(with & 64 ? uds_echo_server_find(server, ids[with % PEERS]) : NULL); break;
    case 13:
        fake_sleep(with * 8);
        if (with & 1) uds_echo_server_wake(server);
        break;
    case 14:
        if (with == 255) uds_echo_server_stop(server, UDS_ECHO_DRAIN);
        if (with == 254) uds_echo_server_stop(server, UDS_ECHO_NOW);
        fake.descriptors_max = with & 1 ? 64 : fake_open_descriptors() + (with >> 6);
        break;
    default: /* one of the next calls fails */
        fake_fault_any(fake_calls() + with % 16 + 1, with >> 4);
        if (fault_count < FAULTS) faults[fault_count++] = fake_calls() + with % 16 + 1;
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
    desc.when_full = config[1] & 64 ? UDS_ECHO_EVICT : UDS_ECHO_REST;
    desc.pending_max = config[2] & 1 ? (config[2] / 32 + 3) * desc.message_max : 0;
    desc.idle_ms = config[3] & 1 ? config[3] * 4 : 0;
    desc.frame = config[4] & 1 ? frame : NULL;
    desc.drain_ms = config[4] & 2 ? 500 : 0;
    desc.on_message = on_message;
    desc.on_open = on_open;
    desc.on_close = on_close;
    desc.on_wake = on_wake;
    return desc;
}

/* All peers half-closed, read all, and nobody owes them anything: whoever was welcome must have been seen off. */
static void nobody_is_forgotten(void)
{
    int i;
    for (i = 0; i < PEERS; i++) CHECK(!peers[i].welcome || peers[i].closed, "a connection that nobody looks after");
}

/* No more faults and no more malice: what is owed must arrive, in a bounded number of steps. */
static void finish(void)
{
    enum { QUIET = 12 };
    uds_echo_stats before, now;
    int i, round, quiet = 0, moved, error = UDS_ECHO_OK;
    fake_fault(0, 0, 0);
    fake.descriptors_max = 64;
    memset(&before, 0, sizeof before);
    for (i = 0; i < PEERS; i++)
        if (peers[i].id >= 0) (void)fake_peer_shutdown(peers[i].id, SHUT_WR);
    for (round = 0; round < 3000 && (quiet < QUIET || error == UDS_ECHO_OK); round++) {
        if (quiet == QUIET) {
            nobody_is_forgotten();
            uds_echo_server_stop(server, UDS_ECHO_DRAIN);
        }
        while (debt_count) pay(0);
        error = (int)step();
        uds_echo_server_stats(server, &now);
        moved =
            now.accepted != before.accepted || now.bytes_in != before.bytes_in || now.connections != before.connections;
        before = now;
        for (i = 0; i < PEERS; i++) moved += listen_to(&peers[i], 64);
        quiet = moved ? 0 : quiet + 1;
        fake_sleep(quiet > QUIET ? 100 : 1); /* long enough for any rest or grace, and a drain has its deadline */
        lawful();
    }
    CHECK(error == UDS_ECHO_STOPPED, "a drain that does not end");
}

/* At an orderly end all was handed over and all of what was answered arrived. */
static void settle_accounts(void)
{
    int i;
    for (i = 0; i < PEERS; i++) {
        peer *p = &peers[i];
        CHECK(!p->welcome || p->closed, "a connection without its on_close");
        if (p->id < 0 || !p->closed || p->why != UDS_ECHO_OK || p->answered_size + 64 > KEPT) continue;
        CHECK(p->got == p->answered_size, "an orderly end, and bytes are missing");
    }
}

/* Only a retire that could not lock, look or unlink may leave the path. */
static int excused(void)
{
    int i;
    for (i = 0; i < fault_count; i++) {
        fake_call what = fake_call_at(faults[i]);
        if (what == FAKE_flock || what == FAKE_fstatat || what == FAKE_unlinkat) return 1;
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uds_echo_server_desc desc;
    size_t i;
    if (size < CONFIG || size > 2048) return 0;
    fake_reset();
    fake.queue_bytes = data[5] % 128 + 1u;
    fake.calls_max = 1000000;
    memset(ids, 0, sizeof ids);
    memset(peers, 0, sizeof peers);
    for (i = 0; i < PEERS; i++) peers[i].id = -1;
    fault_count = debt_count = next_peer = crowds = 0;
    seed = data[6];
    desc = describe(data);
    if (uds_echo_server_open(&server, &desc, NULL)) abort();
    for (i = CONFIG; i + 1 < size; i += 2) act(data[i], data[i + 1]);
    finish();
    settle_accounts();
    CHECK(uds_echo_server_close(server) == UDS_ECHO_OK, "close");
    server = NULL;
    for (i = 0; i < PEERS; i++) leave(&peers[i]);
    fuzz_finish();
    CHECK(!fake_exists(PATH) || excused(), "the path is left behind");
    return 0;
}
