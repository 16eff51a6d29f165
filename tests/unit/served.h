/* served.h - what the tests of servers have in common, on top of harness.h: calls that fail once it matters, how
   connections ended, and peers that are accepted already. */
#ifndef SERVED_H
#define SERVED_H

static fake_call failing;
static int fail_skips, fail_times, fail_errno;

MAY_BE_UNUSED static void fail_it(fake_call what)
{
    if (what != failing || !fail_times || fail_skips-- > 0) return;
    fail_times--;
    fake_fault(fake_calls(), fail_errno, 0);
}

/* The call of this kind that comes after so many fails, and so many after it. */
MAY_BE_UNUSED static void fail_next(fake_call what, int skips, int times, int os_error)
{
    failing = what;
    fail_skips = skips;
    fail_times = times;
    fail_errno = os_error;
    fake.before = fail_it;
}

static uds_echo_error ends[64]; /* why each connection ended, in order */
static int ended;

/* A connection that ends takes nothing more, and is not found. */
MAY_BE_UNUSED static void on_close(uds_echo_conn *conn, uds_echo_error why, void *user)
{
    (void)user;
    assert_int_equal(uds_echo_conn_send(conn, "x", 1), UDS_ECHO_ERR_CLOSING);
    assert_null(uds_echo_server_find(uds_echo_conn_server(conn), uds_echo_conn_id(conn)));
    if (ended < 64) ends[ended++] = why;
}

/* A server that notes how its connections end. */
MAY_BE_UNUSED static uds_echo_server *serve(uds_echo_server_desc desc)
{
    ended = 0;
    desc.on_close = on_close;
    return open_server(&desc);
}

MAY_BE_UNUSED static int joined(uds_echo_server *server)
{
    int id = fake_peer_connect(PATH);
    assert_true(id >= 0);
    settle(server);
    return id;
}

/* The only connection ended for this reason; closes the server. */
MAY_BE_UNUSED static void closed_for(uds_echo_server *server, uds_echo_error why)
{
    assert_int_equal(ended, 1);
    assert_int_equal(ends[0], why);
    assert_int_equal(stats_of(server).closed[why], 1);
    assert_int_equal(stats_of(server).connections, 0);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

/* This side has ended, and the peer sees that; it ends its side, and only then is the connection told to be closed. */
MAY_BE_UNUSED static void lingers_for(uds_echo_server *server, int id, uds_echo_error why)
{
    char byte;
    assert_int_equal(ended, 0);
    assert_int_equal(fake_peer_recv(id, &byte, 1), 0);
    assert_int_equal(fake_peer_send(id, "and more", 8), 8);
    settle(server);
    assert_int_equal(ended, 0);
    fake_peer_close(id);
    settle(server);
    closed_for(server, why);
}

/* It sleeps for as long as it says: who forgets what is due hangs here. */
MAY_BE_UNUSED static void until_stopped(uds_echo_server *server)
{
    assert_int_equal(uds_echo_server_run(server), UDS_ECHO_OK);
}

/* A handler that puts questions off. */
MAY_BE_UNUSED static uds_echo_verdict later_if_asked(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)conn, (void)user;
    return m->data[0] == '?' ? UDS_ECHO_DEFER : UDS_ECHO_REPLY;
}

#endif
