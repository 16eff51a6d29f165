/* A user's program in C: it opens a server in a temporary directory, connects, sends a few bytes, checks the echo, and
   stops the server. It prints the version of the header, so that a test can tell which header it was built with. */

#define UDS_ECHO_IMPLEMENTATION
#include "uds_echo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROUNDS = 100, STEP_MS = 10 };

/* One thread is both sides: the client never waits, the server does. */
static uds_echo_error echo(uds_echo_server *server, uds_echo_client *client, uds_echo_io *io)
{
    uds_echo_error error = UDS_ECHO_ERR_TIMEOUT;
    int i;
    for (i = 0; i < ROUNDS && error == UDS_ECHO_ERR_TIMEOUT; i++) {
        error = uds_echo_server_step(server, STEP_MS);
        if (error == UDS_ECHO_OK) error = uds_echo_client_exchange(client, io, 0);
    }
    return error;
}

static int run(const char *path)
{
    uds_echo_server_desc server_desc = {0};
    uds_echo_client_desc client_desc = {0};
    uds_echo_server *server = NULL;
    uds_echo_client client;
    uds_echo_io io = {0};
    char reply[5];
    int i;

    server_desc.path = client_desc.path = path;
    if (uds_echo_server_open(&server, &server_desc, NULL) != UDS_ECHO_OK) return 1;
    if (uds_echo_client_open(&client, &client_desc, NULL) != UDS_ECHO_OK) return 2;
    io.out = "hello";
    io.out_size = io.in_size = sizeof reply;
    io.in = reply;
    if (echo(server, &client, &io) != UDS_ECHO_OK || memcmp(reply, "hello", sizeof reply) != 0) return 3;
    uds_echo_client_close(&client);
    uds_echo_server_stop(server, UDS_ECHO_STOP_DRAIN);
    for (i = 0; i < ROUNDS && uds_echo_server_step(server, STEP_MS) != UDS_ECHO_ERR_STOPPED; i++) continue;
    if (uds_echo_server_close(server) != UDS_ECHO_OK || i == ROUNDS) return 4;
    return access(path, F_OK) ? 0 : 5;
}

int main(void)
{
    char dir[] = "./XXXXXX";
    char path[sizeof dir + sizeof "/socket"];
    int status;

    if (!mkdtemp(dir)) return 1;
    sprintf(path, "%s/socket", dir);
    status = run(path);
    unlink(path);
    if (rmdir(dir) || status) return fprintf(stderr, "app: failed with %d\n", status), 1;
    printf("%d.%d.%d\n", UDS_ECHO_VERSION_MAJOR, UDS_ECHO_VERSION_MINOR, UDS_ECHO_VERSION_PATCH);
    return 0;
}
