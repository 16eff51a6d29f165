/* fuzz_api.c - the public functions in any order, with any of what we have for an argument, NULL included, and from
   callbacks too. Whatever is called, it returns one of its errors, waits for nothing that cannot come, and breaks no
   law.

   Input: a byte that says what to call, and bytes for its arguments; callbacks go on reading where the calls are. */
#include "fuzz.h"

enum { SERVERS = 3, CLIENTS = 2, PEERS = 4, IDS = 6, DEPTH = 3 };

static fuzz_input in;
static uds_echo_server *servers[SERVERS];
static uds_echo_server_desc descs[SERVERS];
static uds_echo_client clients[CLIENTS];
static uds_echo_id ids[IDS];
static int peers[PEERS];
static int stopping[SERVERS], inside[SERVERS], depth, calls;
static unsigned char next_id;

static void act(uds_echo_conn *conn);

/* In a callback some calls are made that are not allowed there, and must say so. */
static void from_callback(uds_echo_server *s, uds_echo_conn *conn)
{
    int n = fuzz_byte(&in) & 3, k;
    for (k = 0; k < SERVERS; k++) inside[k] += s && servers[k] == s;
    if (depth < DEPTH)
        while (n-- > 0) act(conn);
    for (k = 0; k < SERVERS; k++) inside[k] -= s && servers[k] == s;
}

static int on_open(uds_echo_conn *conn, void *user)
{
    (void)user;
    ids[next_id++ % IDS] = uds_echo_conn_id(conn);
    from_callback(uds_echo_conn_server(conn), conn);
    return fuzz_byte(&in) % 8 == 7;
}

static void on_close(uds_echo_conn *conn, uds_echo_error why, void *user)
{
    (void)user;
    CHECK((int)why >= 0 && why < UDS_ECHO_ERROR_COUNT, "closed for a reason that does not exist");
    CHECK(!uds_echo_server_find(uds_echo_conn_server(conn), uds_echo_conn_id(conn)), "found while it ends");
    from_callback(uds_echo_conn_server(conn), conn);
}

static uds_echo_verdict on_message(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    unsigned char how;
    (void)user;
    from_callback(uds_echo_conn_server(conn), conn);
    how = fuzz_byte(&in);
    if (how & 64) m->size = how & 31;
    return how % 8 < 4 ? UDS_ECHO_REPLY : fuzz_verdicts[how % 8 - 3];
}

static void on_wake(uds_echo_server *s, void *user)
{
    (void)user;
    from_callback(s, NULL);
}

static void on_ready(uds_echo_server *s, void *user)
{
    int k = (int)((uds_echo_server_desc *)user - descs);
    servers[k] = s;
    from_callback(s, NULL);
}

static void on_end(uds_echo_server *s, void *user)
{
    from_callback(s, NULL);
    servers[(uds_echo_server_desc *)user - descs] = NULL;
}

static void on_log(uds_echo_log_level level, uds_echo_error cause, const char *text, void *user)
{
    (void)level, (void)cause, (void)user;
    CHECK(strlen(text) > 0 && !strchr(text, '\n'), "a log line");
}

static size_t frame(const unsigned char *bytes, size_t size, void *user)
{
    (void)user;
    return size ? bytes[0] % 8u : 0;
}

static void open_server(int k)
{
    uds_echo_server_desc *d = &descs[k];
    uds_echo_failure why;
    uds_echo_error error;
    const unsigned char how = fuzz_byte(&in), more = fuzz_byte(&in);
    uds_echo_server *made = NULL;
    if (servers[k]) return;
    memset(d, 0, sizeof *d);
    d->path = how & 1 ? PATH : "/w/two";
    d->message_max = how >> 1 & 15;
    d->connections_max = (how >> 5) - 1;
    d->when_full = more & 1 ? UDS_ECHO_FULL_EVICT : UDS_ECHO_FULL_QUEUE;
    d->idle_ms = more & 2 ? 30 : 0;
    d->drain_ms = 100;
    d->lock_ms = -1;
    d->frame = more & 4 ? frame : NULL;
    d->on_message = more & 8 ? NULL : on_message;
    d->on_open = on_open;
    d->on_close = on_close;
    d->on_wake = on_wake;
    d->on_ready = on_ready;
    d->on_end = on_end;
    d->on_log = on_log;
    d->user = d;
    if (more >> 4 == 15) d->mode = -1;
    if (more >> 4 == 14) d->path = NULL;
    if (more >> 4 >= 8 && more >> 4 < 12) {
        d->path = NULL;
        d->share_with = servers[(k + 1) % SERVERS];
        if (inside[(k + 1) % SERVERS]) return;
    }
    stopping[k] = 0;
    if (more >> 4 == 13) {
        int fd;
        fuzz_fault_settle(); /* what the harness needs does not fail */
        fd = fuzz_listener("/w/adopted", 2);
        fake_remove("/w/adopted");
        d->path = NULL;
        error = uds_echo_server_adopt(&made, fd, d, &why);
        if (error) (void)fake_close(fd);
    } else {
        error = uds_echo_server_open(&made, d, &why);
    }
    CHECK((error == UDS_ECHO_OK) == (made != NULL), "success without a server, or a server without success");
    CHECK(why.error == error, "the failure is not filled in");
    servers[k] = made;
}

