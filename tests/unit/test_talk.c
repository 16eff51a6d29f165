/* A client in trouble: peers that end, buffers that are full, calls that fail. */
#include "harness.h"
#include "scripted.h"
#include "served.h"

static uds_echo_failure why;

/* ---- the client -------------------------------------------------------------------------------------------------- */

/* The peer has said all it will and is still listening: sending goes on to its end. */
static void sending_after_the_peers_end(void **state)
{
    uds_echo_client client;
    char out[100], in[10];
    uds_echo_io io = {out, sizeof out, 0, in, sizeof in, 0};
    (void)state;
    memset(out, 'o', sizeof out);
    fake.queue_bytes = 16;
    client = connected();
    script = "serrrrrrrr";
    assert_int_equal(uds_echo_client_exchange(&client, &io, 1000), UDS_ECHO_OK);
    assert_int_equal(io.sent, 100);
    assert_int_equal(io.got, 10);
    uds_echo_client_close(&client);
    fake_peer_close(peer);
}

/* In a loop of one's own: what is ready for ever, and leads to nothing, is not waited for. */
static void what_to_wait_for(void **state)
{
    uds_echo_client client, closed;
    char out[64], in[10];
    uds_echo_io io = {out, sizeof out, 0, in, sizeof in, 0};
    (void)state;
    memset(out, 'o', sizeof out);
    fake.queue_bytes = 16;
    client = connected();
    assert_int_equal(uds_echo_client_events(&client, &io), POLLIN | POLLOUT);
    assert_int_equal(uds_echo_client_exchange(&client, &io, 0), UDS_ECHO_ERR_TIMEOUT);
    assert_int_equal(fake_peer_shutdown(peer, SHUT_WR), 0);
    assert_int_equal(uds_echo_client_exchange(&client, &io, 0), UDS_ECHO_ERR_TIMEOUT);
    assert_int_equal(uds_echo_client_events(&client, &io), POLLOUT); /* its end was read */
    assert_int_equal(fake_peer_recv(peer, out, 16), 16);
    assert_int_equal(fake_peer_shutdown(peer, SHUT_RD), 0);
    assert_int_equal(uds_echo_client_exchange(&client, &io, 0), UDS_ECHO_ERR_UNEXPECTED_EOF);
    assert_int_equal(uds_echo_client_events(&client, &io), 0);
    uds_echo_client_close(&client);
    assert_int_equal(uds_echo_client_events(&client, &io), 0);
    fake_peer_close(peer);
    fake_remove(PATH);
    client = connected();
    assert_int_equal(fake_peer_shutdown(peer, SHUT_RD), 0); /* a drain that owes an answer */
    io.sent = 0;
    assert_int_equal(uds_echo_client_exchange(&client, &io, 0), UDS_ECHO_ERR_TIMEOUT);
    assert_int_equal(uds_echo_client_events(&client, &io), POLLIN);
    io.sent = io.out_size;
    assert_int_equal(uds_echo_client_events(&client, &io), POLLIN);
    assert_int_equal(uds_echo_client_events(&client, NULL), 0);
    memset(&closed, 0, sizeof closed);
    assert_int_equal(uds_echo_client_events(&closed, &io), 0);
    assert_int_equal(uds_echo_client_events(NULL, &io), 0);
    uds_echo_client_close(&client);
    fake_peer_close(peer);
}

/* Full, but sending still moves: that comes first, and BUFFER_FULL only when nothing can. */
static void full_and_sending(void **state)
{
    uds_echo_client client;
    char out[64];
    uds_echo_io io = {out, sizeof out, 0, NULL, 0, 0};
    (void)state;
    memset(out, 'o', sizeof out);
    fake.queue_bytes = 16;
    client = connected();
    script = "brrr";
    assert_int_equal(uds_echo_client_exchange(&client, &io, 1000), UDS_ECHO_ERR_BUFFER_FULL);
    assert_int_equal(io.sent, 32);
    uds_echo_client_close(&client);
    fake_peer_close(peer);
}

static void fail_setsockopt(fake_call what)
{
    if (what == FAKE_setsockopt) fake_fault(fake_calls(), ENOBUFS, 0);
}

/* Better no client than one that may lose a byte. */
static void urgent_bytes_cannot_be_kept(void **state)
{
    uds_echo_client_desc desc;
    uds_echo_client client;
    (void)state;
    memset(&desc, 0, sizeof desc);
    desc.path = PATH;
    (void)fake_put_live(PATH, SOCK_STREAM, 1);
    fake_set_mode(PATH, 0777);
    fake.before = fail_setsockopt;
    assert_int_equal(uds_echo_client_open(&client, &desc, &why), UDS_ECHO_ERR_NO_MEMORY);
    assert_string_equal(why.call, "setsockopt");
    fake.before = NULL;
    assert_int_equal(client.is_open, 0);
}

