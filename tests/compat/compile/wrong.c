/* Uses of enumerators that are wrong, one for each macro: with WRONG_... defined as 1 a compiler must say so, and with 0
   it must not. Compiled, never run. tests/compat/compile.sh has the flags under which each is an error. */

#include "uds_echo.h"

int use(uds_echo_error error, uds_echo_server_desc *desc, uds_echo_server *server);
uds_echo_verdict answer(uds_echo_conn *conn, uds_echo_message *message, void *user);

int use(uds_echo_error error, uds_echo_server_desc *desc, uds_echo_server *server)
{
#if defined(WRONG_FIELD) && WRONG_FIELD
    desc->publish = UDS_ECHO_FULL_EVICT;
#else
    desc->publish = UDS_ECHO_PUBLISH_DIRECT;
#endif
#if defined(WRONG_ARGUMENT) && WRONG_ARGUMENT
    uds_echo_server_stop(server, UDS_ECHO_ERR_STOPPED);
#else
    uds_echo_server_stop(server, UDS_ECHO_STOP_NOW);
#endif
#if defined(WRONG_COMPARISON) && WRONG_COMPARISON
    if (error == UDS_ECHO_REPLY) return 1;
#else
    if (error == UDS_ECHO_OK) return 1;
#endif
    switch (error) {
#if defined(WRONG_CASE) && WRONG_CASE
    case UDS_ECHO_FULL_EVICT: return 2;
#else
    case UDS_ECHO_ERR_EVICTED: return 2;
#endif
    default: return 3;
    }
}

uds_echo_verdict answer(uds_echo_conn *conn, uds_echo_message *message, void *user)
{
    (void)user;
#if defined(WRONG_VERDICT) && WRONG_VERDICT
    if (!message->size) return UDS_ECHO_ERR_TIMEOUT;
#elif defined(WRONG_OK) && WRONG_OK
    if (!message->size) return UDS_ECHO_OK;
#else
    if (!message->size) return UDS_ECHO_NO_REPLY;
#endif
    return conn ? UDS_ECHO_REPLY : UDS_ECHO_REPLY_AND_CLOSE;
}
