/* fuzz_both.c - our clients and our echo server together: whatever the order in which they run and whatever call fails,
   what comes back is a prefix of what was sent, and once nothing fails any more everybody gets on.

   Input: four bytes of sizes and limits, then three bytes an action. While a client waits, the server is stepped. */
#include "fuzz.h"

enum { CONFIG = 4, CLIENTS = 3, LONGEST = 256 };

/* A client in the middle of an exchange that is done in pieces, and asked to go on again and again. */
typedef struct talker {
    uds_echo_client client;
    uds_echo_io io;
    unsigned char out[LONGEST], in[LONGEST];
    int cut; /* it met an error that ends it */
} talker;

static talker talkers[CLIENTS];
static uds_echo_server *server;
static int has_idle;
static int over;        /* it is closed */
static int server_lost; /* connections that the server gave up with a named error */

/* The server runs until something happened; a step may only have to look away from something. */
static int world(void *user)
{
    uds_echo_stats before, after;
    int steps;
    (void)user;
    uds_echo_server_stats(server, &before);
    for (steps = 0; steps < 4; steps++) {
        (void)uds_echo_server_step(server, 0);
        uds_echo_server_stats(server, &after);
        before.waits = after.waits;
        if (memcmp(&before, &after, sizeof after)) return 1;
    }
    return 0;
}

static void on_close(uds_echo_conn *conn, uds_echo_error why, void *user)
{
    (void)user;
    CHECK(why == UDS_ECHO_OK || why == UDS_ECHO_ERR_RESET || (why == UDS_ECHO_ERR_IDLE && has_idle) ||
              fuzz_struck(conn->fd) || over,
          "the server ends what nothing ended");
    server_lost += why && (why != UDS_ECHO_ERR_RESET || fuzz_struck(conn->fd));
}

static void hang_up(talker *t)
{
    uds_echo_client_close(&t->client);
    memset(&t->io, 0, sizeof t->io);
    t->cut = 0;
}

static void dial(talker *t, unsigned stream, size_t size)
{
    uds_echo_client_desc desc;
    uds_echo_error error;
    int failed;
    hang_up(t);
    memset(&desc, 0, sizeof desc);
    desc.path = PATH;
    desc.timeout_ms = 50;
    fuzz_fault_note();
    failed = fuzz_hits;
    error = uds_echo_client_open(&t->client, &desc, NULL);
    fuzz_fault_note();
    CHECK(error == UDS_ECHO_OK || error == UDS_ECHO_ERR_TIMEOUT || failed != fuzz_hits,
          "it cannot connect, and nothing failed");
    fuzz_pattern(t->out, size, 0, stream);
    t->io.out = t->out;
    t->io.out_size = t->io.in_size = size;
    t->io.in = t->in;
}

/* Only what failed at this client, or at the server's side of it, ends an exchange: of the others' faults it knows
   nothing. */
ORACLE static void check_end(const talker *t, uds_echo_error error)
{
    fuzz_fault_note();
    switch (error) {
    case UDS_ECHO_OK:
    case UDS_ECHO_ERR_TIMEOUT:
    case UDS_ECHO_ERR_BUFFER_FULL: break;
    case UDS_ECHO_ERR_UNEXPECTED_EOF:
    case UDS_ECHO_ERR_RESET: /* the server may have lost it before it could tell anybody */
        CHECK(t->client.shutdown_sent || has_idle || server_lost || fuzz_struck(t->client.fd) ||
                  fuzz_fatal[FAKE_setsockopt],
              "cut for nothing");
        break;
    default: CHECK(fuzz_struck(t->client.fd) || fuzz_fatal[FAKE_poll], "an error that nothing explains");
    }
}

static void go_on(talker *t, int timeout_ms)
{
    uds_echo_error error;
    if (t->client.fd < 0 || t->cut) return;
    error = uds_echo_client_exchange(&t->client, &t->io, timeout_ms);
    CHECK(t->io.got <= t->io.sent && !memcmp(t->in, t->out, t->io.got), "not what was sent came back");
    CHECK(error != UDS_ECHO_OK || t->io.got == t->io.out_size, "OK, and something is missing");
    CHECK(error != UDS_ECHO_ERR_INVALID, "an exchange that is refused");
    check_end(t, error);
    t->cut = error != UDS_ECHO_OK && error != UDS_ECHO_ERR_TIMEOUT && error != UDS_ECHO_ERR_BUFFER_FULL;
}

