/* Small parts: addresses, numbers, times, texts. */
#include "harness.h"
#include "served.h"

static uds_echo_failure why;

/* ---- small parts ------------------------------------------------------------------------------------------------- */

/* The search for what is ready ends with the places that are in use. */
static void the_search_ends_with_the_places(void **state)
{
#if !UDS_ECHO_HAVE_EPOLL
    ue_poller p;
    unsigned long long token;
    assert_true(ue_poller_open(&p, 8));
    assert_true(ue_poller_set(&p, 3, 1, 0, UE_IN));
    p.fds[2].fd = 3; /* never in use so far */
    p.fds[2].revents = POLLIN;
    p.next = 0;
    assert_false(ue_poller_next(&p, &token));
    ue_poller_close(&p);
#endif
    (void)state;
}

static void long_addresses_need_the_folder(void **state)
{
    char path[200];
    struct sockaddr_un address;
    socklen_t size;
    ue_path place;
    struct stat file;
    (void)state;
    memset(path, 'p', sizeof path);
    path[0] = '/';
    path[100] = '/';
    path[sizeof path - 1] = '\0';
    assert_int_equal(ue_path_split(&place, path, "", NULL), UDS_ECHO_OK);
    assert_false(ue_address(&address, &size, &place, "")); /* no folder, no way round */
    memset(&file, 0, sizeof file);
    assert_int_equal(ue_probe(&place, "", &file), ENAMETOOLONG);
    ue_fail(&why, UDS_ECHO_ERR_IN_USE, 0, "connect");
    ue_identify_owner(&place, &why);
    assert_int_equal(why.pid, INT_MAX);
    assert_int_equal(fake_calls_of(FAKE_socket), 0);
}

static void numbers_and_times(void **state)
{
    ue_inode a = {1, 2}, b = {1, 3}, c = {2, 2};
    char text[32];
    ue_text t = {text, sizeof text, 0};
    (void)state;
    ue_put_number(&t, -1234567890l);
    ue_put(&t, ' ');
    ue_put_number(&t, 0);
    assert_int_equal(ue_text_end(&t), 13);
    assert_string_equal(text, "-1234567890 0");
    for (t.size = 0; t.size < 16; t.size++) { /* cut where it is too long, and ended within its bounds */
        memset(text, '#', sizeof text);
        t.used = 0;
        ue_put_number(&t, -1234567890l);
        assert_int_equal(ue_text_end(&t), 11);
        if (t.size) assert_int_equal(strlen(text), t.size - 1 < 11 ? t.size - 1 : 11);
        assert_int_equal(text[t.size], '#');
    }
    assert_int_equal(ue_remaining_ms(5, 5), 0);
    assert_int_equal(ue_remaining_ms(4, 5), 0);
    assert_int_equal(ue_remaining_ms(6, 5), 1);
    assert_int_equal(ue_remaining_ms(UE_NONE, 5), -1);
    assert_int_equal(ue_remaining_ms(5ll + INT_MAX, 5), INT_MAX);
    assert_int_equal(ue_remaining_ms(6ll + INT_MAX, 5), INT_MAX);
    assert_int_equal(ue_remaining_ms(5, UE_NO_CLOCK), 0);
    assert_int_equal(ue_earlier(UE_NONE, UE_NONE), UE_NONE);
    assert_int_equal(ue_earlier(UE_NONE, 3), 3);
    assert_int_equal(ue_earlier(3, UE_NONE), 3);
    assert_int_equal(ue_earlier(3, 4), 3);
    assert_int_equal(ue_earlier(4, 3), 3);
    assert_int_equal(ue_deadline(-1), UE_NONE);
    assert_int_equal(ue_deadline(7), fake_now_ms() + 7);
    fail_next(FAKE_clock_gettime, 0, 1, EINVAL);
    assert_int_equal(ue_remaining_ms_now(ue_deadline(7)), 7); /* the limit itself */
    assert_true(ue_same_inode(&a, &a));
    assert_false(ue_same_inode(&a, &b));
    assert_false(ue_same_inode(&a, &c));
}

