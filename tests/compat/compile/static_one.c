/* A private copy of the implementation of which next to nothing is used, in a program that has another one. */

#define UDS_ECHO_STATIC
#define UDS_ECHO_IMPLEMENTATION
#include "uds_echo.h"

const char *other_text(uds_echo_error error);

int main(void)
{
    /* Two copies: the same words at two places. */
    const char *here = uds_echo_strerror(UDS_ECHO_ERR_TIMEOUT), *there = other_text(UDS_ECHO_ERR_TIMEOUT);
    for (; *here && *here == *there; here++, there++) continue;
    return *here == *there ? 0 : 1;
}
