/* A server that is waited for and that nothing will ever wake: the fake kernel's hang. */
#include "harness.h"

static void hang(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    uds_echo_server *server = open_server(&desc);
    (void)state;
    (void)uds_echo_server_run(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(hang, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
