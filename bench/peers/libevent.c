/* libevent.c - an echo server on libevent, written the way its documentation writes one: a bufferevent a connection,
   and what came in is moved to what goes out. Prints nothing; SIGTERM ends it.

       cc -O2 -o libevent bench/peers/libevent.c -levent_core && ./libevent ./uds_socket */

#define _GNU_SOURCE 1
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static void on_read(struct bufferevent *client, void *user)
{
    (void)user;
    (void)evbuffer_add_buffer(bufferevent_get_output(client), bufferevent_get_input(client));
}

static void on_event(struct bufferevent *client, short events, void *user)
{
    (void)user;
    if (events & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) bufferevent_free(client);
}

static void on_connection(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address, int length,
                          void *user)
{
    struct event_base *base = evconnlistener_get_base(listener);
    struct bufferevent *client = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
    (void)address;
    (void)length;
    (void)user;
    if (!client) {
        (void)evutil_closesocket(fd);
        return;
    }
    bufferevent_setcb(client, on_read, NULL, on_event, NULL);
    (void)bufferevent_enable(client, EV_READ | EV_WRITE);
}

int main(int argc, char **argv)
{
    struct sockaddr_un address;
    struct event_base *base = event_base_new();
    if (argc != 2 || strlen(argv[1]) >= sizeof address.sun_path) return 2;
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, argv[1], strlen(argv[1]) + 1);
    if (!base || !evconnlistener_new_bind(base, on_connection, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, -1,
                                          (struct sockaddr *)&address, sizeof address))
        return 1;
    return event_base_dispatch(base) < 0;
}
