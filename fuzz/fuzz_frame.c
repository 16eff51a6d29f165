/* fuzz_frame.c - framing: whatever the pieces in which bytes arrive, the handler sees exactly the messages that a
   parser which has all of them at once would see, and the connection ends for the reason that parser would give.

   Input: four bytes of sizes, of the kind of framing and of the length of the stream; then the script, two bytes an
   action, which says how the bytes arrive; the peer's bytes are taken from the end of the input. */
#include "fuzz.h"

enum { CONFIG = 4, STREAM_MAX = 512 };
enum { BY_LENGTH, BY_NEWLINE, FIXED, NEVER, LATE, KINDS };

static unsigned char stream[STREAM_MAX];
static size_t stream_size, said, heard, handed;
static int kind, peer, closed, left;
static uds_echo_error why;

static size_t frame(const unsigned char *bytes, size_t size, void *user)
{
    const unsigned char *end;
    (void)user;
    if (!size) return 0;
    switch (kind) {
    case BY_LENGTH: return (bytes[0] & 31u) + 1; /* known before it is whole */
    case BY_NEWLINE:
        end = (const unsigned char *)memchr(bytes, '\n', size);
        return end ? (size_t)(end - bytes) + 1 : 0; /* not known before it is whole */
    case FIXED: return 5;
    case NEVER: return 0;
    default: return bytes[0] & 128 ? (size_t)-1 : size < 2 ? 0 : bytes[0] % 16u + 1; /* and absurd lengths */
    }
}

static size_t asked(const unsigned char *bytes, size_t size, void *user)
{
    CHECK(size > 0, "asked for a message in nothing");
    CHECK(said >= handed + size && !memcmp(stream + handed, bytes, size),
          "asked about other bytes than those that come next");
    return frame(bytes, size, user);
}

/* The reference: the length of the message that begins here when all that ever comes is known. 0: none. */
static size_t message_at(size_t from, size_t message_max, uds_echo_error *end)
{
    size_t here = stream_size - from, length;
    *end = UDS_ECHO_OK;
    if (!here) return 0;
    length = frame(stream + from, here < message_max ? here : message_max, NULL);
    if (length && length <= here && length <= message_max) return length;
    *end = length > message_max || here >= message_max ? UDS_ECHO_ERR_TOO_LONG : UDS_ECHO_ERR_UNEXPECTED_EOF;
    return 0;
}

static uds_echo_verdict on_message(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    uds_echo_error end;
    (void)conn, (void)user;
    CHECK(m->size == message_at(handed, m->capacity, &end), "not the message that a parser sees");
    CHECK(handed + m->size <= said && !memcmp(stream + handed, m->data, m->size), "a message that was not sent");
    memset(m->data + m->size, 0xee, m->capacity - m->size); /* all of it may be written */
    handed += m->size;
    return UDS_ECHO_REPLY;
}

static void on_close(uds_echo_conn *conn, uds_echo_error error, void *user)
{
    (void)conn, (void)user;
    CHECK(!closed++, "on_close twice");
    why = error;
}

static void say(size_t size)
{
    long n;
    if (left || said + size > stream_size) size = left ? 0 : stream_size - said;
    n = size ? fake_peer_send(peer, stream + said, size) : 0;
    if (n > 0) said += (size_t)n;
}

static int hear(size_t size)
{
    unsigned char bytes[64];
    long n = fake_peer_recv(peer, bytes, size);
    if (n <= 0) return 0;
    CHECK(heard + (size_t)n <= handed && !memcmp(stream + heard, bytes, (size_t)n), "not what was handled comes back");
    heard += (size_t)n;
    return 1;
}

static void act(uds_echo_server *server, unsigned char what, unsigned char with)
{
    switch (what % 6) {
    case 0: (void)uds_echo_server_step(server, 0); break;
    case 1: say(with % 64 + 1u); break;
    case 2: (void)hear(with % 64 + 1u); break;
    case 3: (void)fake_peer_arrive(peer, with % 32 + 1u); break;
    case 4: (void)fake_peer_drain(peer, with % 32 + 1u); break;
    default: say(1), (void)uds_echo_server_step(server, 0);
    }
    fuzz_lawful();
}

/* All of it is said and read, and the peer half-closes: the end must be the reference's. */
static void finish(uds_echo_server *server, size_t message_max)
{
    uds_echo_error end;
    size_t rounds;
    for (rounds = 0; rounds < 50 + 4 * stream_size && !closed; rounds++) {
        say(64);
        if (said == stream_size && !left++) (void)fake_peer_shutdown(peer, SHUT_WR);
        (void)fake_peer_arrive(peer, STREAM_MAX);
        (void)fake_peer_drain(peer, STREAM_MAX);
        (void)uds_echo_server_step(server, 0);
        while (hear(64)) continue;
        fuzz_lawful();
    }
    while (hear(64)) continue;
    CHECK(closed, "it does not end in as many steps as there are bytes");
    (void)message_at(handed, message_max, &end);
    CHECK(message_at(handed, message_max, &end) == 0 && why == end, "the end is not the reference's");
    CHECK(heard == handed, "an answer is missing");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uds_echo_server_desc desc;
    uds_echo_server *server;
    size_t i;
    if (size < CONFIG || size > 1024) return 0;
    fuzz_begin();
    fake.queue_bytes = data[0] % 128 + 1u;
    fake.staged = data[0] >> 7;
    kind = data[1] % KINDS;
    stream_size = (size - CONFIG) * (data[3] % 8 + 1u) / 8;
    if (stream_size > STREAM_MAX) stream_size = STREAM_MAX;
    memcpy(stream, data + size - stream_size, stream_size);
    said = heard = handed = 0;
    closed = left = 0;
    why = UDS_ECHO_OK;
    memset(&desc, 0, sizeof desc);
    desc.message_max = data[2] % 40 + 1;
    desc.connections_max = 1;
    desc.frame = asked;
    desc.on_message = on_message;
    desc.on_close = on_close;
    if (uds_echo_server_adopt(&server, fuzz_listener("/s", 1), &desc, NULL)) abort();
    peer = fake_peer_connect("/s");
    for (i = CONFIG; i + 1 < size - stream_size && !closed; i += 2) act(server, data[i], data[i + 1]);
    finish(server, (size_t)desc.message_max);
    CHECK(uds_echo_server_close(server) == UDS_ECHO_OK, "close");
    fake_peer_close(peer);
    fuzz_finish();
    return 0;
}
