/* orderly_event.c - the libevent server of bench/peers (PEER is its file) that ends in order on SIGTERM: it frees its
   listener, serves those who are connected, and ends when they have left. */

#define _GNU_SOURCE 1
#include <event2/event.h>
#include <event2/listener.h>
#include <signal.h>
#include <sys/socket.h>

static struct event_base *base_of_peer;
static struct evconnlistener *listener_of_peer;
static struct event *term;

static void on_term(evutil_socket_t number, short events, void *user)
{
    (void)number;
    (void)events;
    (void)user;
    evconnlistener_free(listener_of_peer);
    event_free(term);
}

static struct event_base *orderly_base(void)
{
    base_of_peer = event_base_new();
    term = base_of_peer ? evsignal_new(base_of_peer, SIGTERM, on_term, NULL) : NULL;
    if (!term || event_add(term, NULL)) return NULL;
    return base_of_peer;
}

static struct evconnlistener *orderly_listener(struct event_base *base, evconnlistener_cb callback, void *user,
                                               unsigned flags, int backlog, const struct sockaddr *address, int length)
{
    listener_of_peer = evconnlistener_new_bind(base, callback, user, flags, backlog, address, length);
    return listener_of_peer;
}

#define event_base_new orderly_base
#define evconnlistener_new_bind orderly_listener
#include PEER
