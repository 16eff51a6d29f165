/* The other private copy: see static_one.c. */

#define UDS_ECHO_STATIC
#define UDS_ECHO_IMPLEMENTATION
#include "uds_echo.h"

const char *other_text(uds_echo_error error);

const char *other_text(uds_echo_error error)
{
    return uds_echo_strerror(error);
}