/* A connection is good in its own callback, or until the next step: found anew each time. */
static uds_echo_conn *some_conn(uds_echo_conn *own, int k)
{
    const unsigned char which = fuzz_byte(&in);
    if (which & 128) return NULL;
    if (which & 64 && own) return own;
    return uds_echo_server_find(servers[k], ids[which % IDS]);
}

static void use_conn(uds_echo_conn *c)
{
    unsigned char bytes[40] = {0};
    uds_echo_peer who;
    uds_echo_error error;
    switch (fuzz_byte(&in) % 6) {
    case 0:
    case 1:
        error = uds_echo_conn_send(c, bytes, fuzz_byte(&in) % sizeof bytes);
        CHECK(c || error == UDS_ECHO_ERR_INVALID, "a send to nobody");
        break;
    case 2: CHECK(uds_echo_conn_send(c, NULL, 1) == UDS_ECHO_ERR_INVALID, "a send of nothing"); break;
    case 3: uds_echo_conn_close(c); break;
    case 4:
        error = uds_echo_conn_peer(c, &who);
        CHECK(!error == (who.uid != -1), "a peer without identity");
        CHECK(uds_echo_conn_peer(c, NULL) == UDS_ECHO_ERR_INVALID, "nowhere to put it");
        break;
    default:
        uds_echo_conn_set_user(c, bytes);
        CHECK(uds_echo_conn_user(c) == (c ? bytes : NULL), "the user pointer");
        CHECK(!c == !uds_echo_conn_id(c) && !c == !uds_echo_conn_server(c), "an id and a server of its own");
    }
}

static void close_server(int k)
{
    uds_echo_server *s = servers[k];
    const int reentrant = inside[k];
    const uds_echo_error error = uds_echo_server_close(s);
    CHECK(error == (reentrant ? UDS_ECHO_ERR_REENTRANT : UDS_ECHO_OK), "close");
    if (!reentrant) servers[k] = NULL;
}

static void stop_server(int k, uds_echo_stop_mode how)
{
    fuzz_fault_settle(); /* the kernel never refuses to ring, and a stop that is lost would be waited for */
    uds_echo_server_stop(servers[k], how);
    stopping[k] = 1;
}

static void run_server(int k)
{
    uds_echo_error error, wanted = !servers[k] ? UDS_ECHO_ERR_INVALID : UDS_ECHO_OK;
    int failed;
    if (inside[k]) wanted = UDS_ECHO_ERR_REENTRANT;
    if (!wanted && !stopping[k]) stop_server(k, UDS_ECHO_STOP_DRAIN);
    fuzz_fault_note();
    failed = fuzz_hits;
    depth++;
    error = uds_echo_server_run(servers[k]);
    depth--;
    fuzz_fault_note();
    CHECK(error == wanted || failed != fuzz_hits, "run");
}

static void step_server(int k)
{
    uds_echo_error error;
    const int reentrant = inside[k];
    depth++;
    error = uds_echo_server_step(servers[k], servers[k] ? fuzz_byte(&in) % 4 : 0);
    depth--;
    if (reentrant) CHECK(error == UDS_ECHO_ERR_REENTRANT, "a step inside a callback");
    else
        CHECK(error == UDS_ECHO_OK || error == UDS_ECHO_ERR_STOPPED || error == UDS_ECHO_ERR_INVALID ||
                  (error == UDS_ECHO_ERR_SYSTEM && fake_fault_happened()), /* poll(2) may want memory */
              "a step");
}