/* Well-formed is what RFC 3629 says, and C1 controls are none. */
static void well_formed_utf8(void **state)
{
    static const struct {
        const char *bytes;
        size_t length;
    } cases[] = {{"\x41\x80", 0},         {"\xc1\xbf", 0},         {"\xc2\x9f", 0},         {"\xc2\xa0", 2},
                 {"\xc3\x80", 2},         {"\xc3\x41", 0},         {"\xdf\xbf", 2},         {"\xe0\x9f\xbf", 0},
                 {"\xe0\xa0\x80", 3},     {"\xe1\x80\x80", 3},     {"\xe1\x80\xc0", 0},     {"\xec\xbf\xbf", 3},
                 {"\xed\x9f\xbf", 3},     {"\xed\xa0\x80", 0},     {"\xee\x80\x80", 3},     {"\xef\xbf\xbf", 3},
                 {"\xf0\x8f\xbf\xbf", 0}, {"\xf0\x90\x80\x80", 4}, {"\xf1\x80\x80\x80", 4}, {"\xf1\x80\x80\x7f", 0},
                 {"\xf4\x8f\xbf\xbf", 4}, {"\xf4\x90\x80\x80", 0}, {"\xf5\x80\x80\x80", 0}, {"\xff\x80\x80\x80", 0}};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t size = strlen(cases[i].bytes);
        assert_int_equal(ue_utf8((const unsigned char *)cases[i].bytes, size), cases[i].length);
        if (cases[i].length) assert_int_equal(ue_utf8((const unsigned char *)cases[i].bytes, size - 1), 0);
    }
}

/* What to do is told after the errno where that says more than the error. */
static void advises(uds_echo_error error, int os_error, const char *call, const char *what)
{
    uds_echo_failure failure;
    char text[1024];
    ue_fail(&failure, error, os_error, call);
    (void)uds_echo_explain(&failure, "p", text, sizeof text);
    if (!strstr(text, what)) print_message("%s\n", text);
    assert_non_null(strstr(text, what));
}

