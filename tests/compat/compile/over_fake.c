/* The implementation over the fake kernel, as the tests and the fuzzers compile it: what it still needs from outside is
   listed in undefined.txt. Compiled, never run. */

#include "fake_kernel.h"

#define UDS_ECHO_SYS(fn) fake_##fn
#define UDS_ECHO_IMPLEMENTATION
#include "uds_echo.h"
