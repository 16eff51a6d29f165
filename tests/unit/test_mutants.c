/* What forced jumps and deleted statements showed to be missing. */
#include "harness.h"
#include "served.h"

/* ---- the path ------------------------------------------------------------------------------------------------------ */

static int swaps;

/* The stale file was looked at twice. As the new socket is ready, another stale file is in its place. */
static void swap_the_stale_file(fake_call what)
{
    if (what != FAKE_listen || swaps++) return;
    fake_remove(PATH);
    fake_put_stale(PATH);
    fake_set_identity(PATH, 1, 999);
}

/* The other file is not the one that was looked at: it is put back, looked at, and replaced, and nothing is left over. */
static void another_stale_file_in_its_place(void **state)
{
    uds_echo_server *server;
    (void)state;
    fake_put_stale(PATH);
    swaps = 0;
    fake.before = swap_the_stale_file;
    server = serve(plain_desc());
    fake.before = NULL;
    assert_int_equal(swaps, 2);
    assert_true(fake_is_ours(PATH));
    assert_false(fake_exists(PATH "~0"));
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

/* ---- connections --------------------------------------------------------------------------------------------------- */

static uds_echo_id last_opened;

static int note_the_last(uds_echo_conn *conn, void *user)
{
    (void)user;
    last_opened = uds_echo_conn_id(conn);
    return 0;
}

static uds_echo_verdict close_the_last(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)m, (void)user;
    uds_echo_conn_close(uds_echo_server_find(uds_echo_conn_server(conn), last_opened));
    return UDS_ECHO_NO_REPLY;
}

/* Half a message is kept of a connection. Then a handler closes that connection, and its peer goes in the same step: it was
   the handler who closed it, and nothing was cut in the middle. */
static void a_close_comes_before_the_event(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int first, second;
    (void)state;
    desc.frame = lines;
    desc.on_message = close_the_last;
    desc.on_open = note_the_last;
    server = serve(desc);
    first = joined(server);
    second = joined(server);
    say(second, "half");
    settle(server);
    say(first, "close\n");
    fake_peer_close(second);
    settle(server);
    assert_int_equal(ended, 1);
    assert_int_equal(ends[0], UDS_ECHO_OK);
    fake_peer_close(first);
    settle(server);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

static int framed;

static size_t counted_lines(const unsigned char *bytes, size_t size, void *user)
{
    framed++;
    return lines(bytes, size, user);
}

/* The frame is asked once after each piece of a message, and not at each event. */
static void a_piece_is_framed_once(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer, i;
    (void)state;
    desc.frame = counted_lines;
    server = serve(desc);
    peer = joined(server);
    for (framed = 0, i = 1; i <= 4; i++) {
        say(peer, "piece");
        settle(server);
        assert_int_equal(framed, i);
    }
    say(peer, "\n");
    settle(server);
    assert_int_equal(framed, 5);
    assert_string_equal(heard(peer), "piecepiecepiecepiece\n");
    fake_peer_close(peer);
    settle(server);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

static uds_echo_error send_said;
static uds_echo_id asker;

/* Of "!...\n": as many bytes are pushed, and the reply is deferred; of the others it is an echo or, for "?", deferred. */
static uds_echo_verdict push_and_defer(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)user;
    asker = uds_echo_conn_id(conn);
    if (m->data[0] != '!') return m->data[0] == '?' ? UDS_ECHO_DEFER : UDS_ECHO_REPLY;
    send_said = uds_echo_conn_send(conn, m->data, m->size);
    return UDS_ECHO_DEFER;
}

/* The socket of a slow reader is full, and a push as long as a message waits. There is room for the deferred reply. */
static void a_deferred_reply_after_a_push_that_waits(void **state)
{
    static char text[65];
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer;
    (void)state;
    memset(text, 'x', 64);
    fake.queue_bytes = 64;
    desc.on_message = push_and_defer;
    server = serve(desc);
    peer = joined(server);
    say(peer, text);
    settle(server);
    text[0] = '!';
    say(peer, text);
    settle(server);
    assert_int_equal(send_said, UDS_ECHO_OK);
    assert_int_equal(stats_of(server).pending, 64);
    assert_int_equal(uds_echo_conn_send(uds_echo_server_find(server, asker), text, 64), UDS_ECHO_OK);
    assert_int_equal(stats_of(server).pending, 64 + UE_BLOCK);
    text[0] = 'x';
    assert_string_equal(heard(peer), text);
    text[0] = '!';
    settle(server);
    assert_string_equal(heard(peer), text);
    settle(server);
    assert_string_equal(heard(peer), text);
    fake_peer_close(peer);
    settle(server);
    closed_for(server, UDS_ECHO_OK);
}

/* One handler pushes to another connection between two messages of its own: replies that were collected stay its own. */
static uds_echo_verdict push_to_the_last(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)user;
    if (m->data[0] == '!')
        send_said = uds_echo_conn_send(uds_echo_server_find(uds_echo_conn_server(conn), last_opened), "push", 4);
    return UDS_ECHO_REPLY;
}