static void explanations(void **state)
{
    uds_echo_failure failure;
    char text[300], longest[400];
    size_t i;
    (void)state;
    ue_fail(&failure, UDS_ECHO_OK, 0, "");
    (void)uds_echo_explain(&failure, NULL, text, sizeof text);
    assert_string_equal(text, "success");
    ue_fail(&failure, UDS_ECHO_OK, 5, "call");
    (void)uds_echo_explain(&failure, NULL, text, sizeof text);
    assert_string_equal(text, "success");
    ue_fail(&failure, UDS_ECHO_ERR_TIMEOUT, 0, "");
    (void)uds_echo_explain(&failure, "p", text, sizeof text);
    assert_string_equal(text, "\"p\": timed out; allow more time (exchange resumes, call starts over)");
    ue_fail(&failure, UDS_ECHO_ERR_SYSTEM, 5, "read");
    (void)uds_echo_explain(&failure, NULL, text, sizeof text);
    assert_string_equal(text, "system call failed [read: EIO]; see the call and the errno in brackets");
    advises(UDS_ECHO_ERR_DENIED, EROFS, "open", "read-only");
    advises(UDS_ECHO_ERR_SYSTEM, EBUSY, "rename", "mount the directory, not the socket file"); /* A9 */
    advises(UDS_ECHO_ERR_DENIED, EPERM, "unlinkat", "UDS_ECHO_PUBLISH_DIRECT");
    advises(UDS_ECHO_ERR_DENIED, EPERM, "rename", "a sandbox forbids");
    advises(UDS_ECHO_ERR_UNSUPPORTED, EINVAL, "connect", "UDS_ECHO_PUBLISH_DIRECT"); /* A10 */
    advises(UDS_ECHO_ERR_SYSTEM, 4711, "read", "[read: errno 4711]");
    advises(UDS_ECHO_ERR_SYSTEM, EIO, "unlinkat", "see the call");
    advises(UDS_ECHO_ERR_DENIED, EROFS, NULL, "check the owner"); /* made by hand: nothing is known of a call */
    advises(UDS_ECHO_ERR_SYSTEM, EBUSY, NULL, "see the call");
    advises(UDS_ECHO_ERR_DENIED, EPERM, NULL, "check the owner");
    ue_fail(&failure, UDS_ECHO_ERR_IN_USE, 0, "connect");
    failure.uid = 7; /* of another pid namespace */
    (void)uds_echo_explain(&failure, NULL, text, sizeof text);
    assert_non_null(strstr(text, "(pid unknown, uid 7)"));
    ue_fail(&failure, (uds_echo_error)-3, 0, "");
    (void)uds_echo_explain(&failure, NULL, text, sizeof text);
    assert_string_equal(text, "not an error of this library");
    ue_fail(&failure, UDS_ECHO_ERROR_COUNT, 0, "");
    (void)uds_echo_explain(&failure, NULL, text, sizeof text);
    assert_string_equal(text, "not an error of this library");
    memset(&failure, 0, sizeof failure); /* made by hand, of an error that came without */
    failure.error = UDS_ECHO_ERR_TIMEOUT;
    (void)uds_echo_explain(&failure, NULL, text, sizeof text);
    assert_string_equal(text, "timed out; allow more time (exchange resumes, call starts over)");
    memset(longest, 'a', sizeof longest);
    longest[256] = '\0';
    assert_int_equal(uds_echo_explain(NULL, longest, NULL, 0), 256 + 4 + 7);
    assert_int_equal(uds_echo_explain(NULL, "p", NULL, 16), 1 + 4 + 7);
    longest[256] = 'a';
    longest[257] = '\0';
    assert_int_equal(uds_echo_explain(NULL, longest, NULL, 0), 64 + 3 + 128 + 4 + 7);
    for (i = 1; i < 257; i += 2) memcpy(longest + i, "\xc3\xa9", 2); /* both cuts would be within a character */
    assert_int_equal(uds_echo_explain(NULL, longest, NULL, 0), 63 + 3 + 128 + 4 + 7);
    longest[257] = 'z';
    longest[258] = '\0';
    assert_int_equal(uds_echo_explain(NULL, longest, NULL, 0), 63 + 3 + 129 + 4 + 7);
    memset(longest, 0x80, 300); /* of no character at all */
    longest[300] = '\0';
    assert_int_equal(uds_echo_explain(NULL, longest, NULL, 0), 61 * 4 + 3 + 131 * 4 + 4 + 7);
    assert_int_equal(uds_echo_escape("a\n", 2, NULL, 7), 3);
    assert_int_equal(uds_echo_escape("abc", 3, text, 1), 3);
    assert_string_equal(text, "");
    assert_int_equal(uds_echo_escape("\x1f \x7e\x7f", 4, text, sizeof text), 10);
    assert_string_equal(text, "\\x1f ~\\x7f");
}

