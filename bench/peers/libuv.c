/* libuv.c - an echo server on libuv, written the way its documentation writes one: a buffer from malloc for each read,
   a request from malloc for each write, both freed when the write is done. Prints nothing; SIGTERM ends it.

       cc -O2 -o libuv bench/peers/libuv.c -luv && ./libuv ./uds_socket */

#define _GNU_SOURCE 1
#include <stdlib.h>
#include <uv.h>

enum { BACKLOG = 128 };

typedef struct reply {
    uv_write_t request; /* first: a pointer to it is one to the reply */
    uv_buf_t buffer;
} reply;

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    (void)handle;
    buffer->base = malloc(suggested);
    buffer->len = buffer->base ? suggested : 0;
}

static void on_close(uv_handle_t *handle)
{
    free(handle);
}

static void on_written(uv_write_t *request, int status)
{
    reply *done = (reply *)request;
    (void)status;
    free(done->buffer.base);
    free(done);
}

static void on_read(uv_stream_t *client, ssize_t n, const uv_buf_t *buffer)
{
    if (n > 0) {
        reply *answer = malloc(sizeof *answer);
        if (!answer) exit(1);
        answer->buffer = uv_buf_init(buffer->base, (unsigned)n);
        (void)uv_write(&answer->request, client, &answer->buffer, 1, on_written);
        return;
    }
    if (n < 0) uv_close((uv_handle_t *)client, on_close);
    free(buffer->base);
}

static void on_connection(uv_stream_t *server, int status)
{
    uv_pipe_t *client;
    if (status < 0) return;
    client = malloc(sizeof *client);
    if (!client || uv_pipe_init(server->loop, client, 0)) exit(1);
    if (uv_accept(server, (uv_stream_t *)client)) uv_close((uv_handle_t *)client, on_close);
    else (void)uv_read_start((uv_stream_t *)client, on_alloc, on_read);
}

int main(int argc, char **argv)
{
    uv_loop_t *loop = uv_default_loop();
    uv_pipe_t server;
    if (argc != 2) return 2;
    if (uv_pipe_init(loop, &server, 0) || uv_pipe_bind(&server, argv[1])) return 1;
    if (uv_listen((uv_stream_t *)&server, BACKLOG, on_connection)) return 1;
    return uv_run(loop, UV_RUN_DEFAULT);
}
