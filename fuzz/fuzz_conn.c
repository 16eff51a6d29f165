/* fuzz_conn.c - one connection of an echo server, as fast as it goes: bytes arrive and the peer's window drains in an
   order that the input decides, and calls fail.

   Input: three bytes of sizes and limits, then a byte an action. There is no path and no accepting of more than one:
   the listener is made here and adopted. */
#include "fuzz.h"

enum { CONFIG = 3, SENT_MAX = 8192 };

static unsigned char sent[SENT_MAX];
static size_t sent_size, got;
static int peer, half_closed, opened, closed, struck;
static uds_echo_error why;

static int on_open(uds_echo_conn *conn, void *user)
{
    (void)conn, (void)user;
    opened++;
    return 0;
}

static void on_close(uds_echo_conn *conn, uds_echo_error error, void *user)
{
    (void)user;
    CHECK(++closed <= opened, "on_close more often than on_open");
    struck = fuzz_struck(conn->fd);
    why = error;
}

ORACLE static void say(size_t size)
{
    unsigned char bytes[64];
    long n;
    if (half_closed || sent_size + size > SENT_MAX) return;
    fuzz_pattern(bytes, size, sent_size, 0);
    n = fake_peer_send(peer, bytes, size);
    if (n <= 0) return;
    memcpy(sent + sent_size, bytes, (size_t)n);
    sent_size += (size_t)n;
}

/* What comes back is at every moment a prefix of what was sent. 1: something came. */
ORACLE static int hear(size_t size)
{
    unsigned char bytes[64];
    long n = fake_peer_recv(peer, bytes, size);
    if (n <= 0) return 0;
    CHECK(got + (size_t)n <= sent_size && !memcmp(sent + got, bytes, (size_t)n), "not what was sent came back");
    got += (size_t)n;
    return 1;
}

static void half_close(void)
{
    if (!half_closed) (void)fake_peer_shutdown(peer, SHUT_WR);
    half_closed = 1;
}

static void act(uds_echo_server *server, unsigned char what)
{
    const size_t size = (size_t)(what >> 3) * 2 + 1;
    switch (what & 7) {
    case 0: (void)uds_echo_server_step(server, 0); break;
    case 1: say(size); break;
    case 2: (void)hear(size); break;
    case 3: (void)fake_peer_arrive(peer, size); break;
    case 4: (void)fake_peer_drain(peer, size); break;
    case 5:
        if (what >> 3 == 31) half_close();
        else fake_sleep(what >> 3);
        break;
    default: /* one of the next calls fails */ fuzz_fault(what >> 6, what >> 3 & 7);
    }
}

ORACLE static void lawful(const uds_echo_server *server)
{
    uds_echo_stats stats;
    fuzz_lawful();
    uds_echo_server_stats(server, &stats);
    CHECK(stats.pending <= 2 * server->message_max, "more is held than two messages");
    CHECK(stats.bytes_out <= stats.bytes_in && stats.bytes_in <= sent_size, "bytes out of nowhere");
}

/* No more faults: an orderly end brings everything back, in steps that are linear in the bytes. */
ORACLE static void finish(uds_echo_server *server)
{
    uds_echo_stats stats;
    size_t rounds = 0;
    fuzz_fault_settle();
    half_close();
    do {
        CHECK(rounds++ < 60 + 8 * (size_t)sent_size, "too many steps for so few bytes");
        (void)fake_peer_arrive(peer, SENT_MAX);
        (void)fake_peer_drain(peer, SENT_MAX);
        (void)uds_echo_server_step(server, 0);
        fake_sleep(10); /* no rest lasts longer than ten rounds */
        lawful(server);
        uds_echo_server_stats(server, &stats);
    } while (hear(64) || !stats.accepted || stats.connections);
    CHECK(why == UDS_ECHO_OK || why == UDS_ECHO_ERR_IDLE || struck, "an end that nothing explains");
    CHECK(!closed || why != UDS_ECHO_OK || got == sent_size, "an orderly end, and bytes are missing");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uds_echo_server *server = NULL;
    uds_echo_server_desc desc;
    size_t i;
    if (size < CONFIG || size > 1024) return 0;
    fuzz_begin();
    fake.queue_bytes = data[0] % 128 + 1u;
    fake.staged = data[0] >> 7;
    memset(&desc, 0, sizeof desc);
    desc.message_max = data[1] % 64 + 1;
    desc.connections_max = 1;
    desc.idle_ms = data[2] & 1 ? data[2] : 0;
    desc.send_buffer = data[2] & 2 ? 1 : 0;
    desc.on_open = on_open;
    desc.on_close = on_close;
    sent_size = got = 0;
    half_closed = opened = closed = struck = 0;
    why = UDS_ECHO_OK;
    if (uds_echo_server_adopt(&server, fuzz_listener("/s", 1), &desc, NULL)) abort();
    peer = fake_peer_connect("/s");
    for (i = CONFIG; i < size; i++) {
        act(server, data[i]);
        lawful(server);
    }
    finish(server);
    CHECK(closed == opened && (opened == 1 || fuzz_fatal[FAKE_setsockopt]), "on_open and on_close once each");
    CHECK(uds_echo_server_close(server) == UDS_ECHO_OK, "close");
    fake_peer_close(peer);
    fuzz_finish();
    return 0;
}
