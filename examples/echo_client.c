/* echo_client.c - sends messages to an echo server and waits until as much came back, saying so on stderr.

   It sends and receives at the same time, so that a message of any size passes, and it gives up on a server that falls
   silent.

       cc -o echo_server examples/echo_server.c
       cc -o echo_client examples/echo_client.c
       ./echo_server ./uds_socket & sleep 1
       ./echo_client ./uds_socket "hello" "and goodbye"
       kill $! */

#define _GNU_SOURCE 1
#define UDS_ECHO_IMPLEMENTATION
#include "../uds_echo.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    READ_BYTES = 1024,  /* what is received is shown in pieces of this size */
    PATIENCE_MS = 10000 /* so long it waits for one of them */
};

static const char usage[] = "usage: echo_client [PATH] [MESSAGE...]    (PATH: ./uds_socket)\n";

/* Without its control characters, a message of any length is a line. */
static void show(const char *before, const void *bytes, size_t size, const char *after)
{
    size_t length = uds_echo_escape(bytes, size, NULL, 0);
    char *text = (char *)malloc(length + 1);
    if (text) (void)uds_echo_escape(bytes, size, text, length + 1);
    fprintf(stderr, "%s%s%s", before, text ? text : "...", after);
    free(text);
}

static void complain(const uds_echo_failure *why, const char *path)
{
    char text[1024];
    (void)uds_echo_explain(why, path, text, sizeof text);
    fprintf(stderr, "echo_client: %s\n", text);
}

/* Sends one message and receives as many bytes. */
static uds_echo_error converse(uds_echo_client *client, const char *message)
{
    char reply[READ_BYTES];
    size_t left = strlen(message);
    uds_echo_io io = {0};
    uds_echo_error error;

    io.out = message;
    io.out_size = left;
    show("sending [", message, left, "]\n");
    do {
        io.in = reply;
        io.in_size = left < sizeof reply ? left : sizeof reply;
        io.got = 0;
        error = uds_echo_client_exchange(client, &io, PATIENCE_MS);
        if (io.got) show("received [", reply, io.got, "]\n");
        left -= io.got;
    } while (left && (error == UDS_ECHO_OK || error == UDS_ECHO_ERR_BUFFER_FULL)); /* FULL: there is room again */
    return error;
}

int main(int argc, char **argv)
{
    static const char *standard[] = {"This is the message, This will be echoed back"};
    const char *const *messages = standard;
    uds_echo_client_desc desc = {0};
    uds_echo_client client;
    uds_echo_failure why = {UDS_ECHO_OK, 0, "", -1, -1};
    int count = 1, i = 1;

    if (i < argc && (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help"))) return fputs(usage, stdout) < 0;
    if (i < argc && !strcmp(argv[i], "--")) i++;
    else if (i < argc && argv[i][0] == '-') return fputs(usage, stderr), 2;
    desc.path = i < argc ? argv[i++] : "./uds_socket";
    if (i < argc) {
        messages = (const char *const *)argv + i;
        count = argc - i;
    }

    (void)setvbuf(stderr, NULL, _IOLBF, BUFSIZ); /* whole lines, even where the server writes to the same terminal */
    show("connecting to ", desc.path, strlen(desc.path), "\n");
    if (uds_echo_client_open(&client, &desc, &why)) {
        complain(&why, desc.path);
        return 1;
    }
    for (i = 0; i < count && !why.error; i++) {
        why.error = converse(&client, messages[i]);
        why.call = "uds_echo_client_exchange";
        why.os_error = why.error == UDS_ECHO_ERR_SYSTEM ? errno : 0;
    }
    if (why.error) complain(&why, desc.path);
    fputs("closing socket\n", stderr);
    uds_echo_client_close(&client);
    return why.error ? 1 : 0;
}