static void use_client(uds_echo_client *c)
{
    unsigned char bytes[32] = {0}, back[32];
    uds_echo_client_desc d;
    uds_echo_error error;
    uds_echo_io io;
    const unsigned char how = fuzz_byte(&in);
    switch (how % 5) {
    case 0:
        uds_echo_client_close(c);
        memset(&d, 0, sizeof d);
        d.path = how & 16 ? PATH : how & 32 ? "/w/two" : NULL;
        d.timeout_ms = 1;
        CHECK(!uds_echo_client_open(c, &d, NULL) == (uds_echo_client_fd(c) >= 0), "open, and its descriptor");
        break;
    case 1: (void)uds_echo_client_shutdown(c); break;
    case 2: uds_echo_client_close(c); break;
    case 3: (void)uds_echo_call(PATH, bytes, how >> 3, back, how >> 4, NULL, how >> 6, NULL); break;
    default:
        memset(&io, 0, sizeof io);
        io.out = bytes;
        io.out_size = how >> 3;
        io.in = back;
        io.in_size = fuzz_byte(&in) % sizeof back;
        error = uds_echo_client_exchange(how & 128 ? NULL : c, &io, how & 3);
        if (error == UDS_ECHO_ERR_NO_MEMORY || error == UDS_ECHO_ERR_SYSTEM)
            uds_echo_client_close(c); /* it is not to be gone on with */
    }
}

static void use_peer(int n)
{
    unsigned char bytes[32] = {1, 2, 3, 4, 5, 6, 7, 0};
    const unsigned char how = fuzz_byte(&in);
    if (peers[n] < 0) {
        peers[n] = fake_peer_connect(how & 1 ? PATH : "/w/two");
        return;
    }
    switch (how % 4) {
    case 0: (void)fake_peer_send(peers[n], bytes, how / 8 + 1u); break;
    case 1: (void)fake_peer_recv(peers[n], bytes, how / 8 + 1u); break;
    case 2: (void)fake_peer_shutdown(peers[n], how & 4 ? SHUT_WR : SHUT_RDWR); break;
    default: fake_peer_close(peers[n]); peers[n] = -1;
    }
}

static void ask_server(int k)
{
    uds_echo_stats stats;
    uds_echo_server_stats(servers[k], &stats);
    CHECK(stats.bytes_out <= ~0ull / 2 && stats.pending <= stats.pending_peak, "counters");
    CHECK(servers[k] || (!stats.waits && !stats.accepted), "counters of nobody");
    CHECK((uds_echo_server_fd(servers[k]) >= 0) == (UDS_ECHO_HAVE_EPOLL && servers[k]), "the descriptor of a server");
    CHECK(uds_echo_server_timeout(servers[k]) >= -1, "a timeout");
    uds_echo_server_stats(servers[k], NULL);
}

/* conn: of the callback that this is called from, or NULL. */
static void act(uds_echo_conn *conn)
{
    const unsigned char what = fuzz_byte(&in);
    const int k = what / 16 % SERVERS;
    if (calls++ > 300) return;
    switch (what % 16) {
    case 0:
    case 1:
    case 2: step_server(k); break;
    case 3: open_server(k); break;
    case 4:
        if (fuzz_byte(&in) & 1) close_server(k);
        break;
    case 5: run_server(k); break;
    case 6: stop_server(k, what & 128 ? UDS_ECHO_STOP_NOW : UDS_ECHO_STOP_DRAIN); break;
    case 7: uds_echo_server_wake(servers[k]); break;
    case 8: ask_server(k); break;
    case 9:
    case 10: use_conn(some_conn(conn, k)); break;
    case 11: use_client(&clients[k % CLIENTS]); break;
    case 12:
    case 13: use_peer(what / 16 % PEERS); break;
    case 14: fake_sleep(what); break;
    default:
        if (!depth && !conn) fuzz_fault(what / 16, fuzz_byte(&in));
    }
    fuzz_lawful();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int k;
    if (size > 512) return 0;
    fuzz_begin();
    in.at = data;
    in.left = size;
    fake.queue_bytes = 40;
    memset(servers, 0, sizeof servers);
    memset(stopping, 0, sizeof stopping);
    memset(inside, 0, sizeof inside);
    memset(ids, 0, sizeof ids);
    for (k = 0; k < CLIENTS; k++) clients[k].fd = -1;
    for (k = 0; k < PEERS; k++) peers[k] = -1;
    depth = calls = next_id = 0;
    while (in.left) act(NULL);
    fuzz_fault_settle();
    calls = 1000; /* callbacks call nothing more */
    for (k = 0; k < CLIENTS; k++) uds_echo_client_close(&clients[k]);
    for (k = 0; k < SERVERS; k++) close_server(k);
    for (k = 0; k < PEERS; k++)
        if (peers[k] >= 0) fake_peer_close(peers[k]);
    fuzz_finish();
    return 0;
}
