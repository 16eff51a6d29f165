/* A descriptor left open, and memory left allocated, as the fake kernel sees them at the end of a test. */
#include "harness.h"

static void forget(void **state)
{
    uds_echo_server_desc desc = plain_desc();
    (void)state;
    (void)open_server(&desc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(forget, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