static uds_echo_error call(size_t size, size_t capacity, int timeout_ms)
{
    unsigned char out[LONGEST], in[LONGEST];
    size_t got;
    uds_echo_error error;
    fuzz_pattern(out, size, 0, 9);
    error = uds_echo_call(PATH, out, size, in, capacity, &got, timeout_ms, NULL);
    CHECK(got <= size && got <= capacity && !memcmp(in, out, got), "not what was sent came back");
    fuzz_fault_settle();
    /* a stream cannot tell the end of an answer from a server that gave the connection up */
    CHECK(error != UDS_ECHO_OK || got == size || fuzz_fatal_any || has_idle, "OK, and something is missing");
    CHECK(error != UDS_ECHO_ERR_TRUNCATED || got == capacity, "cut, and there was room");
    return error;
}

static void act(unsigned char what, unsigned char who, unsigned char with)
{
    talker *t = &talkers[who % CLIENTS];
    switch (what % 8) {
    case 0: (void)uds_echo_server_step(server, 0); break;
    case 1: dial(t, who % CLIENTS, (size_t)with + 1); break;
    case 2: go_on(t, 0); break;
    case 3: go_on(t, with); break;
    case 4: (void)call(with, who, with & 1 ? who : 500); break;
    case 5:
        if (with > 200) hang_up(t);
        else if (with > 190 && t->client.fd >= 0 && t->io.sent == t->io.out_size)
            (void)uds_echo_client_shutdown(&t->client);
        break;
    case 6: fake_sleep(with); break;
    default: fuzz_fault(who, with);
    }
    fuzz_lawful();
}

/* No more faults: whoever is connected gets on, if there was a place for each, and then a newcomer is served. */
static void progress(int has_places)
{
    int i, round;
    fuzz_fault_settle();
    for (round = 0; round < 40; round++)
        for (i = 0; i < CLIENTS; i++) go_on(&talkers[i], 5);
    for (i = 0; i < CLIENTS && has_places; i++)
        CHECK(talkers[i].client.fd < 0 || talkers[i].cut || talkers[i].io.got == talkers[i].io.out_size ||
                  fuzz_struck(talkers[i].client.fd), /* it takes the server for gone, and that is there */
              "it hangs");
    for (i = 0; i < CLIENTS; i++) hang_up(&talkers[i]);
    for (i = 0; i < 10; i++) fake_sleep(50), (void)uds_echo_server_step(server, 0); /* any rest is over */
    CHECK(call(100, 100, 1000) == UDS_ECHO_OK, "a call to a server that is well");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uds_echo_server_desc desc;
    size_t i;
    if (size < CONFIG || size > 512) return 0;
    fuzz_begin();
    fake.queue_bytes = data[0] % 64 + 4u;
    fake.calls_max = 1000000; /* a byte at a time, each with its looks at the clock, is no livelock */
    memset(&desc, 0, sizeof desc);
    desc.message_max = data[1] % 64 + 1;
    desc.connections_max = data[2] % 3 + 1;
    desc.step_messages = data[2] & 128 ? 1 : 0;
    desc.idle_ms = data[3] & 1 ? data[3] : 0;
    desc.on_close = on_close;
    has_idle = desc.idle_ms > 0;
    over = server_lost = 0;
    memset(talkers, 0, sizeof talkers);
    for (i = 0; i < CLIENTS; i++) talkers[i].client.fd = -1;
    if (uds_echo_server_adopt(&server, fuzz_listener(PATH, 1), &desc, NULL)) abort();
    fake.world = world;
    for (i = CONFIG; i + 2 < size; i += 3) act(data[i], data[i + 1], data[i + 2]);
    progress(!desc.idle_ms && desc.connections_max == CLIENTS);
    over = 1;
    CHECK(uds_echo_server_close(server) == UDS_ECHO_OK, "close");
    fuzz_finish();
    return 0;
}