/* P28: a byte sent with MSG_OOB is one of the stream for the client, too; and where there is no room for it, a client
   that cannot send either says so, instead of asking for ever. */
static void an_urgent_byte_is_one_of_the_stream(void **state)
{
    uds_echo_client client;
    char out[64], in[21];
    uds_echo_io io = {NULL, 0, 0, in, sizeof in, 0};
    (void)state;
    fake.queue_bytes = 16;
    client = connected();
    script = "sus";
    assert_int_equal(uds_echo_client_exchange(&client, &io, 1000), UDS_ECHO_OK);
    assert_memory_equal(in, "0123456789u0123456789", sizeof in);
    memset(&io, 0, sizeof io);
    memset(out, 'o', sizeof out);
    io.out = out;
    io.out_size = sizeof out;
    script = "u";
    assert_int_equal(uds_echo_client_exchange(&client, &io, 1000), UDS_ECHO_ERR_BUFFER_FULL);
    uds_echo_client_close(&client);
    fake_peer_close(peer);
}

/* It went away in mid-send: with the input full that is all there is to say; else what it said before is read first. */
static void it_went_away(void **state)
{
    int full;
    (void)state;
    for (full = 0; full < 2; full++) {
        uds_echo_client client;
        char out[100], in[20];
        uds_echo_io io = {out, sizeof out, 0, in, full ? 10 : 20, 0};
        memset(out, 'o', sizeof out);
        fake.queue_bytes = 16;
        client = connected();
        script = "sC";
        assert_int_equal(uds_echo_client_exchange(&client, &io, 1000),
                         full ? UDS_ECHO_ERR_RESET : UDS_ECHO_ERR_UNEXPECTED_EOF);
        assert_int_equal(io.got, 10);
        uds_echo_client_close(&client);
        fake_remove(PATH);
        fake_peer_close(listener);
    }
}

/* The first send meets that the peer is gone; what it said before is read all the same. */
static void last_words_are_read(void **state)
{
    char out[10] = "question", in[8];
    uds_echo_io io = {out, sizeof out, 0, in, sizeof in, 0};
    uds_echo_client client = connected();
    (void)state;
    assert_int_equal(fake_peer_send(peer, "bye", 3), 3);
    fake_peer_close(peer);
    assert_int_equal(uds_echo_client_exchange(&client, &io, 1000), UDS_ECHO_ERR_UNEXPECTED_EOF);
    assert_int_equal(io.got, 3);
    assert_memory_equal(in, "bye", 3);
    uds_echo_client_close(&client);
}

static void without_a_deadline(void **state)
{
    char reply[100];
    uds_echo_client client;
    uds_echo_client_desc desc;
    uds_echo_io io = {"message", 7, 0, reply, 30, 0};
    size_t n;
    int i, waiting[5];
    (void)state;
    client = connected();
    script = "sss";
    assert_int_equal(uds_echo_client_exchange(&client, &io, -1), UDS_ECHO_OK);
    uds_echo_client_close(&client);
    fake_peer_close(peer);
    script = "arsec";
    assert_int_equal(uds_echo_call(PATH, "hello", 5, reply, sizeof reply, &n, -1, &why), UDS_ECHO_OK);
    assert_int_equal(n, 10);
    for (i = 0; i < 5; i++) waiting[i] = fake_peer_connect(PATH);
    memset(&desc, 0, sizeof desc);
    desc.path = PATH;
    desc.timeout_ms = -1;
    script = ".........................aaaaaa";
    assert_int_equal(uds_echo_client_open(&client, &desc, NULL), UDS_ECHO_OK);
    uds_echo_client_close(&client);
    for (i = 0; i < 5; i++) fake_peer_close(waiting[i]);
}

