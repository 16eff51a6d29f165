/* Every enumeration of the interface: its nonzero values are its own, and where the header is given one it takes the
   enumerators and nothing else. */
#include "harness.h"
#include "served.h"

enum { FROM = -1, TO = 1000 };

static uds_echo_failure why;

/* All nonzero enumerators in one switch: two that are equal do not compile. */
static int is_known(int value)
{
    switch (value) {
#define X_CASE(name, what, advice)                                                                                     \
    case name: return 1;
        UDS_ECHO_ERRORS(X_CASE)
#undef X_CASE
    case UDS_ECHO_NO_REPLY:
    case UDS_ECHO_DEFER:
    case UDS_ECHO_REPLY_AND_CLOSE:
    case UDS_ECHO_IF_EXISTS_REFUSE:
    case UDS_ECHO_PUBLISH_DIRECT:
    case UDS_ECHO_FULL_EVICT:
    case UDS_ECHO_STOP_NOW:
    case UDS_ECHO_LOG_WARNING:
    case UDS_ECHO_TRUST_UID:
    case UDS_ECHO_TRUST_UID_OR_ROOT: return 1;
    default: return 0;
    }
}

static void values_are_disjoint(void **state)
{
    const int zeroes[] = {UDS_ECHO_OK,
                          UDS_ECHO_REPLY,
                          UDS_ECHO_IF_EXISTS_REPLACE_STALE,
                          UDS_ECHO_PUBLISH_ATOMIC,
                          UDS_ECHO_FULL_QUEUE,
                          UDS_ECHO_STOP_DRAIN,
                          UDS_ECHO_LOG_INFO,
                          UDS_ECHO_TRUST_ANY};
    int value, known = 0;
    size_t i;
    (void)state;
    for (i = 0; i < sizeof zeroes / sizeof zeroes[0]; i++) assert_int_equal(zeroes[i], 0);
    for (value = 0; value <= TO; value++) known += is_known(value);
    assert_int_equal(known, UDS_ECHO_ERROR_COUNT + 10);
}

/* Opens with this value in a field of the description; its enumerators are 0 and member. */
static void takes_members(size_t offset, int member, const char *field)
{
    int value, taken = 0;
    for (value = FROM; value <= TO; value++) {
        uds_echo_server_desc desc = plain_desc();
        uds_echo_server *server;
        uds_echo_error error;
        memcpy((char *)&desc + offset, &value, sizeof value);
        error = uds_echo_server_open(&server, &desc, &why);
        if (value == 0 || value == member) {
            assert_int_equal(error, UDS_ECHO_OK);
            assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
            taken++;
        } else {
            assert_int_equal(error, UDS_ECHO_ERR_INVALID);
            assert_string_equal(why.call, field);
            assert_null(server);
        }
    }
    assert_int_equal(taken, 2);
}

static void fields_of_a_server(void **state)
{
    (void)state;
    takes_members(offsetof(uds_echo_server_desc, if_exists), UDS_ECHO_IF_EXISTS_REFUSE, "desc.if_exists");
    takes_members(offsetof(uds_echo_server_desc, publish), UDS_ECHO_PUBLISH_DIRECT, "desc.publish");
    takes_members(offsetof(uds_echo_server_desc, when_full), UDS_ECHO_FULL_EVICT, "desc.when_full");
}

static void trust_of_a_client(void **state)
{
    uds_echo_server_desc served = plain_desc();
    uds_echo_server *server = open_server(&served);
    int value, taken = 0;
    (void)state;
    for (value = FROM; value <= TO; value++) {
        uds_echo_client_desc desc;
        uds_echo_client client;
        uds_echo_error error;
        memset(&desc, 0, sizeof desc);
        desc.path = PATH;
        desc.timeout_ms = -1;
        desc.uid = -2; /* nobody's */
        memcpy(&desc.trust, &value, sizeof value);
        error = uds_echo_client_open(&client, &desc, &why);
        if (value == UDS_ECHO_TRUST_ANY || value == UDS_ECHO_TRUST_UID || value == UDS_ECHO_TRUST_UID_OR_ROOT) {
            assert_true(error == UDS_ECHO_OK || error == UDS_ECHO_ERR_UNTRUSTED);
            taken++;
        } else {
            assert_int_equal(error, UDS_ECHO_ERR_INVALID);
            assert_string_equal(why.call, "desc.trust");
        }
        uds_echo_client_close(&client);
        settle(server);
    }
    assert_int_equal(taken, 3);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

static int verdict;

static uds_echo_verdict on_message(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    uds_echo_verdict result;
    (void)conn, (void)m, (void)user;
    memcpy(&result, &verdict, sizeof result);
    return result;
}

/* What is no verdict closes the connection by name, and sends nothing. */
static void verdicts(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int replies = 0, broken = 0;
    (void)state;
    desc.on_message = on_message;
    fake.calls_max = 1000000;
    server = serve(desc);
    for (verdict = FROM; verdict <= TO; verdict++) {
        int peer = joined(server), ends_before = ended;
        say(peer, "hello");
        settle(server);
        if (verdict == UDS_ECHO_REPLY || verdict == UDS_ECHO_REPLY_AND_CLOSE) {
            assert_string_equal(heard(peer), "hello");
            replies++;
        } else {
            assert_string_equal(heard(peer), "");
        }
        if (verdict == UDS_ECHO_REPLY || verdict == UDS_ECHO_NO_REPLY || verdict == UDS_ECHO_DEFER) {
            assert_int_equal(ended, ends_before);
            fake_peer_close(peer);
            if (verdict == UDS_ECHO_DEFER) /* nobody listens any more, and the reply is still due */
                uds_echo_conn_close(uds_echo_server_find(server, (uds_echo_id)server->conns[0].generation << 32));
            settle(server);
        } else {
            fake_peer_close(peer);
            settle(server);
            assert_int_equal(ended, ends_before + 1);
            assert_int_equal(ends[ends_before],
                             verdict == UDS_ECHO_REPLY_AND_CLOSE ? UDS_ECHO_OK : UDS_ECHO_ERR_BAD_HANDLER);
            broken += verdict != UDS_ECHO_REPLY_AND_CLOSE;
        }
        ended = 0;
        assert_int_equal(stats_of(server).connections, 0);
    }
    assert_int_equal(replies, 2);
    assert_int_equal(broken, TO - FROM + 1 - 4);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

/* Only NOW aborts; whatever else is asked for drains. */
static void stop_modes(void **state)
{
    int value, aborted = 0;
    (void)state;
    for (value = FROM; value <= TO; value++) {
        uds_echo_server_desc desc = plain_desc();
        uds_echo_server *server;
        uds_echo_stop_mode mode;
        server = serve(desc);
        (void)joined(server);
        memcpy(&mode, &value, sizeof mode);
        uds_echo_server_stop(server, mode);
        until_stopped(server);
        assert_int_equal(ended, 1);
        aborted += ends[0] == UDS_ECHO_ERR_STOPPED;
        assert_int_equal(ends[0], value == UDS_ECHO_STOP_NOW ? UDS_ECHO_ERR_STOPPED : UDS_ECHO_OK);
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
        (void)teardown(state);
    }
    assert_int_equal(aborted, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(values_are_disjoint), TEST(fields_of_a_server), TEST(trust_of_a_client),
                                       TEST(verdicts), TEST(stop_modes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
