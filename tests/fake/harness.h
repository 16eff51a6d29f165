/* harness.h - the header over the fake kernel, and what the tests on it have in common. Include it first. */
#ifndef HARNESS_H
#define HARNESS_H

#include "fake_kernel.h"

#define UDS_ECHO_SYS(fn) fake_##fn
#define UDS_ECHO_IMPLEMENTATION
#include "uds_echo.h"

#include <stdint.h>
#include <stdio.h>

#include "asserts.h"

#if defined(__GNUC__)
#define MAY_BE_UNUSED __attribute__((unused))
#else
#define MAY_BE_UNUSED
#endif

#define PATH "/w/sock"

/* What a kernel that saw nothing wrong says; a violation is printed before the test fails. */
MAY_BE_UNUSED static void assert_lawful(void)
{
    int i;
    for (i = 0; i < fake_violations() && fake_violation(i)[0]; i++) print_message("violation: %s\n", fake_violation(i));
    assert_int_equal(fake_violations(), 0);
}

MAY_BE_UNUSED static int setup(void **state)
{
    (void)state;
    fake_reset();
    return 0;
}

/* After each test the fake must have nothing left and nothing to complain about. */
MAY_BE_UNUSED static int teardown(void **state)
{
    (void)state;
    fake_finish();
    assert_lawful();
    fake_reset();
    return 0;
}

MAY_BE_UNUSED static uds_echo_server_desc plain_desc(void)
{
    uds_echo_server_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.path = PATH;
    desc.message_max = 64;
    desc.connections_max = 8;
    return desc;
}

MAY_BE_UNUSED static uds_echo_server *open_server(const uds_echo_server_desc *desc)
{
    uds_echo_server *server = NULL;
    uds_echo_failure why;
    assert_int_equal(uds_echo_server_open(&server, desc, &why), UDS_ECHO_OK);
    assert_non_null(server);
    return server;
}

/* Steps until nothing is due any more; the fake notes a spin on the way. */
MAY_BE_UNUSED static void settle(uds_echo_server *server)
{
    int i;
    for (i = 0; i < 40 && uds_echo_server_step(server, 0) == UDS_ECHO_OK; i++) continue;
}

MAY_BE_UNUSED static uds_echo_stats stats_of(const uds_echo_server *server)
{
    uds_echo_stats stats;
    uds_echo_server_stats(server, &stats);
    return stats;
}

/* A world in which a server lives: 1 if it did anything. */
MAY_BE_UNUSED static int step_server(void *user)
{
    uds_echo_server *server = (uds_echo_server *)user;
    uds_echo_stats before = stats_of(server), after;
    (void)uds_echo_server_step(server, 0);
    after = stats_of(server);
    before.waits = after.waits;
    return memcmp(&before, &after, sizeof after) != 0;
}

/* Everything a peer can read now, as a string. */
MAY_BE_UNUSED static const char *heard(int peer)
{
    static char text[4096];
    long n = fake_peer_recv(peer, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

MAY_BE_UNUSED static void say(int peer, const char *text)
{
    assert_int_equal(fake_peer_send(peer, text, strlen(text)), strlen(text));
}

/* Frames for tests: a message ends with a newline. */
MAY_BE_UNUSED static size_t lines(const unsigned char *bytes, size_t size, void *user)
{
    const unsigned char *end = (const unsigned char *)memchr(bytes, '\n', size);
    (void)user;
    return end ? (size_t)(end - bytes) + 1 : 0;
}

#endif