static void a_push_to_another_between_two_messages(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int first, second;
    (void)state;
    desc.frame = lines;
    desc.on_open = note_the_last;
    desc.on_message = push_to_the_last;
    server = serve(desc);
    first = joined(server);
    second = joined(server);
    say(first, "one\n!two\n");
    settle(server);
    assert_int_equal(send_said, UDS_ECHO_OK);
    assert_string_equal(heard(second), "push");
    assert_string_equal(heard(first), "one\n!two\n");
    fake_peer_close(first);
    fake_peer_close(second);
    settle(server);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

/* The socket of a peer is full, and a push to it moves no byte: its connection is as idle as before. */
static void a_push_that_waits_is_no_activity(void **state)
{
    static char text[65];
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    long long then = fake_now_ms();
    int peer;
    (void)state;
    memset(text, 'x', 64);
    fake.queue_bytes = 64;
    desc.idle_ms = 100;
    desc.on_message = push_and_defer;
    server = serve(desc);
    peer = joined(server);
    say(peer, text);
    settle(server);
    fake_sleep(60);
    assert_int_equal(uds_echo_conn_send(uds_echo_server_find(server, asker), "x", 1), UDS_ECHO_OK);
    while (!ended) (void)uds_echo_server_step(server, 1000);
    assert_in_range(fake_now_ms() - then, 100, 110);
    fake_peer_close(peer);
    closed_for(server, UDS_ECHO_ERR_IDLE);
}

static uds_echo_conn *kept;

static int keep_it(uds_echo_conn *conn, void *user)
{
    (void)user;
    kept = conn;
    return 0;
}

/* A '#' begins a message that is too long. */
static size_t lines_or_too_long(const unsigned char *bytes, size_t size, void *user)
{
    return bytes[0] == '#' ? 1000 : lines(bytes, size, user);
}

/* A connection closes for a reason, and still sends. Asked to close it once more, the server tells the first reason. */
static void the_first_reason_is_told(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer;
    (void)state;
    fake.queue_bytes = 32;
    desc.frame = lines_or_too_long;
    desc.on_open = keep_it;
    server = serve(desc);
    peer = joined(server);
    say(peer, "0123456789012345678901234567890\n");
    settle(server);
    say(peer, "01234567890123456789012345678\n#"); /* the second reply waits */
    settle(server);
    assert_int_equal(ended, 0);
    uds_echo_conn_close(kept);
    (void)heard(peer);
    settle(server);
    assert_string_equal(heard(peer), "01234567890123456789012345678\n");
    fake_peer_close(peer);
    settle(server);
    closed_for(server, UDS_ECHO_ERR_TOO_LONG);
}

/* The peak of what is pending stays when less is pending later. */
static void the_peak_stays(void **state)
{
    static char text[65];
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peers[2], i;
    (void)state;
    memset(text, 'x', 64);
    fake.queue_bytes = 64;
    server = serve(desc);
    for (i = 0; i < 2; i++) {
        peers[i] = joined(server);
        say(peers[i], text);
        settle(server);
        say(peers[i], text);
        settle(server);
    }
    assert_int_equal(stats_of(server).pending_peak, 128);
    for (i = 0; i < 2; i++) {
        (void)heard(peers[i]);
        settle(server);
    }
    assert_int_equal(stats_of(server).pending, 0);
    say(peers[0], text);
    settle(server);
    assert_int_equal(stats_of(server).pending, 64);
    assert_int_equal(stats_of(server).pending_peak, 128);
    for (i = 0; i < 2; i++) fake_peer_close(peers[i]);
    settle(server);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

/* A connection whose first byte comes after two others have left: their slots are still two. */
static void slots_of_those_who_left(void **state)
{
    uds_echo_server *server = serve(plain_desc());
    int peers[3], i;
    (void)state;
    for (i = 0; i < 3; i++) peers[i] = joined(server);
    for (i = 1; i >= 0; i--) {
        fake_peer_close(peers[i]);
        settle(server);
    }
    say(peers[2], "hello");
    settle(server);
    for (i = 0; i < 2; i++) {
        peers[i] = joined(server);
        say(peers[i], "hello");
        settle(server);
    }
    for (i = 0; i < 3; i++) {
        assert_string_equal(heard(peers[i]), "hello");
        fake_peer_close(peers[i]);
    }
    settle(server);
    assert_int_equal(ended, 5);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

/* Eviction goes by the order of bytes: a message costs no look at the clock. */
static void eviction_reads_no_clock(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    unsigned long looks;
    int peer;
    (void)state;
    desc.when_full = UDS_ECHO_FULL_EVICT;
    server = serve(desc);
    peer = joined(server);
    looks = fake_calls_of(FAKE_clock_gettime);
    say(peer, "hello");
    settle(server);
    assert_string_equal(heard(peer), "hello");
    assert_int_equal(fake_calls_of(FAKE_clock_gettime), looks);
    fake_peer_close(peer);
    settle(server);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

/* SO_SNDBUF is set where it is asked for, and a connection on which that fails is closed. */
static void a_send_buffer_for_each_connection(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer;
    (void)state;
    desc.send_buffer = 4096;
    server = serve(desc);
    peer = joined(server);
    say(peer, "hello");
    settle(server);
    assert_string_equal(heard(peer), "hello");
    fake_peer_close(peer);
    settle(server);
    assert_int_equal(stats_of(server).closed[UDS_ECHO_OK], 1);
    fail_next(FAKE_setsockopt, 1, 1, ENOMEM);
    peer = joined(server);
    assert_int_equal(fail_times, 0);
    assert_int_equal(stats_of(server).closed[UDS_ECHO_ERR_NO_MEMORY], 1);
    fake_peer_close(peer);
    settle(server);
    fake.before = NULL;
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

static uds_echo_verdict reply_and_close(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)conn, (void)m, (void)user;
    return UDS_ECHO_REPLY_AND_CLOSE;
}

static int refusals;

/* recv(2) is interrupted, and the poller takes no change. */
static void neither_read_nor_watched(fake_call what)
{
    if (what != FAKE_recv && what != FAKE_epoll_ctl) return;
    refusals += what == FAKE_epoll_ctl;
    fake_fault(fake_calls(), what == FAKE_recv ? EINTR : ENOMEM, 0);
}

/* The last reply was sent, and the connection cannot be shut, or not be watched for the end of its peer: it closes. */
static void an_end_that_cannot_be_waited_for(void **state)
{
    static char text[65];
    int shut, peer;
    (void)state;
    memset(text, 'x', 64);
    fake.queue_bytes = 64;
    for (shut = UDS_ECHO_HAVE_EPOLL ? 0 : 1; shut < 2; shut++) {
        uds_echo_server_desc desc = plain_desc();
        uds_echo_server *server;
        desc.on_message = reply_and_close;
        desc.on_open = keep_it;
        server = serve(desc);
        peer = joined(server);
        assert_int_equal(uds_echo_conn_send(kept, text, 64), UDS_ECHO_OK); /* so the reply waits */
        say(peer, text);
        settle(server);
        assert_int_equal(ended, 0);
        refusals = 0;
        fail_next(FAKE_shutdown, 0, 1, ENOTCONN);
        if (!shut) fake.before = neither_read_nor_watched;
        (void)heard(peer);
        settle(server);
        fake.before = NULL;
        assert_int_equal(shut ? fail_times : refusals - 1, 0);
        fake_peer_close(peer);
        closed_for(server, UDS_ECHO_OK);
    }
}

/* ---- the server ---------------------------------------------------------------------------------------------------- */

static int wakes;

static void count_the_wake(uds_echo_server *server, void *user)
{
    (void)server, (void)user;
    wakes++;
}

/* on_wake is called after uds_echo_server_wake(), and not after a stop. */
static void a_stop_is_no_wake(void **state)
{
    static const uds_echo_stop_mode modes[] = {UDS_ECHO_STOP_NOW, UDS_ECHO_STOP_DRAIN};
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int i;
    (void)state;
    desc.on_wake = count_the_wake;
    for (i = 0; i < 2; i++) {
        wakes = 0;
        server = serve(desc);
        uds_echo_server_stop(server, modes[i]);
        until_stopped(server);
        assert_int_equal(wakes, 0);
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    }
}

static int told;
static char told_text[256];

static void note_the_line(uds_echo_log_level level, uds_echo_error cause, const char *text, void *user)
{
    (void)level, (void)cause, (void)user;
    told++;
    (void)snprintf(told_text, sizeof told_text, "%s", text);
}

/* accept(2) may say EINVAL of a listener that was shut down: its queue is empty, and the drain goes on at once. */
static void a_shut_listener_says_einval(void **state)
{
    uds_echo_server *server = serve(plain_desc());
    long long then;
    (void)state;
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    fail_next(UDS_ECHO_HAVE_ACCEPT4 ? FAKE_accept4 : FAKE_accept, 0, 100, EINVAL);
    then = fake_now_ms();
    until_stopped(server);
    fake.before = NULL;
    assert_int_equal(fail_times, 99);
    assert_in_range(fake_now_ms() - then, 0, 20);
    assert_int_equal(stats_of(server).pauses_failed, 0);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

/* A listener that cannot be shut down is told. */
static void a_listener_that_cannot_be_shut(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    (void)state;
    told = 0;
    desc.on_log = note_the_line;
    server = serve(desc);
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    fail_next(FAKE_shutdown, 0, 1, ENOBUFS);
    until_stopped(server);
    fake.before = NULL;
    assert_int_equal(told, 1);
    assert_string_equal(told_text, "shutdown: out of memory");
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

/* In the first second after boot a line is told, too, and only once a second. */
static void a_line_just_after_boot(void **state)
{
    static const long long starts[] = {0, 500000};
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int i, k, peer;
    (void)state;
    desc.on_log = note_the_line;
    desc.frame = lines;
    for (i = 0; i < 2; i++) {
        fake_set_clock(starts[i]);
        server = serve(desc);
        told = 0;
        for (k = 0; k < 2; k++) {
            peer = joined(server);
            say(peer, "half");
            fake_peer_close(peer);
            settle(server);
            assert_int_equal(told, 1);
        }
        assert_int_equal(stats_of(server).closed[UDS_ECHO_ERR_UNEXPECTED_EOF], 2);
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    }
}

/* ---- the client ---------------------------------------------------------------------------------------------------- */

/* A queue that is full is asked again after 1, 2, 4, 8 and then every 16 ms. */
static void a_full_queue_is_not_asked_often(void **state)
{
    uds_echo_failure failure;
    unsigned long asked;
    char reply[8];
    (void)state;
    (void)fake_peer_listen(PATH, 0600, 0);
    while (fake_peer_connect(PATH) >= 0) continue;
    asked = fake_calls_of(FAKE_connect);
    assert_int_equal(uds_echo_call(PATH, "x", 1, reply, sizeof reply, NULL, 1000, &failure), UDS_ECHO_ERR_TIMEOUT);
    /* once, for 100, 200, 400 and 300 ms in the line, and a last time */
    assert_int_equal(fake_calls_of(FAKE_connect) - asked, 6);
}

/* ---- what a deleted statement showed ------------------------------------------------------------------------------- */

/* A message that is read is activity, though nothing is sent. */
static uds_echo_verdict say_nothing(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    (void)conn, (void)m, (void)user;
    return UDS_ECHO_NO_REPLY;
}

static void a_byte_that_is_read_is_activity(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer, i;
    (void)state;
    desc.idle_ms = 100;
    desc.on_message = say_nothing;
    server = serve(desc);
    peer = joined(server);
    for (i = 0; i < 5; i++) {
        fake_sleep(60);
        say(peer, "x");
        settle(server);
    }
    assert_int_equal(ended, 0);
    fake_peer_close(peer);
    settle(server);
    closed_for(server, UDS_ECHO_OK);
}

/* What a connection has not handled is freed when it closes, though its last reply waits for the peer. */
static void memory_of_a_message_that_is_dropped(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    long blocks;
    int peer;
    (void)state;
    desc.frame = lines;
    desc.on_open = keep_it;
    server = serve(desc);
    peer = joined(server);
    blocks = fake_live_blocks();
    say(peer, "half");
    settle(server);
    assert_int_equal(fake_live_blocks(), blocks + 1);
    uds_echo_conn_close(kept);
    fail_next(FAKE_recv, 0, 1, EINTR);
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_OK);
    assert_int_equal(fail_times, 0);
    assert_int_equal(ended, 0);
    assert_int_equal(fake_live_blocks(), blocks);
    fake.before = NULL;
    settle(server);
    lingers_for(server, peer, UDS_ECHO_OK);
}

static int found_itself;

static int find_itself(uds_echo_conn *conn, void *user)
{
    (void)user;
    kept = conn;
    found_itself += uds_echo_server_find(uds_echo_conn_server(conn), uds_echo_conn_id(conn)) == conn;
    return 0;
}

static void a_connection_is_found_in_on_open(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    int peer;
    (void)state;
    found_itself = 0;
    desc.on_open = find_itself;
    server = serve(desc);
    peer = joined(server);
    assert_int_equal(found_itself, 1);
    fake_peer_close(peer);
    settle(server);
    closed_for(server, UDS_ECHO_OK);
}

/* A listening socket at PATH, made by the program. */
static int own_listener(void)
{
    struct sockaddr_un address;
    socklen_t size;
    ue_path place;
    int fd = fake_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(ue_path_split(&place, PATH, "", NULL), UDS_ECHO_OK);
    assert_true(ue_address(&address, &size, &place, ""));
    assert_int_equal(fake_bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(fake_listen(fd, 5), 0);
    return fd;
}

static uds_echo_server *adopt(uds_echo_server_desc desc)
{
    uds_echo_server *server = NULL;
    uds_echo_failure failure;
    ended = 0;
    desc.on_close = on_close;
    desc.path = NULL;
    assert_int_equal(uds_echo_server_adopt(&server, own_listener(), &desc, &failure), UDS_ECHO_OK);
    return server;
}

/* A drain of an adopted listener shuts the input of an idle connection, and ends at once; also where that fails. */
static void a_drain_of_an_adopted_listener(void **state)
{
    int fails;
    (void)state;
    for (fails = 0; fails < 2; fails++) {
        uds_echo_server *server = adopt(plain_desc());
        int peer = joined(server);
        long long then = fake_now_ms();
        say(peer, "hello");
        settle(server);
        if (fails) fail_next(FAKE_shutdown, 0, 1, ENOTCONN);
        uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
        until_stopped(server);
        fake.before = NULL;
        assert_int_equal(fake_now_ms(), then);
        fake_peer_close(peer);
        closed_for(server, fails ? UDS_ECHO_ERR_RESET : UDS_ECHO_OK);
        fake_remove(PATH);
    }
}

/* Accepting pauses for want of descriptors as a drain begins. It sleeps until its end all the same. */
static void a_drain_after_a_pause(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    unsigned long dels;
    int peer, late;
    (void)state;
    desc.drain_ms = 1000;
    desc.on_message = later_if_asked;
    server = adopt(desc);
    peer = joined(server);
    say(peer, "?");
    settle(server);
    fake.descriptors_max = fake_open_descriptors();
    late = fake_peer_connect(PATH);
    settle(server);
    assert_int_equal(stats_of(server).pauses_failed, 1);
    fake.descriptors_max = 64;
    dels = fake_calls_of(FAKE_epoll_del);
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    settle(server);
    assert_int_equal(fake_calls_of(FAKE_epoll_del), dels);
    assert_in_range(uds_echo_server_timeout(server), 400, 500); /* those within a message have half of the time */
    until_stopped(server);
    fake_peer_close(peer);
    fake_peer_close(late);
    closed_for(server, UDS_ECHO_ERR_STOPPED);
}

/* The clock fails as a drain begins, long after it was last looked at: nobody is aborted by that old time. */
static void a_clock_that_fails_as_a_drain_begins(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    long long then;
    int peer;
    (void)state;
    desc.drain_ms = 1000;
    desc.on_open = keep_it;
    desc.on_message = later_if_asked;
    server = serve(desc);
    peer = joined(server);
    say(peer, "?");
    settle(server);
    fake_sleep(5000);
    then = fake_now_ms();
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    fail_next(FAKE_clock_gettime, 0, 1, EINVAL);
    while (fake_now_ms() - then < 500) (void)uds_echo_server_step(server, 100);
    assert_int_equal(fail_times, 0);
    fake.before = NULL;
    assert_int_equal(ended, 0);
    assert_int_equal(uds_echo_conn_send(kept, "yes", 3), UDS_ECHO_OK);
    until_stopped(server);
    assert_string_equal(heard(peer), "yes");
    fake_peer_close(peer);
    closed_for(server, UDS_ECHO_OK);
}

/* Lines of the log one after the other, the second shorter: each is told as it is. */
static void lines_of_the_log(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    (void)state;
    desc.on_log = note_the_line;
    server = serve(desc);
    ue_log(server, UDS_ECHO_LOG_INFO, UDS_ECHO_ERR_NO_MEMORY, "something that takes long to tell");
    assert_string_equal(told_text, "something that takes long to tell: out of memory");
    ue_log(server, UDS_ECHO_LOG_INFO, UDS_ECHO_ERR_TIMEOUT, "short");
    assert_string_equal(told_text, "short: timed out");
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

/* A wakeup that cannot be read: the step tells the errno of that call. */
static void a_wakeup_that_cannot_be_read(void **state)
{
    uds_echo_server *server = serve(plain_desc());
    (void)state;
    uds_echo_server_wake(server);
    fail_next(FAKE_read, 0, 1, EIO);
    assert_int_equal(uds_echo_server_step(server, 0), UDS_ECHO_ERR_SYSTEM);
    assert_int_equal(errno, EIO);
    fake.before = NULL;
    settle(server);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

/* fcntl(2) fails, and so does close(2) after it. */
static void fail_fcntl_and_close(fake_call what)
{
    if (what == FAKE_fcntl) fake_fault(fake_calls(), ENOMEM, 0);
    if (what == FAKE_close) fake_fault(fake_calls(), EIO, 0);
}

/* The errno is that of the call that failed, not of the close(2) after it; and nothing stays open. */
static void the_errno_before_a_close(void **state)
{
    int fd;
    (void)state;
    fake.low_descriptors = 1;
    fd = fake_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_in_range(fd, 0, 2);
    fake.before = fail_fcntl_and_close;
    errno = 0;
    assert_int_equal(ue_above_stdio(fd), -1);
    assert_int_equal(errno, ENOMEM);
    assert_int_equal(fake_open_descriptors(), 0);
    fake.before = NULL;
    fake.low_descriptors = 0;
    fd = fake_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    fake.before = fail_fcntl_and_close;
    errno = 0;
    assert_int_equal(ue_cloexec_nonblock_or_close(fd), -1);
    assert_int_equal(errno, ENOMEM);
    assert_int_equal(fake_open_descriptors(), 0);
    fake.before = NULL;
}

static uds_echo_failure blank(int byte)
{
    uds_echo_failure failure;
    memset(&failure, byte, sizeof failure);
    return failure;
}

/* A failure tells of the last call alone. */
static void failures_of_a_client(void **state)
{
    uds_echo_server *server = serve(plain_desc());
    uds_echo_failure failure = blank(1);
    uds_echo_client_desc desc;
    uds_echo_client client;
    char in[8];
    uds_echo_io io = {"hello", 5, 0, NULL, 5, 0};
    (void)state;
    io.in = in;
    memset(&desc, 0, sizeof desc);
    desc.path = PATH;
    assert_int_equal(uds_echo_client_open(&client, &desc, &failure), UDS_ECHO_OK);
    assert_int_equal(failure.error, UDS_ECHO_OK);
    assert_string_equal(failure.call, "");
    assert_int_equal(failure.os_error, 0);
    uds_echo_client_close(&client);
    assert_int_equal(uds_echo_client_exchange(&client, &io, 0), UDS_ECHO_ERR_INVALID);
    assert_int_equal(uds_echo_client_events(&client, &io), 0);
    desc.trust = UDS_ECHO_TRUST_UID;
    desc.uid = 77;
    failure = blank(1);
    assert_int_equal(uds_echo_client_open(&client, &desc, &failure), UDS_ECHO_ERR_UNTRUSTED);
    assert_int_equal(failure.error, UDS_ECHO_ERR_UNTRUSTED);
    assert_int_equal(failure.os_error, 0);
    assert_string_equal(failure.call, "getsockopt");
    assert_int_equal(failure.uid, fake.uid);
    settle(server);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

/* A question and its answer cost a send, a poll and a recv; an answer that is there already costs no poll. */
static void what_an_exchange_costs(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    uds_echo_client_desc client_desc;
    uds_echo_client client;
    uds_echo_failure failure;
    unsigned long polls, sends, recvs, looks;
    char in[8];
    uds_echo_io io = {"hello", 5, 0, NULL, 5, 0};
    (void)state;
    desc.on_open = keep_it;
    server = serve(desc);
    memset(&client_desc, 0, sizeof client_desc);
    client_desc.path = PATH;
    assert_int_equal(uds_echo_client_open(&client, &client_desc, &failure), UDS_ECHO_OK);
    settle(server);
    assert_int_equal(uds_echo_conn_send(kept, "first", 5), UDS_ECHO_OK);
    io.in = in;
    polls = fake_calls_of(FAKE_poll);
    io.out_size = 0;
    assert_int_equal(uds_echo_client_exchange(&client, &io, 0), UDS_ECHO_OK);
    assert_memory_equal(in, "first", 5);
    assert_int_equal(fake_calls_of(FAKE_poll), polls);
    assert_int_equal(uds_echo_conn_send(kept, "early", 5), UDS_ECHO_OK);
    io.out_size = 5;
    io.got = 0;
    polls = fake_calls_of(FAKE_poll);
    sends = fake_calls_of(FAKE_send);
    recvs = fake_calls_of(FAKE_recv);
    looks = fake_calls_of(FAKE_clock_gettime);
    assert_int_equal(uds_echo_client_exchange(&client, &io, -1), UDS_ECHO_OK);
    assert_int_equal(fake_calls_of(FAKE_clock_gettime), looks); /* without a deadline nobody asks for the time */
    assert_int_equal(fake_calls_of(FAKE_poll), polls + 1);
    assert_int_equal(fake_calls_of(FAKE_send), sends + 1);
    assert_int_equal(fake_calls_of(FAKE_recv), recvs + 1);
    uds_echo_client_close(&client);
    settle(server);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

/* The peer sent an answer and went away: what it said is read, and the exchange tells RESET. */
static void an_answer_before_a_reset(void **state)
{
    static const int errnos[] = {EPIPE, ECONNRESET};
    uds_echo_server_desc desc = plain_desc();
    uds_echo_client_desc client_desc;
    int i;
    (void)state;
    memset(&client_desc, 0, sizeof client_desc);
    client_desc.path = PATH;
    desc.on_open = keep_it;
    for (i = 0; i < 2; i++) {
        uds_echo_server *server = serve(desc);
        uds_echo_client client;
        uds_echo_failure failure;
        char in[8];
        uds_echo_io io = {"hello", 5, 0, NULL, 5, 0};
        io.in = in;
        assert_int_equal(uds_echo_client_open(&client, &client_desc, &failure), UDS_ECHO_OK);
        settle(server);
        assert_int_equal(uds_echo_conn_send(kept, "early", 5), UDS_ECHO_OK);
        fail_next(FAKE_send, 0, 1, errnos[i]);
        assert_int_equal(uds_echo_client_exchange(&client, &io, 0), UDS_ECHO_ERR_RESET);
        assert_int_equal(io.got, 5);
        io.got = 0;
        fail_next(FAKE_recv, 0, 1, ECONNRESET);
        assert_int_equal(uds_echo_client_exchange(&client, &io, 0), UDS_ECHO_ERR_RESET);
        assert_int_equal(uds_echo_client_events(&client, &io), 0);
        fake.before = NULL;
        uds_echo_client_close(&client);
        settle(server);
        assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    }
}

static int greet_and_refuse(uds_echo_conn *conn, void *user)
{
    (void)user;
    assert_int_equal(uds_echo_conn_send(conn, "sorry", 5), UDS_ECHO_OK);
    return 1;
}

/* The server says something and ends, and nothing can be sent to it: its end was orderly, and came too early. */
static void an_end_before_all_was_sent(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server;
    uds_echo_client_desc client_desc;
    uds_echo_client client;
    uds_echo_failure failure;
    char in[8];
    size_t got = 0;
    uds_echo_io io = {"hello", 5, 0, NULL, 8, 0};
    (void)state;
    io.in = in;
    desc.on_open = greet_and_refuse;
    server = serve(desc);
    fake.world = step_server;
    fake.user = server;
    fail_next(FAKE_send, 0, 1, EPIPE);
    assert_int_equal(uds_echo_call(PATH, "hello", 5, in, 5, &got, 1000, &failure), UDS_ECHO_ERR_UNEXPECTED_EOF);
    assert_int_equal(got, 5);
    memset(&client_desc, 0, sizeof client_desc);
    client_desc.path = PATH;
    assert_int_equal(uds_echo_client_open(&client, &client_desc, &failure), UDS_ECHO_OK);
    fail_next(FAKE_send, 0, 1, EPIPE);
    assert_int_equal(uds_echo_client_exchange(&client, &io, 1000), UDS_ECHO_ERR_UNEXPECTED_EOF);
    assert_int_equal(io.got, 5);
    io.in_size = 5;
    assert_int_equal(uds_echo_client_exchange(&client, &io, 1000), UDS_ECHO_ERR_UNEXPECTED_EOF);
    uds_echo_client_close(&client);
    fake.before = NULL;
    fake.world = NULL;
    settle(server);
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
}

/* ---- parts --------------------------------------------------------------------------------------------------------- */

/* A path that is too long, in a directory that was not opened, has no address. */
static void a_long_path_without_its_directory(void **state)
{
    struct sockaddr_un address;
    socklen_t size;
    ue_path place;
    char path[200];
    (void)state;
    memset(path, 'a', sizeof path - 1);
    path[99] = '/';
    path[190] = '\0';
    assert_int_equal(ue_path_split(&place, path, "", NULL), UDS_ECHO_OK);
    path[120] = '\0';
    assert_false(ue_address(&address, &size, &place, ""));
}

/* What is on the stack where the next function has its variables. */
static void fill_the_stack(void)
{
    volatile char bytes[1024];
    size_t i;
    for (i = 0; i < sizeof bytes; i++) bytes[i] = 0;
}

static void a_listener_that_was_shut(void **state)
{
    int fd = own_listener();
    (void)state;
    fill_the_stack();
    assert_false(ue_is_listener_shut(fd));
    assert_int_equal(fake_shutdown(fd, SHUT_RD), 0);
    fill_the_stack();
    assert_true(ue_is_listener_shut(fd));
    assert_int_equal(fake_close(fd), 0);
}

static void a_poller_that_was_never_waited_on(void **state)
{
    static ue_poller p;
    unsigned long long token;
    (void)state;
    memset(&p, 0x55, sizeof p); /* whatever was there before */
    assert_true(ue_poller_open(&p, 8));
    assert_false(ue_poller_next(&p, &token));
    ue_poller_close(&p);
}

/* What a server does not use any more it does not name, and a listener that failed is none. */
static void what_is_forgotten(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_failure failure;
    ue_listener left, *listener = &left;
    uds_echo_server *server = serve(desc), *other;
    (void)state;
    assert_null(server->desc.path);
    if (UDS_ECHO_HAVE_ATOMIC) {
        desc.path = NULL;
        desc.share_with = server;
        other = open_server(&desc);
        assert_null(other->desc.share_with);
        assert_int_equal(uds_echo_server_close(other), UDS_ECHO_OK);
    }
    assert_int_equal(uds_echo_server_close(server), UDS_ECHO_OK);
    desc.path = "";
    assert_int_equal(ue_listener_open(&listener, &desc, &failure), UDS_ECHO_ERR_BAD_PATH);
    assert_null(listener);
}

#if !UDS_ECHO_HAVE_EPOLL
/* Of a slot that was given to another descriptor within a step no event is told that was of the one before. */
static void a_slot_with_another_descriptor(void **state)
{
    ue_poller p;
    unsigned long long token;
    int pair[2], k;
    (void)state;
    assert_true(ue_poller_open(&p, 8));
    for (k = 0; k < 2; k++) {
        assert_int_equal(fake_pipe2(pair, O_CLOEXEC | O_NONBLOCK), 0);
        assert_int_equal(fake_write(pair[1], "x", 1), 1);
        assert_true(ue_poller_set(&p, pair[0], (unsigned)k, 0, UE_IN));
    }
    assert_int_equal(ue_poller_wait(&p, 0), 2);
    assert_true(ue_poller_next(&p, &token));
    assert_int_equal(token, 0);
    assert_true(ue_poller_set(&p, pair[1], 1, UE_IN, 0));
    assert_true(ue_poller_set(&p, pair[1], 1, 0, UE_IN));
    assert_false(ue_poller_next(&p, &token));
    ue_poller_close(&p);
    for (k = 3; k < 12; k++) (void)fake_close(k);
    fake_reset();
}
#endif

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(another_stale_file_in_its_place),
        TEST(a_close_comes_before_the_event),
        TEST(a_piece_is_framed_once),
        TEST(a_deferred_reply_after_a_push_that_waits),
        TEST(a_push_to_another_between_two_messages),
        TEST(a_push_that_waits_is_no_activity),
        TEST(the_first_reason_is_told),
        TEST(the_peak_stays),
        TEST(slots_of_those_who_left),
        TEST(eviction_reads_no_clock),
        TEST(a_send_buffer_for_each_connection),
        TEST(an_end_that_cannot_be_waited_for),
        TEST(a_stop_is_no_wake),
        TEST(a_shut_listener_says_einval),
        TEST(a_listener_that_cannot_be_shut),
        TEST(a_line_just_after_boot),
        TEST(a_full_queue_is_not_asked_often),
        TEST(a_byte_that_is_read_is_activity),
        TEST(memory_of_a_message_that_is_dropped),
        TEST(a_connection_is_found_in_on_open),
        TEST(a_drain_of_an_adopted_listener),
        TEST(a_drain_after_a_pause),
        TEST(a_clock_that_fails_as_a_drain_begins),
        TEST(lines_of_the_log),
        TEST(a_wakeup_that_cannot_be_read),
        TEST(the_errno_before_a_close),
        TEST(failures_of_a_client),
        TEST(what_an_exchange_costs),
        TEST(an_answer_before_a_reset),
        TEST(an_end_before_all_was_sent),
        TEST(a_long_path_without_its_directory),
        TEST(a_listener_that_was_shut),
        TEST(a_poller_that_was_never_waited_on),
        TEST(what_is_forgotten),
#if !UDS_ECHO_HAVE_EPOLL
        TEST(a_slot_with_another_descriptor),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
