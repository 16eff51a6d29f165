/* http.c - an HTTP server as a handler: what speaks HTTP over a Unix-domain socket (curl, a proxy) can talk to it.

       GET PATH       answers with a line that names PATH
       POST PATH      answers with the body it got (at most 1 MiB), byte for byte

       cc -o http examples/http.c
       ./http ./web & sleep 1
       curl --unix-socket ./web http://localhost/hello
       kill $!

   It shows framing with a length that is announced, not the whole of RFC 9112: a request whose body comes in chunks, or
   is too long, is refused. SIGTERM drains. */

#define _GNU_SOURCE 1
#define UDS_ECHO_IMPLEMENTATION
#include "../uds_echo.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { HEAD_MAX = 8192, BODY_MAX = 1 << 20, ANSWER_HEAD_MAX = 256 };

static uds_echo_server *volatile running;

/* The length of the head with its blank line; 0: it has not ended. */
static size_t head_length(const unsigned char *bytes, size_t size)
{
    const void *end = memmem(bytes, size < HEAD_MAX ? size : HEAD_MAX, "\r\n\r\n", 4);
    return end ? (size_t)((const unsigned char *)end - bytes) + 4 : 0;
}

/* The value of a field, without leading blanks; NULL: there is none. It ends with the line, hence with \r. */
static const char *field(const unsigned char *head, size_t size, const char *name)
{
    const char *at = (const char *)head, *end = at + size;
    size_t n = strlen(name);
    while ((at = (const char *)memchr(at, '\n', (size_t)(end - at))) != NULL) {
        at++;
        if ((size_t)(end - at) <= n || strncasecmp(at, name, n) || at[n] != ':') continue;
        for (at += n + 1; *at == ' ' || *at == '\t'; at++) continue;
        return at;
    }
    return NULL;
}

/* How many bytes of body the head announces: more than BODY_MAX are BODY_MAX + 1; -1: that is no number. */
static long body_length(const unsigned char *bytes, size_t head)
{
    const char *text = field(bytes, head, "Content-Length");
    long length = 0;
    if (!text) return 0;
    for (; *text >= '0' && *text <= '9'; text++) {
        length = length * 10 + (*text - '0');
        if (length > BODY_MAX) return BODY_MAX + 1;
    }
    return *text == '\r' ? length : -1;
}

/* A message is the head and as many bytes as it announces. Where the head is too long or refused, what has come of it
   is a message of its own, so that the handler can say why. */
static size_t frame(const unsigned char *bytes, size_t size, void *user)
{
    size_t head = head_length(bytes, size);
    long body = head ? body_length(bytes, head) : 0;
    (void)user;
    if (!head) return size < HEAD_MAX ? 0 : HEAD_MAX;
    return body < 0 || body > BODY_MAX ? head : head + (size_t)body;
}

/* Puts the answer's head before its body, which is already in place, size bytes after what is at body. */
static uds_echo_verdict answer(uds_echo_message *m, const char *status, const unsigned char *body, size_t size,
                               int ends)
{
    char head[ANSWER_HEAD_MAX];
    size_t n = (size_t)snprintf(
        head, sizeof head, "HTTP/1.1 %s\r\nContent-Type: application/octet-stream\r\nContent-Length: %lu\r\n%s\r\n",
        status, (unsigned long)size, ends ? "Connection: close\r\n" : "");
    memmove(m->data + n, body, size);
    memcpy(m->data, head, n);
    m->size = n + size;
    return ends ? UDS_ECHO_REPLY_AND_CLOSE : UDS_ECHO_REPLY;
}

/* Refused, with a word why. The connection ends, for where the next request begins cannot be told. */
static uds_echo_verdict refuse(uds_echo_message *m, const char *status)
{
    return answer(m, status, (const unsigned char *)"", 0, 1);
}

static uds_echo_verdict on_message(uds_echo_conn *conn, uds_echo_message *m, void *user)
{
    size_t head = head_length(m->data, m->size);
    const char *connection = field(m->data, head, "Connection");
    int ends = connection && !strncasecmp(connection, "close", 5);
    long body = body_length(m->data, head);
    char line[HEAD_MAX + 16];
    const unsigned char *path, *end;
    (void)conn;
    (void)user;
    if (!head) return refuse(m, "431 Request Header Fields Too Large");
    if (field(m->data, head, "Transfer-Encoding")) return refuse(m, "411 Length Required");
    if (body < 0) return refuse(m, "400 Bad Request");
    if (body > BODY_MAX) return refuse(m, "413 Content Too Large");
    if (!memcmp(m->data, "POST ", 5)) return answer(m, "200 OK", m->data + head, m->size - head, ends);
    if (memcmp(m->data, "GET ", 4)) return refuse(m, "405 Method Not Allowed");
    path = m->data + 4;
    for (end = path; *end != ' ' && *end != '\r'; end++) continue;
    (void)snprintf(line, sizeof line, "you asked for %.*s\n", (int)(end - path), (const char *)path);
    return answer(m, "200 OK", (const unsigned char *)line, strlen(line), ends);
}

static void on_ready(uds_echo_server *server, void *user)
{
    sigset_t set;
    (void)user;
    running = server;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void on_end(uds_echo_server *server, void *user)
{
    (void)server;
    (void)user;
    running = NULL; /* stopping NULL does nothing */
}

static void on_signal(int number)
{
    (void)number;
    uds_echo_server_stop(running, UDS_ECHO_STOP_DRAIN);
}

int main(int argc, char **argv)
{
    uds_echo_server_desc desc = {0};
    uds_echo_failure why;
    struct sigaction action;
    char text[1024];

    if (argc != 2 || argv[1][0] == '-') return fputs("usage: http PATH\n", stderr), 2;
    desc.path = argv[1];
    desc.frame = frame;
    desc.on_message = on_message;
    desc.on_ready = on_ready;
    desc.on_end = on_end;
    desc.connections_max = 64;
    desc.message_max = HEAD_MAX + BODY_MAX + ANSWER_HEAD_MAX; /* room for an answer's head, whatever the request's */

    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    (void)sigemptyset(&action.sa_mask);
    (void)sigaddset(&action.sa_mask, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &action.sa_mask, NULL); /* a signal waits until there is a server to stop */
    (void)sigaction(SIGTERM, &action, NULL);
    if (!uds_echo_serve(&desc, &why)) return 0;
    (void)uds_echo_explain(&why, desc.path, text, sizeof text);
    return fprintf(stderr, "http: %s\n", text), 1;
}