static void clients_that_are_wrong(void **state)
{
    static const uds_echo_io bad[] = {
        {"x", 1, 2, NULL, 0, 0}, {"x", 1, 0, NULL, 0, 1}, {NULL, 1, 0, NULL, 0, 0}, {"x", 1, 0, NULL, 1, 0}};
    uds_echo_client client = connected(), closed = client;
    uds_echo_client_desc desc;
    uds_echo_io io = {"x", 1, 0, NULL, 0, 0};
    char reply[4];
    size_t i, n = 9;
    (void)state;
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        io = bad[i];
        assert_int_equal(uds_echo_client_exchange(&client, &io, 0), UDS_ECHO_ERR_INVALID);
    }
    io = bad[0];
    io.sent = 0;
    memset(&closed, 0, sizeof closed); /* its descriptor is 0, which is not its own */
    uds_echo_client_close(&closed);
    assert_int_equal(uds_echo_client_fd(&closed), -1);
    assert_int_equal(uds_echo_client_exchange(&closed, &io, 0), UDS_ECHO_ERR_INVALID);
    assert_int_equal(uds_echo_client_exchange(&client, NULL, 0), UDS_ECHO_ERR_INVALID);
    assert_int_equal(uds_echo_client_shutdown(&closed), UDS_ECHO_ERR_INVALID);
    assert_int_equal(uds_echo_client_fd(NULL), -1);
    assert_int_equal(uds_echo_client_fd(&client), client.fd);
    assert_int_equal(uds_echo_call(PATH, NULL, 1, reply, 4, &n, 5, &why), UDS_ECHO_ERR_INVALID);
    assert_string_equal(why.call, "msg");
    assert_int_equal(n, 0);
    assert_int_equal(uds_echo_call(PATH, "x", 1, NULL, 4, &n, 5, &why), UDS_ECHO_ERR_INVALID);
    assert_string_equal(why.call, "reply");
    assert_int_equal(uds_echo_call(PATH, "x", 1, reply, 4, &n, -2, &why), UDS_ECHO_ERR_INVALID);
    assert_string_equal(why.call, "timeout_ms");
    memset(&desc, 0, sizeof desc);
    desc.path = PATH;
    desc.trust = (uds_echo_trust)-1;
    assert_int_equal(uds_echo_client_open(&closed, &desc, &why), UDS_ECHO_ERR_INVALID);
    assert_string_equal(why.call, "desc.trust");
    desc.trust = (uds_echo_trust)3;
    assert_int_equal(uds_echo_client_open(&closed, &desc, &why), UDS_ECHO_ERR_INVALID);
    desc.trust = UDS_ECHO_TRUST_UID;
    desc.uid = 31;
    assert_int_equal(uds_echo_client_open(&closed, &desc, NULL), UDS_ECHO_ERR_UNTRUSTED);
    fail_next(FAKE_getsockopt, 0, 1, ENOBUFS);
    assert_int_equal(uds_echo_client_open(&closed, &desc, &why), UDS_ECHO_ERR_NO_MEMORY);
    assert_string_equal(why.call, "getsockopt");
    uds_echo_client_close(&client);
    fake_peer_close(peer);
}

/* What fails in mid-talk is told by its own name, and want of memory with the system's number. */
static void a_talk_that_fails(void **state)
{
    uds_echo_client client = connected();
    char reply[8];
    (void)state;
    fail_next(FAKE_shutdown, 0, 1, ENOBUFS);
    assert_int_equal(uds_echo_client_shutdown(&client), UDS_ECHO_ERR_NO_MEMORY);
    fail_next(FAKE_shutdown, 0, 1, ENOTCONN);
    assert_int_equal(uds_echo_client_shutdown(&client), UDS_ECHO_ERR_RESET);
    assert_int_equal(uds_echo_client_shutdown(&client), UDS_ECHO_OK);
    uds_echo_client_close(&client);
    fake_peer_close(peer);
    fail_next(FAKE_send, 0, 1, ENOBUFS);
    assert_int_equal(uds_echo_call(PATH, "x", 1, reply, sizeof reply, NULL, 1000, &why), UDS_ECHO_ERR_NO_MEMORY);
    assert_int_equal(why.os_error, ENOBUFS);
    assert_string_equal(why.call, "exchange");
    fail_next(FAKE_shutdown, 0, 1, ENOTCONN);
    assert_int_equal(uds_echo_call(PATH, "x", 1, reply, sizeof reply, NULL, 1000, &why), UDS_ECHO_ERR_RESET);
    assert_int_equal(why.os_error, ENOTCONN);
}

/* A path that fits no address is reached through its folder, and the folder is closed again. */
static void a_long_way_to_the_server(void **state)
{
    char folder[120], path[130], reply[16];
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    size_t n;
    (void)state;
    memset(folder, 'd', sizeof folder);
    memcpy(folder, "/w/", 3);
    folder[sizeof folder - 1] = '\0';
    fake_put_dir(folder);
    (void)snprintf(path, sizeof path, "%s/sock", folder);
    desc.path = path;
    server = serve(desc);
    fake.world = step_server;
    fake.user = server;
    assert_int_equal(uds_echo_call(path, "hello", 5, reply, sizeof reply, &n, 1000, &why), UDS_ECHO_OK);
    assert_int_equal(n, 5);
    fake.world = NULL;
    (void)uds_echo_server_close(server);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(sending_after_the_peers_end),
                                       TEST(urgent_bytes_cannot_be_kept),
                                       TEST(an_urgent_byte_is_one_of_the_stream),
                                       TEST(what_to_wait_for),
                                       TEST(full_and_sending),
                                       TEST(it_went_away),
                                       TEST(last_words_are_read),
                                       TEST(without_a_deadline),
                                       TEST(clients_that_are_wrong),
                                       TEST(a_talk_that_fails),
                                       TEST(a_long_way_to_the_server)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
