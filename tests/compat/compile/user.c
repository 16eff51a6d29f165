/* A user's file that sees only the declarations: it names every public function, so that it links only if all are
   there. Run, it exits with 0. */

#include "uds_echo.h"

#include <stdio.h>
#include <string.h>

typedef void (*any_function)(void);

static const any_function functions[] = {
    (any_function)uds_echo_serve,           (any_function)uds_echo_server_open,
    (any_function)uds_echo_server_adopt,    (any_function)uds_echo_server_run,
    (any_function)uds_echo_server_step,     (any_function)uds_echo_server_fd,
    (any_function)uds_echo_server_timeout,  (any_function)uds_echo_server_stop,
    (any_function)uds_echo_server_wake,     (any_function)uds_echo_server_stats,
    (any_function)uds_echo_server_close,    (any_function)uds_echo_server_find,
    (any_function)uds_echo_conn_send,       (any_function)uds_echo_conn_close,
    (any_function)uds_echo_conn_id,         (any_function)uds_echo_conn_set_user,
    (any_function)uds_echo_conn_user,       (any_function)uds_echo_conn_server,
    (any_function)uds_echo_conn_peer,       (any_function)uds_echo_call,
    (any_function)uds_echo_client_open,     (any_function)uds_echo_client_exchange,
    (any_function)uds_echo_client_shutdown, (any_function)uds_echo_client_fd,
    (any_function)uds_echo_client_events,   (any_function)uds_echo_client_close,
    (any_function)uds_echo_explain,         (any_function)uds_echo_strerror,
    (any_function)uds_echo_escape,
};

static uds_echo_verdict on_message(uds_echo_conn *conn, uds_echo_message *message, void *user)
{
    (void)conn;
    (void)user;
    return message->size ? UDS_ECHO_REPLY : UDS_ECHO_NO_REPLY;
}

int main(void)
{
    uds_echo_server_desc desc = {0};
    uds_echo_failure why;
    uds_echo_server *server = NULL;
    char text[8];
    size_t i;

    for (i = 0; i < sizeof functions / sizeof *functions; i++)
        if (!functions[i]) return 1;
    for (i = 0; i < UDS_ECHO_ERROR_COUNT; i++)
        if (!uds_echo_strerror((uds_echo_error)i)[0]) return 2;
    desc.path = "";
    desc.on_message = on_message;
    if (uds_echo_server_open(&server, &desc, &why) != UDS_ECHO_ERR_BAD_PATH || server) return 3;
    if (uds_echo_escape("a\n", 2, text, sizeof text) != 3 || strcmp(text, "a\\n")) return 4;
    return puts("fine") < 0;
}
