/* libuv_expert.c - an echo server on libuv, written by somebody who knows it: one static buffer for all reads, a write
   that is tried at once, and only what the socket did not take is copied and queued. While that waits, nothing more is
   read from that peer. SIGPIPE is ignored. Prints nothing; SIGTERM ends it.

       cc -O2 -o libuv_expert bench/peers/libuv_expert.c -luv && ./libuv_expert ./uds_socket */

#define _GNU_SOURCE 1
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

enum { BUFFER_BYTES = 65536 };

typedef struct client {
    uv_pipe_t pipe; /* first: a pointer to it is one to the client */
    uv_write_t request;
    char *rest;
} client;

static char shared[BUFFER_BYTES];

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer);

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    (void)handle;
    (void)suggested;
    *buffer = uv_buf_init(shared, sizeof shared);
}

static void on_close(uv_handle_t *handle)
{
    client *c = (client *)handle;
    free(c->rest);
    free(c);
}

static void end(client *c)
{
    if (!uv_is_closing((uv_handle_t *)c)) uv_close((uv_handle_t *)c, on_close);
}

static void on_written(uv_write_t *request, int status)
{
    client *c = (client *)request->handle;
    free(c->rest);
    c->rest = NULL;
    if (status || uv_read_start((uv_stream_t *)c, on_alloc, on_read)) end(c);
}

/* What the socket did not take now. */
static void send_later(client *c, const char *bytes, size_t size)
{
    uv_buf_t buffer;
    c->rest = malloc(size);
    if (!c->rest) exit(1);
    memcpy(c->rest, bytes, size);
    buffer = uv_buf_init(c->rest, (unsigned)size);
    (void)uv_read_stop((uv_stream_t *)c);
    if (uv_write(&c->request, (uv_stream_t *)c, &buffer, 1, on_written)) end(c);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    client *c = (client *)stream;
    uv_buf_t answer;
    int sent;
    if (n == 0) return;
    if (n < 0) {
        end(c);
        return;
    }
    answer = uv_buf_init(buffer->base, (unsigned)n);
    sent = uv_try_write(stream, &answer, 1);
    if (sent == n) return;
    if (sent < 0 && sent != UV_EAGAIN) end(c);
    else send_later(c, buffer->base + (sent > 0 ? sent : 0), (size_t)(n - (sent > 0 ? sent : 0)));
}

static void on_connection(uv_stream_t *server, int status)
{
    client *c;
    if (status < 0) return;
    c = calloc(1, sizeof *c);
    if (!c || uv_pipe_init(server->loop, &c->pipe, 0)) exit(1);
    if (uv_accept(server, (uv_stream_t *)c) || uv_read_start((uv_stream_t *)c, on_alloc, on_read)) end(c);
}

int main(int argc, char **argv)
{
    uv_loop_t *loop = uv_default_loop();
    uv_pipe_t server;
    if (argc != 2) return 2;
    (void)signal(SIGPIPE, SIG_IGN);
    if (uv_pipe_init(loop, &server, 0) || uv_pipe_bind(&server, argv[1])) return 1;
    if (uv_listen((uv_stream_t *)&server, SOMAXCONN, on_connection)) return 1;
    return uv_run(loop, UV_RUN_DEFAULT);
}