/* A text that is cut ends with a whole character, or a whole escape; the length is that of all of it. */
static void cut_between_characters(void **state)
{
    static const struct {
        const char *bytes, *text;
        size_t capacity, length;
    } cases[] = {{"a\xc3\xa9z", "a", 3, 4},
                 {"a\xc3\xa9z", "a\xc3\xa9", 4, 4},
                 {"\xf0\x9f\x98\x80", "", 4, 4},
                 {"\xf0\x9f\x98\x80!", "\xf0\x9f\x98\x80", 5, 5},
                 {"a\n", "a", 3, 3},
                 {"a\n", "a\\n", 4, 3},
                 {"\x01"
                  "z",
                  "", 4, 5},
                 {"\x01"
                  "z",
                  "\\x01", 5, 5},
                 {"a\xc3\xa9zzz", "a", 3, 6}};
    uds_echo_failure failure;
    char text[64];
    size_t i;
    (void)state;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        memset(text, 'x', sizeof text);
        assert_int_equal(uds_echo_escape(cases[i].bytes, strlen(cases[i].bytes), text, cases[i].capacity),
                         cases[i].length);
        assert_string_equal(text, cases[i].text);
        assert_int_equal(text[cases[i].capacity], 'x');
    }
    memset(text, 'x', sizeof text);
    assert_int_equal(uds_echo_escape("abcd\xc3\xa9", 6, text, 4), 6); /* full already */
    assert_string_equal(text, "abc");
    assert_int_equal(text[4], 'x');
    assert_int_equal(uds_echo_escape("\xc3\xa9", 2, NULL, 0), 2);
    ue_fail(&failure, UDS_ECHO_ERR_TIMEOUT, 0, "");
    (void)uds_echo_explain(&failure, "/\xc3\xa9", text, 4);
    assert_string_equal(text, "\"/");
}

/* Process 0 is one of another pid namespace: who it runs as is told all the same. */
static void nobody_and_somebody(void **state)
{
    uds_echo_failure failure;
    char text[200];
    (void)state;
    ue_fail(&failure, UDS_ECHO_ERR_UNTRUSTED, 0, "getsockopt");
    failure.pid = 0;
    failure.uid = 1234;
    (void)uds_echo_explain(&failure, NULL, text, sizeof text);
    assert_non_null(strstr(text, "(pid 0, uid 1234)"));
    failure.pid = failure.uid = -1;
    (void)uds_echo_explain(&failure, NULL, text, sizeof text);
    assert_null(strstr(text, "pid"));
    memset(&failure, 0, sizeof failure);
    (void)uds_echo_explain(&failure, NULL, text, sizeof text);
    assert_string_equal(text, "success");
}

static void nothing_is_fine(void **state)
{
    uds_echo_server *server = serve(plain_desc());
    uds_echo_stats stats;
    uds_echo_peer peer = {1, 2, 3};
    int id = joined(server);
    (void)state;
    memset(&stats, 1, sizeof stats);
    uds_echo_server_stats(NULL, &stats);
    assert_int_equal(stats.accepted, 0);
    uds_echo_server_stats(server, NULL);
    assert_int_equal(uds_echo_server_timeout(NULL), -1);
    assert_int_equal(uds_echo_conn_id(NULL), 0);
    assert_null(uds_echo_conn_user(NULL));
    assert_null(uds_echo_conn_server(NULL));
    uds_echo_conn_set_user(NULL, &peer);
    assert_int_equal(uds_echo_conn_peer(&server->conns[0], NULL), UDS_ECHO_ERR_INVALID);
    assert_int_equal(uds_echo_conn_peer(NULL, &peer), UDS_ECHO_ERR_INVALID);
    assert_int_equal(peer.pid, INT_MAX);
    fail_next(FAKE_getsockopt, 0, 1, ENOBUFS);
    peer.uid = 7;
    assert_int_equal(uds_echo_conn_peer(&server->conns[0], &peer), UDS_ECHO_ERR_SYSTEM);
    assert_int_equal(peer.uid, -1);
    assert_int_equal(uds_echo_conn_peer(&server->conns[0], &peer), UDS_ECHO_OK);
    assert_int_equal(peer.gid, 1001);
    assert_int_equal(uds_echo_conn_send(&server->conns[0], NULL, 0), UDS_ECHO_OK);
    fake_peer_close(id);
    (void)uds_echo_server_close(server);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(the_search_ends_with_the_places),
                                       TEST(long_addresses_need_the_folder),
                                       TEST(numbers_and_times),
                                       TEST(well_formed_utf8),
                                       TEST(explanations),
                                       TEST(cut_between_characters),
                                       TEST(nobody_and_somebody),
                                       TEST(nothing_is_fine)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
