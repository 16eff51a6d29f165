/* exchange.c - standard input through an echo server and back to standard output, over uds_echo_client_exchange().

       exchange whole PATH     sends and receives at the same time, then half-closes and expects EOF, no byte more
       exchange half PATH      sends all it can before it reads, half-closes, waits a moment, and reads what is left
       exchange call PATH      the same bytes in one uds_echo_call()

   A number after the path is how many milliseconds it waits at most (100,000). Says on stderr what
   uds_echo_client_exchange() said last; exit status 0 only when that was as it should be. */

#define _GNU_SOURCE 1
#define UDS_ECHO_IMPLEMENTATION
#include "../../../uds_echo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PIECE = 100000 };

static int patience_ms = 100000;

static unsigned char *read_all(size_t *size)
{
    size_t room = 1 << 20, n;
    unsigned char *bytes = (unsigned char *)malloc(room);
    *size = 0;
    while (bytes && (n = fread(bytes + *size, 1, room - *size, stdin)) > 0) {
        *size += n;
        if (*size == room) bytes = (unsigned char *)realloc(bytes, room *= 2);
    }
    return bytes;
}

/* Everything at once, then the end, after which nothing may come. */
static uds_echo_error whole(uds_echo_client *client, uds_echo_io *io)
{
    uds_echo_io rest = {0};
    char more;
    uds_echo_error error = uds_echo_client_exchange(client, io, patience_ms);
    if (error) return error;
    if ((error = uds_echo_client_shutdown(client))) return error;
    rest.in = &more;
    rest.in_size = 1;
    error = uds_echo_client_exchange(client, &rest, patience_ms);
    if (error == UDS_ECHO_OK) return UDS_ECHO_ERR_TRUNCATED; /* a byte nobody sent */
    return error == UDS_ECHO_ERR_UNEXPECTED_EOF ? UDS_ECHO_OK : error;
}

/* Reads only where the server would take no more otherwise, so that as much as can be is on its way at the half-close.
   The room for what comes is as large as what goes: an echo that fills it leaves only the end to be read. */
static uds_echo_error half(uds_echo_client *client, uds_echo_io *io)
{
    const struct timespec moment = {0, 300000000};
    size_t room = io->in_size;
    uds_echo_error error;
    io->in_size = 0;
    while ((error = uds_echo_client_exchange(client, io, patience_ms)) == UDS_ECHO_ERR_BUFFER_FULL &&
           io->in_size < room)
        io->in_size = room - io->in_size > PIECE ? io->in_size + PIECE : room;
    if (error) return error;
    if ((error = uds_echo_client_shutdown(client))) return error;
    (void)nanosleep(&moment, NULL);
    io->in_size = room;
    return whole(client, io);
}

int main(int argc, char **argv)
{
    uds_echo_client_desc desc = {0};
    uds_echo_client client;
    uds_echo_io io = {0};
    uds_echo_failure why;
    uds_echo_error error;
    size_t size, got = 0;
    unsigned char *bytes, *back;
    char text[1024];

    if (argc < 3 || argc > 4) return fputs("usage: exchange whole|half|call PATH [MILLISECONDS]\n", stderr), 2;
    if (argc == 4) patience_ms = atoi(argv[3]);
    bytes = read_all(&size);
    back = (unsigned char *)malloc(size + 1);
    if (!bytes || !back) return 3;

    desc.path = argv[2];
    if (!strcmp(argv[1], "call")) {
        error = uds_echo_call(desc.path, bytes, size, back, size + 1, &got, patience_ms, NULL);
    } else {
        if (uds_echo_client_open(&client, &desc, &why)) {
            (void)uds_echo_explain(&why, desc.path, text, sizeof text);
            return fprintf(stderr, "exchange: %s\n", text), 1;
        }
        io.out = bytes;
        io.out_size = size;
        io.in = back;
        io.in_size = size;
        error = !strcmp(argv[1], "half") ? half(&client, &io) : whole(&client, &io);
        got = io.got;
        uds_echo_client_close(&client);
    }
    fprintf(stderr, "%s (%lu of %lu bytes)\n", uds_echo_strerror(error), (unsigned long)got, (unsigned long)size);
    if (fwrite(back, 1, got, stdout) != got || fflush(stdout)) return 3;
    free(bytes);
    free(back);
    return error ? 1 : 0;
}
