/* orderly_uv.c - a libuv server of bench/peers (PEER is its file) that ends in order on SIGTERM: it closes its
   listener, serves those who are connected, and ends when they have left. */

#define main peer_main
#include PEER
#undef main

static uv_signal_t term;

/* The listener is the pipe that is neither readable nor writable. */
static void close_listener(uv_handle_t *handle, void *user)
{
    (void)user;
    if (handle->type != UV_NAMED_PIPE || uv_is_closing(handle)) return;
    if (!uv_is_readable((uv_stream_t *)handle) && !uv_is_writable((uv_stream_t *)handle)) uv_close(handle, NULL);
}

static void on_term(uv_signal_t *handle, int number)
{
    (void)number;
    uv_walk(uv_default_loop(), close_listener, NULL);
    uv_close((uv_handle_t *)handle, NULL);
}

int main(int argc, char **argv)
{
    if (uv_signal_init(uv_default_loop(), &term) || uv_signal_start(&term, on_term, SIGTERM)) return 1;
    return peer_main(argc, argv);
}
