/* uds_echo.h - v0.1.0 - a Unix-domain-socket server and client in one file - Unlicense OR MIT

   With no handler it echoes; with one it is the local-IPC endpoint of your program.

DO THIS
   In exactly one C or C++ file of your program:

       #define UDS_ECHO_IMPLEMENTATION
       #include "uds_echo.h"

   and a plain #include "uds_echo.h" wherever else you need it. It uses nothing but the system: no library to link,
   no build step. C99 and later, C++11 and later. Linux. With -std=c99 and the like the implementation comes before any
   header of libc, or _GNU_SOURCE is defined at the top of that file.

A SERVER IN ONE CALL
       uds_echo_server_desc desc = {0};          // zero means default, in every description; C++: = {}
       desc.path = "/run/app/echo.sock";
       uds_echo_failure why;
       if (uds_echo_serve(&desc, &why)) { ... }  // returns when it was stopped, or could not start

   A failure explains itself: uds_echo_explain(&why, desc.path, text, sizeof text) writes a sentence that names the
   cause and what to do about it.

   To stop a server, call uds_echo_server_stop() with the pointer to it. Your desc.on_ready stores that pointer, your
   desc.on_end sets it to NULL, for the server is freed next. A signal handler also sets a flag, which on_ready looks
   at: the signal may come before it. (Block the signal in the other threads, so that it cannot run beside on_end.)
   Another thread holds a mutex while it stops or wakes, and on_ready and on_end take the same one to set the pointer.

A CLIENT IN ONE CALL
       char reply[4096];
       size_t got;
       if (uds_echo_call("/run/app/echo.sock", "hello", 5, reply, sizeof reply, &got, 1000, &why)) { ... }

A HANDLER
       static uds_echo_verdict shout(uds_echo_conn *conn, uds_echo_message *m, void *user)
       {
           size_t i;
           for (i = 0; i < m->size; i++) m->data[i] = (unsigned char)toupper(m->data[i]);
           return UDS_ECHO_REPLY;                // what the message now holds is the answer
       }
       desc.on_message = shout;

   A stream has no messages of its own: without desc.frame a message is whatever one read brought. Give desc.frame, a
   function that tells how long the first whole message is, and the handler sees exactly one message a call.

CONTENTS (search for the mark)
   what you use     >>version  >>linkage  >>errors  >>types  >>server api  >>connection api  >>client api  >>text api
   how it is done   >>platform  >>syscalls  >>time  >>text  >>explain  >>descriptor  >>path  >>wakeup  >>peer  >>poller
                    >>claim  >>conn  >>accept  >>stop  >>loop  >>server  >>client
   >>licence

CONFIGURATION (define before the implementation; nothing else changes with them)
   UDS_ECHO_STATIC        all functions static: one private copy in this file       (default: extern)
   UDS_ECHO_API           attributes of all public functions, such as a visibility  (default: none); define it before
                          every #include of the header
   UDS_ECHO_USE_POLL      poll() instead of epoll                                    (default: epoll)
   UDS_ECHO_SYS(fn)       the name under which the system function fn is called      (default: fn)
   UDS_ECHO_HAVE_*        0 or 1, see >>platform: force what the system offers       (default: what it offers)
   Every size, limit and time is a field of a description, never a macro.

FIVE PROMISES
   Nothing lost.   What a connection sends back is at every moment a prefix of what its handler answered (without one:
                   of what it received), in order. At an orderly end - the peer's half-close, or a drain - all of it was
                   sent. Where that cannot be, the connection closes with a named, counted, reported error.
   Bounded.        While an answer waits for a slow reader, nothing more is read from that peer. An idle connection
                   costs its slot. Nothing a peer does makes the process grow beyond LIMITS, Memory.
   Never blocks.   Only the one wait does. A peer that stalls, floods or resets costs the others nothing but its place,
                   and its turn: in a step at most 64 messages and 16 reads, or one read of 64 KiB or more.
   Removes nothing foreign.  Only a socket file that nobody is bound to is ever replaced; only our own is removed, and
                   sockets that nobody is bound to under the ten names of "Published name", below.
   Secure by default.  Mode 0600 from birth, limits on, close-on-exec and nonblocking from birth.

LIMITS
   Path            any length that open(2) takes; where the whole does not fit 105 bytes, its last component has at
                   most 85 (84 with more than 99,999 descriptors open), and /proc must be there, with the first thread
                   of the process.
   Connections     connections_max, 1,024 unless you say otherwise; each takes a descriptor (ulimit -n). Over poll(2)
                   that limit may not be lowered under a running server: it would say SYSTEM, with EINVAL. Unless
                   idle_ms or UDS_ECHO_FULL_EVICT is set, whoever may connect can take all places, and keep them.
   Memory          fixed at open: 72 bytes a connection (poll: 88; 16 more each for idle_ms or UDS_ECHO_FULL_EVICT, and
                   for message_ms), message_max (with frame: 3 x). Then a connection takes at most 2 x message_max and
                   4 KiB for unsent answers, and with framing message_max for input; all together at most memory_max.
                   Default: 64 KiB messages.
   Published name  a server listens under "<path>~0" .. "~9" before it renames that to <path>, so that a path that
                   exists can be connected to. getsockname(), getpeername() and /proc/net/unix go on showing the first
                   name; what judges by that whether a socket is in use (a cleaner of /tmp) is wrong.
                   desc.publish = UDS_ECHO_PUBLISH_DIRECT binds in place instead.
   Removal         A stop that finds the directory locked leaves the file, stale, for the next start; a drain retries
                   for 200 ms. Anybody who may read the directory can hold its lock. That delays a fresh start by
                   lock_ms, and keeps a stale file from being replaced. In a directory that may be searched but not
                   read, or that has no locks, each stop leaves the file, and the next start fails until the file is
                   removed by hand. docs/limits.md has the moments in which a foreign program can lose its file.
   Mode            The server holds its socket file open from the start, so only that file gets its mode. Until then the
                   file has the sticky bit, which means nothing on a socket. Without /proc the mode is set by name:
                   there, set the umask, or own the directory.
   Stale           A socket file of another machine (NFS, virtiofs) or behind an overlay mount looks stale.
   Directory       It must allow creating, renaming and removing sockets. A start during which the path comes to lead to
                   another directory fails with BUSY or NOT_FOUND, and may leave a stale file there.
   Passed descriptors  are refused: the peer's sendmsg(2) gets EPERM (Linux 6.16). Before, and where they were sent to
                   an adopted listener before this server accepted, they are closed unseen, and closing the last copy
                   of a TCP connection waits for its SO_LINGER: there, who may connect can stall the thread.
   End of a connection  REPLY_AND_CLOSE, uds_echo_conn_close() and a refusal let the peer read all that was sent, and
                   let it send on: that is thrown away until it ends its side, for linger_ms at most. A drain lets it
                   read all that was sent; its next send gets EPIPE. Only cutting (idle, evicted, stopped now, a time
                   that is up), want of memory and a call that fails may show the peer ECONNRESET. Where an answer meets
                   a peer that is gone (RESET), what it had sent and nobody handled is dropped: who wants all of it
                   handled half-closes, and closes after the server's end.

LATENCY
   A thread that sleeps takes the system some 10 us to wake, 30 to 50 on another core; one that spins, none. With
   busy_poll_us a server, or a client in an exchange, asks for that long before it sleeps. It pays where an answer comes
   within that time, each side has a core of its own, and latency is worth the power; where both share a core, the one
   that spins keeps the other from running. 50 to 200 is where to begin; stats.busy_wait_hits / stats.busy_waits tells
   how often it paid. A step with a timeout spins; a wait of your own on uds_echo_server_fd() does not. A wait that
   spins may end 1 ms later than asked.

THREADS, SIGNALS, FORK
   A server belongs to one thread at a time. uds_echo_server_stop() and uds_echo_server_wake() may be called from any
   thread and from a signal handler, until on_end; nothing else may: a thread that has worked out an answer leaves it
   where on_wake finds it, and calls wake. Stop the server, never pthread_cancel(3) its thread: what is cancelled
   within a step cannot be closed. No function installs a signal handler or needs SIGPIPE ignored. N cores are N
   servers on N threads that share a listener (desc.share_with). A client belongs to one thread at a time; any number
   of servers and clients may live in a process.
   After fork() the child owns nothing: there stop and wake do nothing, run and step return UDS_ECHO_ERR_FORKED, and
   uds_echo_server_close() only closes the child's copies of the descriptors, and calls nobody: forget first, by hand,
   the pointer that on_end would. Call it there soon, since a copy keeps a connection open; exec() closes all of them.
   Call nothing else: uds_echo_conn_send() would write in the middle of what the parent sends. A child must exec() or
   _exit() if it was forked in a callback, or while another thread ran a server, or into a pid namespace where it has
   the same number (pid_namespaces(7): 1).

PLATFORMS
   Linux, epoll or poll. README.md says what was tested where. A mode wider than the umask needs glibc 2.32 or musl, and
   /proc as a long path does.
   32 bits: with -D_FILE_OFFSET_BITS=64 -D_TIME_BITS=64, or a file's number or date may be too large to be looked at.
   kqueue, sequenced packets, datagrams, abstract names and descriptor passing are not in this version.

LICENCE
   Unlicense OR MIT, at your choice; the text is at the end of the file. */

#ifndef UDS_ECHO_H
#define UDS_ECHO_H

// >>version
#define UDS_ECHO_VERSION_MAJOR 0
#define UDS_ECHO_VERSION_MINOR 1
#define UDS_ECHO_VERSION_PATCH 0

#include <stddef.h>

// >>linkage
#ifndef UDS_ECHO_API
#if defined(UDS_ECHO_STATIC) && defined(__GNUC__)
#define UDS_ECHO_API static __attribute__((unused))
#elif defined(UDS_ECHO_STATIC)
#define UDS_ECHO_API static
#else
#define UDS_ECHO_API extern
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

// >>errors
/* One list for every error: X(name, what is wrong, what to do about it). The names are complete, so that a macro of a
   user, such as EOF or BUSY, cannot change the list. */
#define UDS_ECHO_ERRORS(X)                                                                                             \
    X(UDS_ECHO_OK, "success", "no action needed")                                                                      \
    X(UDS_ECHO_ERR_INVALID, "invalid argument", "correct the argument or field named in brackets")                     \
    X(UDS_ECHO_ERR_BAD_PATH, "invalid socket path",                                                                    \
      "it must not be empty, end in a slash, or have a last component that is too long")                               \
    X(UDS_ECHO_ERR_NOT_FOUND, "no such file or directory", "create the directory; to connect, start the server first") \
    X(UDS_ECHO_ERR_DENIED, "permission denied",                                                                        \
      "check the owner and mode of socket and directory, or whether the file system or a sandbox forbids the call")    \
    X(UDS_ECHO_ERR_NOT_SOCKET, "path exists and is not a socket",                                                      \
      "it was not changed: remove it, or use another path")                                                            \
    X(UDS_ECHO_ERR_IN_USE, "path is in use by a live server", "stop that server, or use another path")                 \
    X(UDS_ECHO_ERR_EXISTS, "a stale socket file exists", "remove it, or let if_exists replace stale files")            \
    X(UDS_ECHO_ERR_BUSY, "another process is starting a server here or holds the directory lock",                      \
      "retry, or use a directory that only you can read")                                                              \
    X(UDS_ECHO_ERR_REFUSED, "connection refused", "start the server, or check that the path is a socket")              \
    X(UDS_ECHO_ERR_WRONG_TYPE, "socket of another type", "use the type the server uses, or another path")              \
    X(UDS_ECHO_ERR_UNTRUSTED, "server runs as an unexpected user", "find out who owns the path before continuing")     \
    X(UDS_ECHO_ERR_NO_MEMORY, "out of memory", "free memory, or lower the limits")                                     \
    X(UDS_ECHO_ERR_TOO_MANY_FILES, "too many open files", "close some, or raise the limit (ulimit -n)")                \
    X(UDS_ECHO_ERR_SYSTEM, "system call failed", "see the call and the errno in brackets")                             \
    X(UDS_ECHO_ERR_UNSUPPORTED, "this system, file system or sandbox cannot do it",                                    \
      "the call in brackets is what is missing; try UDS_ECHO_PUBLISH_DIRECT")                                          \
    X(UDS_ECHO_ERR_REENTRANT, "called from a callback of the same server", "call it after the callback returns")       \
    X(UDS_ECHO_ERR_FORKED, "server belongs to another process", "open a new server after fork()")                      \
    X(UDS_ECHO_ERR_STOPPED, "server is stopped", "no action needed; to share a listener, use a running server")        \
    X(UDS_ECHO_ERR_TIMEOUT, "timed out", "allow more time (exchange resumes, call starts over)")                       \
    X(UDS_ECHO_ERR_UNEXPECTED_EOF, "connection closed in the middle of a message or exchange",                         \
      "use the data received; check the peer for the reason")                                                          \
    X(UDS_ECHO_ERR_RESET, "connection reset by peer", "use the data received; connect again")                          \
    X(UDS_ECHO_ERR_BUFFER_FULL, "receive buffer full and sending blocked", "provide a larger buffer and call again")   \
    X(UDS_ECHO_ERR_TRUNCATED, "reply longer than the buffer", "use a larger buffer")                                   \
    X(UDS_ECHO_ERR_WOULD_BLOCK, "too much unsent data for this peer",                                                  \
      "send later, drop the message, or close the connection")                                                         \
    X(UDS_ECHO_ERR_TOO_LONG, "message is malformed or too long", "send less, or raise message_max or reply_max")       \
    X(UDS_ECHO_ERR_BAD_HANDLER, "handler violated the on_message contract",                                            \
      "leave data unchanged, keep size <= capacity, return a valid verdict")                                           \
    X(UDS_ECHO_ERR_IDLE, "idle timeout", "keep the connection active, or raise idle_ms")                               \
    X(UDS_ECHO_ERR_EVICTED, "closed to make room for a new connection", "raise connections_max")                       \
    X(UDS_ECHO_ERR_CLOSING, "connection is closing", "discard its id")                                                 \
    X(UDS_ECHO_ERR_LINGER, "peer did not end its side in time", "close after the end of the replies; see linger_ms")

/* What a function returns; UDS_ECHO_OK is 0. New ones are appended. The comments below leave out the UDS_ECHO_ERR_ of
   all but the first that they name. */
typedef enum uds_echo_error {
#define UDS_ECHO_X(name, what, advice) name,
    UDS_ECHO_ERRORS(UDS_ECHO_X) UDS_ECHO_ERROR_COUNT
#undef UDS_ECHO_X
} uds_echo_error;

/* Filled by a function that takes one, UDS_ECHO_OK included. Wherever one is asked for, NULL is fine. */
typedef struct uds_echo_failure {
    uds_echo_error error;
    int os_error;     /* errno of the call that failed; 0 where no call did */
    const char *call; /* that call, or the step it was part of ("rename" may be linkat), or the argument that is wrong
                         ("desc.mode"); a constant string, never NULL */
    /* UDS_ECHO_ERR_IN_USE, UDS_ECHO_ERR_UNTRUSTED: the process that called listen(2), and its user (unix(7),
       SO_PEERCRED). Unknown, as of a process in another pid namespace: INT_MAX, which kill(2) refuses, and -1. For
       IN_USE one connection is made to learn this, and closed at once; with failure NULL, none. */
    long pid, uid;
} uds_echo_failure;

// >>types
typedef struct uds_echo_server uds_echo_server; /* opaque */
typedef struct uds_echo_conn uds_echo_conn;     /* opaque; the pointer is good for one callback: keep the id */
typedef unsigned long long uds_echo_id;         /* of one connection of its server, until its slot was used anew 2^32
                                                   times; never 0 */

/* Who connected (unix(7), SO_PEERCRED: as of connect()). The pid may be reused by now; decide on uid and gid. It is
   INT_MAX, which kill(2) refuses, where it is unknown, as of a process in another pid namespace. */
typedef struct uds_echo_peer {
    long pid, uid, gid;
} uds_echo_peer;

/* What a handler is given. It may write data[0 .. capacity) and set size; the pointer itself stays as it is.
   Who makes size larger must write what is added: what lies there may be another peer's. All of it is good until the
   handler returns, for the next message lies in the same place, whosever it is: copy what a late answer needs. */
typedef struct uds_echo_message {
    unsigned char *data;
    size_t size;     /* bytes; as received, then as answered */
    size_t capacity; /* bytes; always message_max */
} uds_echo_message;

/* The result of on_message. Every enumeration of this file has nonzero values of its own, so that a compiler can warn
   of a case label from the wrong one (-Wswitch). */
typedef enum uds_echo_verdict {
    /* The message, as the handler left it, is the reply. An unchanged message is an echo. */
    UDS_ECHO_REPLY = 0,

    /* No reply. */
    UDS_ECHO_NO_REPLY = 101,

    /* The reply comes later: the next uds_echo_conn_send() on this connection is the reply, so push nothing else
       meanwhile. Until then this connection is neither read nor handled further, and half-close and drain wait for it.
       A disconnect is not noticed before, and idle_ms does not apply. Give each deferred reply a deadline of your own,
       and send 0 bytes when it is over. */
    UDS_ECHO_DEFER = 102,

    /* The reply, then the end of the connection; the peer can still read all of it. Size 0: no reply. */
    UDS_ECHO_REPLY_AND_CLOSE = 103
} uds_echo_verdict;

/* What to do about a stale socket file, one that no socket is bound to. Anything else at the path always refuses the
   start. */
typedef enum uds_echo_if_exists {
    UDS_ECHO_IF_EXISTS_REPLACE_STALE = 0,
    UDS_ECHO_IF_EXISTS_REFUSE = 201 /* EXISTS */
} uds_echo_if_exists;

/* How the path is created. */
typedef enum uds_echo_publish_mode {
    UDS_ECHO_PUBLISH_ATOMIC = 0,  /* it appears when connections are accepted */
    UDS_ECHO_PUBLISH_DIRECT = 301 /* bind(2) to the path itself, then listen(2) */
} uds_echo_publish_mode;

/* What to do with new clients at connections_max. */
typedef enum uds_echo_when_full {
    /* Pause accepting until a connection ends. New clients wait in the accept queue. */
    UDS_ECHO_FULL_QUEUE = 0,

    /* Abort a connection with EVICTED: one that only waits for its peer's end, or else the one on which no byte moved
       for longest, as far as steps of less than 256 events have seen. A deferred reply does not protect it. At most one
       is evicted a step, before on_open sees the new one.
       With idle_ms a connection that waits for this side, for a reply or for space, counts as one on which a byte
       moves, at least once every idle_ms and when the wait ends. Where descriptors run out first, that is a
       full table, too: the idlest goes, and the next step accepts. */
    UDS_ECHO_FULL_EVICT = 401
} uds_echo_when_full;

/* How a server stops. The stronger of two requests wins. */
typedef enum uds_echo_stop_mode {
    /* Accept the queued clients, answer what was received, then end. A connection that is idle after a reply ends at
       once; one that has sent no message yet, or a part of one, may finish it: see drain_ms. The accept queue of a
       shared or adopted listener is left to its other holders; where there are none, its clients are reset. */
    UDS_ECHO_STOP_DRAIN = 0,

    UDS_ECHO_STOP_NOW = 501 /* abort every connection */
} uds_echo_stop_mode;

/* The severity of a line for on_log. */
typedef enum uds_echo_log_level {
    UDS_ECHO_LOG_INFO = 0,     /* normal operation */
    UDS_ECHO_LOG_WARNING = 601 /* needs attention */
} uds_echo_log_level;

/* A server. Zero means default, -1 means none or unlimited where it says so. Set it to zeroes first: fields are
   appended in later versions, never reordered. It is copied, path included: it need not outlive the call. */
typedef struct uds_echo_server_desc {
    /* Where. */
    const char *path;              /* a file path; relative: to the working directory at open */
    int mode;                      /* permission bits of the file, whatever the umask; 0: 0600; at most 0777. Without
                                      0200 the next start cannot ask whether the file is stale, and says DENIED */
    uds_echo_if_exists if_exists;  /* 0: UDS_ECHO_IF_EXISTS_REPLACE_STALE */
    uds_echo_publish_mode publish; /* 0: UDS_ECHO_PUBLISH_ATOMIC */
    /* Milliseconds to wait for the directory lock; 0: 1,000; -1: not. A stale file is replaced only with the lock. A
       fresh start goes on without it after that time. */
    int lock_ms;
    int backlog; /* connections that the kernel queues, see listen(2); 0: 4,096; net.core.somaxconn caps it */
    uds_echo_server *share_with; /* accept from that server's listener: path is NULL, the fields above are not used.
                                    Open all that share before one of them runs (or in its callbacks); run all, for
                                    one that does not delays the others; stop each; the path goes with the last. One
                                    that holds an eighth more than its share leaves new ones to the others for 1 ms
                                    at a time: give all the same connections_max */

    /* Limits. */
    int connections_max;          /* 0: 1,024; -1: RLIMIT_NOFILE, whatever else is open; at most 1,000,000 */
    uds_echo_when_full when_full; /* 0: UDS_ECHO_FULL_QUEUE */
    long message_max;             /* bytes of one message, one read or one answer; 0: 65,536; at most 1 GiB */
    /* Bytes of all connections' buffers together: input that is not handled, replies that are not sent. A connection
       that needs more ends with UDS_ECHO_ERR_NO_MEMORY. 0 or -1: no limit. */
    long memory_max;
    /* Messages that one step hands to the handler at most, of all connections together. The others follow in the next
       steps. The step in which drain_ms is over may hand over 64 more. 0: 1,024. */
    int step_messages;
    int send_buffer; /* SO_SNDBUF of each connection in bytes, see socket(7); 0: the system's */
    /* Milliseconds after which a connection is cut on which no byte moved, unless it waits for a late answer or for its
       turn (UDS_ECHO_ERR_IDLE). A reader so slow that its socket stays full is idle. 0 or -1: never. */
    int idle_ms;
    /* Milliseconds that one message may take from its first byte to its last; then the connection is cut
       (UDS_ECHO_ERR_TIMEOUT). They begin anew where the peer did not take what was sent to it, for then its input is
       not read. Only with frame. 0 or -1: no limit. */
    int message_ms;
    /* Milliseconds that a peer has to end its side after this side has ended the connection (REPLY_AND_CLOSE,
       conn_close(), a refusal). What it sends meanwhile is thrown away, and its place stays taken. Then it is cut
       (UDS_ECHO_ERR_LINGER). 0: 30,000. */
    int linger_ms;
    /* Milliseconds that a DRAIN may take. Then what is left is cut (UDS_ECHO_ERR_STOPPED). A peer that has sent no
       message yet, or a part of one, has half of that time to send the rest. 0: 5,000. -1: no limit, and 2,500 for such
       a peer. */
    int drain_ms;
    /* Microseconds for which the server asks for events before it sleeps (busy-poll, see LATENCY); at most 1,000,000; 0
       or -1: none. */
    int busy_poll_us;

    /* What to do. All run on the server's thread, inside open, step, run or close. They must return: no exception, no
       longjmp(3). From within, call for this server only conn_*, find, stop, wake, stats, fd and timeout; run, step and
       close return UDS_ECHO_ERR_REENTRANT. */
    /* The length in bytes of the first message, from bytes[0] on; 0, or more than size: it is not whole yet. More than
       message_max ends the connection with UDS_ECHO_ERR_TOO_LONG at once, whatever has come: say so, too, of what can
       never be a message. (To answer that instead, return size where that has come to message_max, and let the handler
       say REPLY_AND_CLOSE.) NULL: chunks as they come. Of a message that comes in pieces it is asked again, from its
       first byte, after each: message_max bounds what that costs. It may call nothing of this file. */
    size_t (*frame)(const unsigned char *bytes, size_t size, void *user);
    uds_echo_verdict (*on_message)(uds_echo_conn *conn, uds_echo_message *message, void *user); /* NULL: echo */
    void (*on_ready)(uds_echo_server *server, void *user); /* once, when the path can be connected to */
    /* 0: welcome. Else refused: what conn_send() was given here is sent, then the connection ends readably. */
    int (*on_open)(uds_echo_conn *conn, void *user);
    /* Exactly once for each connection that was welcome, when its place is free. UDS_ECHO_OK: the peer's half-close
       or a drain, or REPLY_AND_CLOSE or conn_close() and then the peer's end; all that was answered has been sent.
       UDS_ECHO_ERR_UNEXPECTED_EOF: the half-close, or drain, came within a message. UDS_ECHO_ERR_LINGER: all was sent,
       and the peer did not end its side within linger_ms. UDS_ECHO_ERR_TIMEOUT: message_ms. Another cause that came
       first, such as TOO_LONG, is told instead. */
    void (*on_close)(uds_echo_conn *conn, uds_echo_error why, void *user);
    void (*on_wake)(uds_echo_server *server, void *user); /* after uds_echo_server_wake(); several may come as one */
    void (*on_end)(uds_echo_server *server, void *user);  /* last of all, in close: the place to forget the pointer */
    /* A line without newline, control bytes escaped; at most one a second for each cause. */
    void (*on_log)(uds_echo_log_level level, uds_echo_error cause, const char *text, void *user);
    void *user; /* handed to every callback */
} uds_echo_server_desc;

/* Counters since open, and how things stand. Room for more errors is left, so that it does not grow with them. */
typedef struct uds_echo_stats {
    unsigned long long accepted;      /* connections taken from the queue */
    unsigned long long refused;       /* of these, refused by on_open */
    unsigned long long messages;      /* messages handled (without frame: reads) */
    unsigned long long bytes_in;      /* received, but for what is thrown away behind an end of ours */
    unsigned long long bytes_out;     /* sent */
    unsigned long long pauses_failed; /* times accepting rested for a call that failed: want of descriptors or memory */
    unsigned long long pauses_full;   /* times accepting rested because connections_max was reached */
    unsigned long long waits;         /* times it waited for events */
    unsigned long long busy_waits;    /* of these, that began with busy-poll (busy_poll_us) */
    unsigned long long busy_wait_hits; /* of these, that an event ended before it slept */
    unsigned long long connections;    /* open now */
    unsigned long long pending;        /* bytes that the connections' buffers take now, see memory_max */
    unsigned long long pending_peak;   /* the most that ever was */
    unsigned long long closed[64];     /* connections that ended, by uds_echo_error */
} uds_echo_stats;

// >>server api
/* Opens a server, runs it until it is stopped, closes it. Returns UDS_ECHO_OK when it was stopped; else what
   uds_echo_server_open() or uds_echo_server_run() returned, explained in *failure. Blocks. */
UDS_ECHO_API uds_echo_error uds_echo_serve(const uds_echo_server_desc *desc, uds_echo_failure *failure);

/* Opens a server that listens on desc->path, or on the listener of desc->share_with; *server is NULL on failure. A
   stale socket file is replaced; a live server, and anything that is not a socket, is left alone. A live server sees
   one connection that ends at once, if failure is not NULL: that is how its pid is learned. Blocks for at most lock_ms
   while others hold the directory lock or all temporary names, and about 2 ms for each stale file that it finds.
   UDS_ECHO_ERR_INVALID (failure->call names the field), BAD_PATH, NOT_FOUND, DENIED, NOT_SOCKET, IN_USE, EXISTS, BUSY,
   NO_MEMORY, TOO_MANY_FILES, SYSTEM, UNSUPPORTED (the file system knows no modes); for share_with STOPPED, FORKED, and
   UNSUPPORTED where the compiler has no atomics. */
UDS_ECHO_API uds_echo_error uds_echo_server_open(uds_echo_server **server, const uds_echo_server_desc *desc,
                                                 uds_echo_failure *failure);

/* The same over a listening socket that somebody else made (socket activation); desc->path and share_with are NULL.
   It is verified to be a listening AF_UNIX stream socket and made nonblocking, which all who hold it will see
   (fcntl(2)), and close-on-exec. On success the server owns the descriptor and closes it at the end; it never unlinks,
   re-modes, re-listens or shuts it down, so that other holders go on; one of them that makes it blocking again makes
   the server wait in accept(2). It takes no passed descriptors from then on, see LIMITS. On failure it is still the
   caller's, and may have been made so already. Does not block.
   UDS_ECHO_ERR_INVALID, WRONG_TYPE, NO_MEMORY, TOO_MANY_FILES, SYSTEM. */
UDS_ECHO_API uds_echo_error uds_echo_server_adopt(uds_echo_server **server, int listener,
                                                  const uds_echo_server_desc *desc, uds_echo_failure *failure);

/* Serves until stopped and, after UDS_ECHO_STOP_DRAIN, drained. Blocks. UDS_ECHO_OK: it was stopped, before or during
   the call. Else INVALID (NULL), REENTRANT, FORKED, or SYSTEM with the reason in errno: the wait itself failed, nothing
   is lost, and the call may be repeated. */
UDS_ECHO_API uds_echo_error uds_echo_server_run(uds_echo_server *server);

/* One wait of at most timeout_ms (0: none; -1: until something happens) and all that is due. UDS_ECHO_OK: go on.
   UDS_ECHO_ERR_STOPPED: stopped and drained, nothing will ever happen again. Else as run. A signal may end the wait
   early. */
UDS_ECHO_API uds_echo_error uds_echo_server_step(uds_echo_server *server, int timeout_ms);

/* A descriptor for your own event loop, readable when step has something to do; -1 on the poll backend, and for NULL.
   Also ask uds_echo_server_timeout(). Only poll it, level-triggered (no EPOLLET): a step may leave something for the
   next one. It is epoll(7)'s. */
UDS_ECHO_API int uds_echo_server_fd(const uds_echo_server *server);

/* Milliseconds, rounded up, until step is due though the descriptor is quiet; 0: now; -1: never. */
UDS_ECHO_API int uds_echo_server_timeout(const uds_echo_server *server);

/* Asks the server to stop; that begins in the next step, or within one after at most 64 messages. Never blocks, is
   never lost, keeps errno; from any thread and any signal handler while the server is open. NULL does nothing. */
UDS_ECHO_API void uds_echo_server_stop(uds_echo_server *server, uds_echo_stop_mode how);

/* Makes the server's thread call on_wake soon, at least once behind the last of any number of calls; while it drains,
   too. From anywhere, as uds_echo_server_stop(). NULL does nothing. */
UDS_ECHO_API void uds_echo_server_wake(uds_echo_server *server);

/* Copies the counters; all are 0 for NULL. On the server's thread. */
UDS_ECHO_API void uds_echo_server_stats(const uds_echo_server *server, uds_echo_stats *stats);

/* The connection with this id; NULL: it is gone or ending. */
UDS_ECHO_API uds_echo_conn *uds_echo_server_find(uds_echo_server *server, uds_echo_id id);

/* Ends the server: as UDS_ECHO_STOP_NOW where it was not stopped, then frees it. on_close is called for what was open.
   NULL is fine. UDS_ECHO_OK, or UDS_ECHO_ERR_REENTRANT from one of its callbacks (nothing is closed then). */
UDS_ECHO_API uds_echo_error uds_echo_server_close(uds_echo_server *server);

// >>connection api
/* Sends size bytes after all that was answered before: a push, or the answer owed after UDS_ECHO_DEFER (size 0 pays it
   with nothing). All or nothing: what the socket does not take now is copied and sent as the peer reads. Never blocks.
   On the server's thread, within a callback or between steps. UDS_ECHO_ERR_WOULD_BLOCK: nothing was sent; if the socket
   took none of it, more than message_max would wait for this peer. No callback tells when there is room again. An
   answer that is owed never gets this. UDS_ECHO_ERR_TOO_LONG: size is over
   message_max. UDS_ECHO_ERR_CLOSING: it is ending. UDS_ECHO_ERR_RESET, NO_MEMORY, SYSTEM: it broke; on_close follows in
   this step or the next. UDS_ECHO_ERR_INVALID: NULL. */
UDS_ECHO_API uds_echo_error uds_echo_conn_send(uds_echo_conn *conn, const void *bytes, size_t size);

/* Ends this side of the connection: in the current or next step, or when the peer has read what was answered before;
   one that does not read is ended only by idle_ms, eviction or a stop. on_close comes when the peer has ended its side,
   too, or after linger_ms. An answer that was put off with UDS_ECHO_DEFER is no longer
   waited for. NULL is fine, here and for the functions that follow: uds_echo_server_find() may be their argument. */
UDS_ECHO_API void uds_echo_conn_close(uds_echo_conn *conn);

UDS_ECHO_API uds_echo_id uds_echo_conn_id(const uds_echo_conn *conn);

/* A pointer of yours for each connection, NULL at first; on_close is the place to free what it points to. (It is not
   called for what on_open refuses.) */
UDS_ECHO_API void uds_echo_conn_set_user(uds_echo_conn *conn, void *user);
UDS_ECHO_API void *uds_echo_conn_user(const uds_echo_conn *conn);

/* The server a connection belongs to. */
UDS_ECHO_API uds_echo_server *uds_echo_conn_server(const uds_echo_conn *conn);

/* Who connected; where that fails (UDS_ECHO_ERR_INVALID, SYSTEM) pid is INT_MAX, uid and gid are -1. In a user
   namespace an unmapped user is 65534. */
UDS_ECHO_API uds_echo_error uds_echo_conn_peer(const uds_echo_conn *conn, uds_echo_peer *peer);

// >>client api
/* Whom the client talks to, decided before it sends a byte. SO_PEERCRED names who called listen(), which under socket
   activation is another process than the one that serves: usually root. */
typedef enum uds_echo_trust {
    UDS_ECHO_TRUST_ANY = 0,          /* whoever has the path */
    UDS_ECHO_TRUST_UID = 701,        /* desc.uid only */
    UDS_ECHO_TRUST_UID_OR_ROOT = 702 /* desc.uid or 0 */
} uds_echo_trust;

typedef struct uds_echo_client_desc {
    const char *path;
    int timeout_ms;       /* for connecting: a place in a full queue is waited for in the kernel's line, behind those
                             who came before; 0: 5,000; -1: no limit. (Where a function takes timeout_ms, 0 waits for
                             nothing) */
    uds_echo_trust trust; /* 0: UDS_ECHO_TRUST_ANY */
    long uid;             /* 65534 also stands for every user without a mapping, see user_namespaces(7) */
    int busy_poll_us;     /* busy-poll before each wait of an exchange, see LATENCY; at most 1,000,000; 0 or -1: none */
} uds_echo_client_desc;

/* A client. Yours to place; set by uds_echo_client_open(), not to be changed by hand. Zeroed: one that is not open. */
typedef struct uds_echo_client {
    int is_open;
    int fd;
    int shutdown_sent; /* half-closed by this side */
    int input_ended;   /* 1: EOF was read; 2: the peer reset the connection */
    int send_failed;   /* sending met EPIPE or ECONNRESET */
    int busy_poll_us;
} uds_echo_client;

/* One exchange: what goes out and where what comes in is put. sent and got tell how far it is: set them to 0, and call
   again with the same structure to go on. */
typedef struct uds_echo_io {
    const void *out;
    size_t out_size, sent;
    void *in;
    size_t in_size, got;
} uds_echo_io;

/* Connects, sends size bytes of msg, half-closes, reads the answer to its end into reply, which must not overlap msg;
   *got (NULL is fine) is how much came, also on failure. timeout_ms is for all of it; -1: no limit; 0 waits for
   nothing. Blocks for that long at most. Needs no SIGPIPE care. UDS_ECHO_OK: all was sent, and the end came; a server
   that gave the message up (too long, not whole, its handler broken) ends like that, too, so look at the answer. Those
   of uds_echo_client_open(), and UDS_ECHO_ERR_TIMEOUT (the server may have had all of msg: a second call says it anew),
   TRUNCATED (the answer is longer than capacity; not all of msg need have been sent then), UNEXPECTED_EOF (the peer
   stopped reading before it had all of msg), RESET. */
UDS_ECHO_API uds_echo_error uds_echo_call(const char *path, const void *msg, size_t size, void *reply, size_t capacity,
                                          size_t *got, int timeout_ms, uds_echo_failure *failure);

/* Connects; what *client held before is not looked at, so close that first. Blocks at most desc->timeout_ms. On failure
   client->fd is -1, and closing it does nothing. UDS_ECHO_ERR_INVALID, BAD_PATH, NOT_FOUND, DENIED, REFUSED,
   WRONG_TYPE, UNTRUSTED, TIMEOUT, NO_MEMORY, TOO_MANY_FILES, SYSTEM. */
UDS_ECHO_API uds_echo_error uds_echo_client_open(uds_echo_client *client, const uds_echo_client_desc *desc,
                                                 uds_echo_failure *failure);

/* Sends out[sent .. out_size) and receives in[got .. in_size) at the same time, so that neither side can wait for the
   other. out NULL: only receive. in NULL: only send. Blocks at most timeout_ms (0: not at all; -1: no limit).
   UDS_ECHO_OK: all is sent and in is full. UNEXPECTED_EOF: the peer ended first; in[0 .. got) is what came.
   BUFFER_FULL: not all is sent, the socket takes no more now, in is full (or NULL) and more has come, which the peer
   may wait to be rid of: give it more room, and call again. TIMEOUT: in[0 .. got) is what came so far; call again.
   RESET: the peer went away, or it takes no more and in is full; what came is kept. (An answer whose length you do not
   know: wait for POLLIN on uds_echo_client_fd(), then exchange with timeout 0.) INVALID: NULL, a timeout under -1, sent
   or got past the size, or more to send after uds_echo_client_shutdown(). Else a call failed (NO_MEMORY, SYSTEM), and
   errno tells why. out and in must not overlap. */
UDS_ECHO_API uds_echo_error uds_echo_client_exchange(uds_echo_client *client, uds_echo_io *io, int timeout_ms);

/* Half-closes: the server sees the end of what was sent, and its answers can still be received. Does not block. OK,
   INVALID, RESET, SYSTEM. */
UDS_ECHO_API uds_echo_error uds_echo_client_shutdown(uds_echo_client *client);

/* The nonblocking descriptor, for your own loop: exchange with timeout 0, and as long as that says UDS_ECHO_ERR_TIMEOUT
   wait for what uds_echo_client_events() says. -1: not open. */
UDS_ECHO_API int uds_echo_client_fd(const uds_echo_client *client);

/* What to wait for after an exchange said UDS_ECHO_ERR_TIMEOUT, before *io is exchanged further: POLLIN and POLLOUT of
   poll(2). Ask anew before each wait: what is ready for ever, and leads no further, is left out. After any other result
   there is nothing to wait for, whatever this says. 0: NULL, or a client that is not open. */
UDS_ECHO_API int uds_echo_client_events(const uds_echo_client *client, const uds_echo_io *io);

/* Closes. NULL, a zeroed one, one that failed to open, and one that is closed are fine. */
UDS_ECHO_API void uds_echo_client_close(uds_echo_client *client);

// >>text api
/* Writes the sentence that explains a failure, with path (NULL: none; a long one shortened) in it, escaped, ended by
   NUL and cut to fit size. Returns its whole length in bytes without the NUL, as snprintf(3); text may be NULL
   when size is 0. A failure that is zeroed but for its error will do. */
UDS_ECHO_API size_t uds_echo_explain(const uds_echo_failure *failure, const char *path, char *text, size_t size);

/* "the time is up" for UDS_ECHO_ERR_TIMEOUT; a constant string, never NULL. */
UDS_ECHO_API const char *uds_echo_strerror(uds_echo_error error);

/* Writes size bytes as text that is safe to show: well-formed UTF-8 as it is; control characters, those that turn the
   direction of writing or end a line, other bytes and the backslash as \n, \r, \t, \\ or \x1b. Ended by NUL, cut
   between characters to fit, result as uds_echo_explain(). For names and messages that a peer chose. */
UDS_ECHO_API size_t uds_echo_escape(const void *bytes, size_t size, char *text, size_t capacity);

#ifdef __cplusplus
}
#endif

#endif /* UDS_ECHO_H */

#ifdef UDS_ECHO_IMPLEMENTATION
#ifndef UDS_ECHO_IMPLEMENTED
#define UDS_ECHO_IMPLEMENTED

// >>platform
/* Everything about operating systems and compilers is decided here, once, into macros that are 0 or 1 and may be
   forced from outside. Below, #if tests only those, and wraps whole functions. */
#ifndef __linux__
#error "uds_echo.h: this version supports Linux only"
#endif

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* accept4(2), renameat2(2); too late if a libc header came first, see below */
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#if !defined(O_CLOEXEC) || !defined(O_DIRECTORY) || !defined(AT_SYMLINK_NOFOLLOW) || !defined(CLOCK_MONOTONIC) ||      \
    !defined(SO_PEERCRED)
#error "uds_echo.h: a libc header came first and hid what is needed: define _GNU_SOURCE before the first #include"
#endif

/* epoll(7). 0: poll(2). */
#ifndef UDS_ECHO_HAVE_EPOLL
#ifdef UDS_ECHO_USE_POLL
#define UDS_ECHO_HAVE_EPOLL 0
#else
#define UDS_ECHO_HAVE_EPOLL 1
#endif
#endif
/* eventfd(2). 0: pipes. */
#ifndef UDS_ECHO_HAVE_EVENTFD
#define UDS_ECHO_HAVE_EVENTFD 1
#endif
/* accept4(2), SOCK_CLOEXEC, SOCK_NONBLOCK: descriptors that are close-on-exec and nonblocking from birth. 0: at once
   after it, which leaves a moment in which a fork() and exec() on another thread passes the descriptor on. */
#ifndef UDS_ECHO_HAVE_ACCEPT4
#define UDS_ECHO_HAVE_ACCEPT4 1
#endif
/* renameat2(2): in glibc since 2.28. 0: by syscall(2). */
#ifndef UDS_ECHO_HAVE_RENAMEAT2
#ifdef __GLIBC_PREREQ
#define UDS_ECHO_HAVE_RENAMEAT2 __GLIBC_PREREQ(2, 28)
#else
#define UDS_ECHO_HAVE_RENAMEAT2 0
#endif
#endif
/* syscall(2) of renameat2, where libc has no function for it (musl, bionic). 0: link(2) to a fresh path, rename(2)
   under the directory lock over a stale one. */
#if !UDS_ECHO_HAVE_RENAMEAT2 && !defined(UDS_ECHO_HAVE_SYSCALL)
#include <sys/syscall.h>
#ifdef SYS_renameat2
#define UDS_ECHO_HAVE_SYSCALL 1
#endif
#endif
#ifndef UDS_ECHO_HAVE_SYSCALL
#define UDS_ECHO_HAVE_SYSCALL 0
#endif
/* /proc/self/fd/N names an open folder, see proc(5): sockets whose whole path does not fit an address. */
#ifndef UDS_ECHO_HAVE_PROC_FD
#define UDS_ECHO_HAVE_PROC_FD 1
#endif
/* SO_PASSRIGHTS (Linux 6.16; older ones say no, and that is all): descriptors that a peer passes are refused. 0: they
   are closed unseen, see docs/limits.md. */
#ifndef UDS_ECHO_HAVE_PASSRIGHTS
#if defined(__sparc__) || defined(__hppa__) /* which number their options otherwise */
#define UDS_ECHO_HAVE_PASSRIGHTS 0
#else
#define UDS_ECHO_HAVE_PASSRIGHTS 1
#endif
#endif
/* __atomic builtins: servers on several threads count who shares a listener. */
#ifndef UDS_ECHO_HAVE_ATOMIC
#if defined(__ATOMIC_ACQ_REL)
#define UDS_ECHO_HAVE_ATOMIC 1
#else
#define UDS_ECHO_HAVE_ATOMIC 0
#endif
#endif

#if UDS_ECHO_HAVE_EPOLL
#include <sys/epoll.h>
#endif
#if UDS_ECHO_HAVE_EVENTFD
#include <sys/eventfd.h>
#endif
#define UE_EPOLLEXCLUSIVE (1u << 28) /* epoll_ctl(2), since Linux 4.5 */
#ifdef POLLRDHUP
#define UE_POLLRDHUP POLLRDHUP
#else
#define UE_POLLRDHUP 0x2000 /* poll(2), since Linux 2.6.17; declared only with _GNU_SOURCE */
#endif
#ifdef O_PATH
#define UE_O_PATH O_PATH
#elif defined(__linux__) && !defined(__alpha__) && !defined(__hppa__) && !defined(__sparc__)
#define UE_O_PATH 010000000 /* <fcntl.h> names it only with _GNU_SOURCE */
#else
#define UE_O_PATH O_RDONLY
#endif
#define UE_SO_PASSRIGHTS 83 /* <sys/socket.h> of today does not name it yet */
#ifdef F_DUPFD_CLOEXEC
#define UE_F_DUPFD_CLOEXEC F_DUPFD_CLOEXEC
#else
#define UE_F_DUPFD_CLOEXEC 1030 /* fcntl(2), since Linux 2.6.24 */
#endif
#define UE_RENAME_NOREPLACE 1u /* renameat2(2); <stdio.h> names them only with _GNU_SOURCE */
#define UE_RENAME_EXCHANGE 2u

#if !defined(__USE_GNU) && !defined(__cplusplus)
/* A libc header that came before _GNU_SOURCE hid these from C; C++ always sees them. */
int accept4(int, struct sockaddr *, socklen_t *, int);
int renameat(int, const char *, int, const char *);
int renameat2(int, const char *, int, const char *, unsigned int);
long syscall(long, ...);
#endif

/* How functions are compiled, and no more than that. A message takes some 300 instructions between system calls, which
   leave little of them in the processor's caches: those are one piece, and what is seldom needed lies apart. */
#if defined(__GNUC__) && defined(__OPTIMIZE__) && !defined(__OPTIMIZE_SIZE__)
#define UE_HOT static inline __attribute__((always_inline))
#define UE_COLD static __attribute__((cold))
#else
#define UE_HOT static
#define UE_COLD static
#endif

// >>syscalls
/* The seam: nothing below leaves this file but by these, so that a test can put a kernel of its own in their place:
   accept accept4 bind calloc clock_gettime close connect epoll_create1 epoll_ctl epoll_wait eventfd fchmod fchmodat
   fcntl flock free fstatat getpid getrlimit getsockopt linkat listen malloc open pipe poll read recv renameat
   renameat2 send setsockopt shutdown socket syscall unlinkat write. */
#ifndef UDS_ECHO_SYS
#define UDS_ECHO_SYS(fn) fn
#endif

// >>time
static const long long UE_NONE = -1; /* no deadline */

/* Later than every deadline: a clock that failed must not make a bounded wait endless. */
static const long long UE_NO_CLOCK = LLONG_MAX;

/* Monotonic. */
static long long ue_now_us(void)
{
    struct timespec t;
    if (UDS_ECHO_SYS(clock_gettime)(CLOCK_MONOTONIC, &t)) return UE_NO_CLOCK;
    return (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Milliseconds, the unit of all times below that do not say otherwise. */
static long long ue_now(void)
{
    long long us = ue_now_us();
    return us == UE_NO_CLOCK ? us : us / 1000;
}

/* Without a clock: the limit itself, below UE_NONE. */
static long long ue_deadline(int timeout_ms)
{
    long long now;
    if (timeout_ms < 0) return UE_NONE;
    now = ue_now();
    return now == UE_NO_CLOCK ? UE_NONE - 1 - timeout_ms : now + timeout_ms;
}

/* What is left until a deadline, in the form that poll(2) and epoll_wait(2) take. */
static int ue_remaining_ms(long long deadline, long long now)
{
    if (deadline == UE_NONE) return -1;
    if (deadline <= now) return 0;
    return deadline - now > INT_MAX ? INT_MAX : (int)(deadline - now);
}

static int ue_remaining_ms_now(long long deadline)
{
    if (deadline < UE_NONE) return (int)(UE_NONE - 1 - deadline);
    return ue_remaining_ms(deadline, deadline == UE_NONE ? 0 : ue_now());
}

static long long ue_earlier(long long a, long long b)
{
    if (a == UE_NONE) return b;
    return b == UE_NONE || a < b ? a : b;
}

/* Busy-poll: until when, in microseconds, to ask without sleeping; 0: not at all. The sleep behind it is shorter by
   that. */
UE_HOT long long ue_busy_poll_until(int busy_poll_us, int *timeout_ms)
{
    long long now;
    if (busy_poll_us <= 0 || *timeout_ms == 0) return 0;
    now = ue_now_us();
    if (now == UE_NO_CLOCK) return 0;
    if (*timeout_ms > 0 && *timeout_ms <= busy_poll_us / 1000) busy_poll_us = *timeout_ms * 1000;
    if (*timeout_ms > 0) *timeout_ms -= busy_poll_us / 1000;
    return now + busy_poll_us;
}

/* A clock that goes back ends it, too. */
static int ue_busy_poll_goes_on(long long until, int busy_poll_us)
{
    long long now = ue_now_us();
    return now < until && now >= until - busy_poll_us;
}

/* Start-up and connecting may wait a little; an early end by a signal does no harm, for the caller looks at the
   clock. */
static void ue_sleep_ms(int ms)
{
    (void)UDS_ECHO_SYS(poll)(NULL, 0, ms);
}

// >>text
/* Text that is cut, never overrun: used counts what there would be. */
typedef struct ue_text {
    char *at;
    size_t size, used;
} ue_text;

static ue_text ue_text_begin(char *at, size_t size)
{
    ue_text t;
    t.at = at;
    t.size = at ? size : 0;
    t.used = 0;
    return t;
}

/* So many bytes follow that make sense only together: what does not fit as a whole is cut before them. */
static void ue_text_reserve(ue_text *t, size_t bytes)
{
    if (t->used < t->size && bytes >= t->size - t->used) t->size = t->used + 1;
}

static void ue_put(ue_text *t, char c)
{
    if (t->used + 1 < t->size) t->at[t->used] = c;
    t->used++;
}

static void ue_puts(ue_text *t, const char *s)
{
    while (*s) ue_put(t, *s++);
}

static void ue_put_number(ue_text *t, long number)
{
    char digits[24];
    int n = 0;
    unsigned long rest = number < 0 ? (unsigned long)-(number + 1) + 1 : (unsigned long)number;
    if (number < 0) ue_put(t, '-');
    do digits[n++] = (char)('0' + rest % 10);
    while ((rest /= 10) > 0);
    while (n > 0) ue_put(t, digits[--n]);
}

/* Line and paragraph separators, and what turns the direction of writing (Unicode, UAX #9): to be shown, not obeyed. */
static int ue_is_bidi_control(const unsigned char *b)
{
    if (b[0] == 0xd8) return b[1] == 0x9c;
    if (b[0] != 0xe2) return 0;
    if (b[1] == 0x80) return (b[2] >= 0xa8 && b[2] <= 0xae) || b[2] == 0x8e || b[2] == 0x8f;
    return b[1] == 0x81 && b[2] >= 0xa6 && b[2] <= 0xa9;
}

/* The length of a well-formed multi-byte character at the start that is no control character (RFC 3629); 0: none. */
static size_t ue_utf8(const unsigned char *b, size_t size)
{
    size_t length = b[0] < 0xc2 ? 0 : b[0] < 0xe0 ? 2 : b[0] < 0xf0 ? 3 : b[0] < 0xf5 ? 4 : 0, i;
    if (length == 0 || length > size) return 0;
    for (i = 1; i < length; i++)
        if ((b[i] & 0xc0) != 0x80) return 0;
    if ((b[0] == 0xc2 && b[1] < 0xa0) || (b[0] == 0xe0 && b[1] < 0xa0) || (b[0] == 0xed && b[1] > 0x9f)) return 0;
    if ((b[0] == 0xf0 && b[1] < 0x90) || (b[0] == 0xf4 && b[1] > 0x8f)) return 0;
    return ue_is_bidi_control(b) ? 0 : length;
}

/* Where the character begins that the byte at this place, 3 or later, is part of, if it is of one. */
static size_t ue_utf8_start(const char *text, size_t at)
{
    size_t back;
    for (back = 0; back < 3 && (text[at - back] & 0xc0) == 0x80; back++) continue;
    return at - back;
}

static void ue_put_escaped(ue_text *t, const void *bytes, size_t size)
{
    const unsigned char *b = (const unsigned char *)bytes;
    const char *special = "\n\r\t\\";
    size_t i, length;
    for (i = 0; i < size; i += length) {
        const char *found = b[i] ? (strchr)(special, b[i]) : NULL;
        length = ue_utf8(b + i, size - i);
        if (length) {
            size_t k;
            ue_text_reserve(t, length);
            for (k = 0; k < length; k++) ue_put(t, (char)b[i + k]);
            continue;
        }
        length = 1;
        if (found) {
            ue_text_reserve(t, 2);
            ue_put(t, '\\');
            ue_put(t, "nrt\\"[found - special]);
        } else if (b[i] < 32 || b[i] > 126) {
            ue_text_reserve(t, 4);
            ue_puts(t, "\\x");
            ue_put(t, "0123456789abcdef"[b[i] >> 4]);
            ue_put(t, "0123456789abcdef"[b[i] & 15]);
        } else {
            ue_put(t, (char)b[i]);
        }
    }
}

static size_t ue_text_end(ue_text *t)
{
    if (t->size) t->at[t->used < t->size ? t->used : t->size - 1] = '\0';
    return t->used;
}

UDS_ECHO_API size_t uds_echo_escape(const void *bytes, size_t size, char *text, size_t capacity)
{
    ue_text t = ue_text_begin(text, capacity);
    if (bytes) ue_put_escaped(&t, bytes, size);
    return ue_text_end(&t);
}

// >>explain
/* One errno says different things of a path, of a connection and of everything else. */
static uds_echo_error ue_error_of(int os_error)
{
    switch (os_error) {
    case ENOMEM:
    case ENOBUFS: return UDS_ECHO_ERR_NO_MEMORY;
    case EMFILE:
    case ENFILE: return UDS_ECHO_ERR_TOO_MANY_FILES;
    default: return UDS_ECHO_ERR_SYSTEM;
    }
}

static uds_echo_error ue_path_error(int os_error)
{
    switch (os_error) {
    case EACCES:
    case EPERM:
    case EROFS: return UDS_ECHO_ERR_DENIED;
    case ENOENT:
    case ENOTDIR: return UDS_ECHO_ERR_NOT_FOUND;
    case ENAMETOOLONG: return UDS_ECHO_ERR_BAD_PATH;
    case ECONNREFUSED: return UDS_ECHO_ERR_REFUSED;
    case EPROTOTYPE: return UDS_ECHO_ERR_WRONG_TYPE;
    default: return ue_error_of(os_error);
    }
}

static uds_echo_error ue_conn_error(int os_error)
{
    int is_reset = os_error == EPIPE || os_error == ENOTCONN || os_error == ECONNRESET;
    return is_reset ? UDS_ECHO_ERR_RESET : ue_error_of(os_error);
}

static uds_echo_error ue_fail(uds_echo_failure *failure, uds_echo_error error, int os_error, const char *call)
{
    if (failure) {
        failure->error = error;
        failure->os_error = os_error;
        failure->call = call;
        failure->pid = INT_MAX;
        failure->uid = -1;
    }
    return error;
}

static uds_echo_error ue_fail_os(uds_echo_failure *failure, const char *call)
{
    int os_error = errno;
    return ue_fail(failure, ue_error_of(os_error), os_error, call);
}

static uds_echo_error ue_fail_path(uds_echo_failure *failure, int os_error, const char *call)
{
    return ue_fail(failure, ue_path_error(os_error), os_error, call);
}

// clang-format off
#define UE_ERRNOS(X)                                                                                                   \
    X(EACCES) X(EADDRINUSE) X(EAGAIN) X(EBADF) X(EBUSY) X(ECONNREFUSED) X(ECONNRESET) X(EDQUOT) X(EEXIST) X(EINTR)     \
    X(EINVAL) X(EIO) X(EISDIR) X(ELOOP) X(EMFILE) X(ENAMETOOLONG) X(ENFILE) X(ENOBUFS) X(ENOENT) X(ENOLCK) X(ENOMEM)   \
    X(ENOSPC) X(ENOSYS) X(ENOTCONN) X(ENOTDIR) X(ENOTSOCK) X(EOPNOTSUPP) X(EPERM) X(EPIPE) X(EPROTOTYPE) X(EROFS)      \
    X(ESTALE) X(EXDEV)
// clang-format on

static const char *const ue_what[] = {
#define UE_X(name, what, advice) what,
    UDS_ECHO_ERRORS(UE_X)
#undef UE_X
};

static const char *const ue_advice[] = {
#define UE_X(name, what, advice) advice,
    UDS_ECHO_ERRORS(UE_X)
#undef UE_X
};

/* strerror(3) is not safe with threads, and a symbol can be looked up. */
static const struct {
    int os_error;
    const char *name;
} ue_symbols[] = {
#define UE_X(symbol) {symbol, #symbol},
    UE_ERRNOS(UE_X)
#undef UE_X
};

static const char *ue_symbol_of(int os_error)
{
    size_t i;
    for (i = 0; i < sizeof ue_symbols / sizeof ue_symbols[0]; i++)
        if (ue_symbols[i].os_error == os_error) return ue_symbols[i].name;
    return NULL;
}

/* Where the errno or the call says more than the error, the advice follows it. */
static const char *ue_advice_of(const uds_echo_failure *f, int told)
{
    if (told && f->os_error == EROFS) return "the file system is read-only: use a path on another one";
    if (told && f->os_error == EBUSY) return "the path is a mount point: mount the directory, not the socket file";
    if (told && f->error == UDS_ECHO_ERR_DENIED && !strcmp(f->call, "unlinkat"))
        return "the directory must let files be removed: remove PATH~0 to PATH~9, or use UDS_ECHO_PUBLISH_DIRECT";
    return ue_advice[f->error];
}

UDS_ECHO_API const char *uds_echo_strerror(uds_echo_error error)
{
    return (int)error >= 0 && error < UDS_ECHO_ERROR_COUNT ? ue_what[error] : "not an error of this library";
}

static void ue_put_errno(ue_text *t, int os_error)
{
    const char *symbol = ue_symbol_of(os_error);
    ue_puts(t, symbol ? ": " : ": errno ");
    if (symbol) ue_puts(t, symbol);
    else ue_put_number(t, os_error);
}

UDS_ECHO_API size_t uds_echo_explain(const uds_echo_failure *failure, const char *path, char *text, size_t size)
{
    ue_text t = ue_text_begin(text, size);
    int told = failure && failure->error && failure->call; /* by one of ours, not made by hand */
    if (path) {
        size_t length = strlen(path);
        int is_long = length > 256; /* the cause must not fall off the end of a short buffer */
        ue_put(&t, '"');
        size_t tail = is_long ? ue_utf8_start(path, length - 128) : length;
        ue_put_escaped(&t, path, is_long ? ue_utf8_start(path, 64) : length);
        if (is_long) ue_puts(&t, "...");
        ue_put_escaped(&t, path + tail, length - tail);
        ue_puts(&t, "\": ");
    }
    ue_puts(&t, uds_echo_strerror(failure ? failure->error : UDS_ECHO_OK));
    if (told && failure->uid >= 0) {
        ue_puts(&t, " (pid ");
        if (failure->pid == INT_MAX) ue_puts(&t, "unknown");
        else ue_put_number(&t, failure->pid);
        ue_puts(&t, ", uid ");
        ue_put_number(&t, failure->uid);
        ue_puts(&t, ")");
    }
    if (told && failure->call[0]) {
        ue_puts(&t, " [");
        ue_puts(&t, failure->call);
        if (failure->os_error) ue_put_errno(&t, failure->os_error);
        ue_puts(&t, "]");
    }
    if (failure && failure->error && (int)failure->error > 0 && failure->error < UDS_ECHO_ERROR_COUNT) {
        ue_puts(&t, "; ");
        ue_puts(&t, ue_advice_of(failure, told));
    }
    return ue_text_end(&t);
}

// >>descriptor
static void ue_close(int *fd)
{
    if (*fd >= 0) (void)UDS_ECHO_SYS(close)(*fd); /* close(2): gone on Linux whatever it returns; never repeated */
    *fd = -1;
}

/* Close-on-exec and nonblocking, for descriptors that are not so from birth. */
static int ue_set_cloexec_nonblock(int fd)
{
    int flags = UDS_ECHO_SYS(fcntl)(fd, F_GETFD);
    if (flags >= 0 && (flags & FD_CLOEXEC || !UDS_ECHO_SYS(fcntl)(fd, F_SETFD, flags | FD_CLOEXEC))) {
        flags = UDS_ECHO_SYS(fcntl)(fd, F_GETFL);
        if (flags >= 0 && (flags & O_NONBLOCK || !UDS_ECHO_SYS(fcntl)(fd, F_SETFL, flags | O_NONBLOCK))) return 1;
    }
    return 0;
}

/* Not 0, 1 or 2: what the program writes to its standard streams must not end up here. -1: it failed. */
UE_COLD int ue_move_from_stdio(int fd)
{
    int moved = UDS_ECHO_SYS(fcntl)(fd, UE_F_DUPFD_CLOEXEC, 3), os_error = errno;
    ue_close(&fd);
    errno = os_error;
    return moved;
}

static int ue_above_stdio(int fd)
{
    return fd < 0 || fd > 2 ? fd : ue_move_from_stdio(fd);
}

UE_COLD int ue_cloexec_nonblock_or_close(int fd)
{
    int os_error;
    if (fd < 0 || ue_set_cloexec_nonblock(fd)) return ue_above_stdio(fd);
    os_error = errno;
    ue_close(&fd);
    errno = os_error;
    return -1;
}

UE_COLD int ue_accept_plain(int listener)
{
    return ue_cloexec_nonblock_or_close(UDS_ECHO_SYS(accept)(listener, NULL, NULL));
}

#if !UDS_ECHO_HAVE_ACCEPT4
static int ue_socket(int type)
{
    return ue_cloexec_nonblock_or_close(UDS_ECHO_SYS(socket)(AF_UNIX, type, 0));
}

static int ue_accept(int listener)
{
    return ue_accept_plain(listener);
}
#else
static int ue_socket(int type)
{
    return ue_above_stdio(UDS_ECHO_SYS(socket)(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

/* ENOSYS: the libc has it, and the system or a sandbox does not. */
static int ue_accept(int listener)
{
    int fd = UDS_ECHO_SYS(accept4)(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    return fd < 0 && errno == ENOSYS ? ue_accept_plain(listener) : ue_above_stdio(fd);
}
#endif

/* An old kernel, a file system or a sandbox does not offer the call, and says any of these. */
static int ue_is_refused(int os_error)
{
    return os_error == ENOSYS || os_error == EPERM || os_error == EACCES || os_error == EOPNOTSUPP;
}

/* Whether nobody will ever be accepted: of no descriptor accept(2) says EBADF where it is offered. */
static int ue_accept_is_refused(void)
{
    (void)ue_accept(-1);
    return ue_is_refused(errno);
}

static int ue_open(const char *path, int flags)
{
    return ue_above_stdio(UDS_ECHO_SYS(open)(path, flags | O_CLOEXEC));
}

/* unix(7): without this a byte sent with MSG_OOB would vanish from the stream. 0: it failed. */
static int ue_set_oobinline(int fd)
{
    int on = 1;
    return !UDS_ECHO_SYS(setsockopt)(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on);
}

/* A descriptor that a peer passes would be closed here, and to close the last copy of somebody's TCP connection waits
   for as long as its SO_LINGER says. So passing one fails, at the peer; accepted sockets inherit that. */
static void ue_disable_passrights(int fd)
{
    int off = 0;
    if (UDS_ECHO_HAVE_PASSRIGHTS) (void)UDS_ECHO_SYS(setsockopt)(fd, SOL_SOCKET, UE_SO_PASSRIGHTS, &off, sizeof off);
}

/* Nothing can be done now, but it may be later. On a nonblocking descriptor EINTR is just that: the poller reports
   again. */
static int ue_is_transient(int os_error)
{
    return os_error == EAGAIN || os_error == EWOULDBLOCK || os_error == EINTR;
}

/* How many bytes the socket took: 0 when it takes none now, -1 when it never will. */
UE_HOT long ue_send(int fd, const void *bytes, size_t size)
{
    ssize_t n = UDS_ECHO_SYS(send)(fd, bytes, size, MSG_NOSIGNAL);
    if (n < 0) return ue_is_transient(errno) ? 0 : -1;
    return (long)n;
}

// >>path
/* A path, taken apart once: the folder stays open, so that a later chdir() or rename of the folder changes nothing. */
typedef struct ue_path {
    const char *given;
    const char *name; /* the last component, within given */
    const char *arg_name;
    int dirfd; /* of the directory; -1: not opened */
} ue_path;

#define UE_NAME_SIZE sizeof(((struct sockaddr_un *)0)->sun_path) /* of one that fits, its suffix and NUL included */

static uds_echo_error ue_path_split(ue_path *p, const char *path, const char *field, uds_echo_failure *failure)
{
    const char *slash;
    p->dirfd = -1;
    p->given = p->name = path;
    p->arg_name = field;
    if (!path) return ue_fail(failure, UDS_ECHO_ERR_INVALID, 0, field);
    slash = (strrchr)(path, '/');
    if (slash) p->name = slash + 1;
    if (!*p->name) return ue_fail(failure, UDS_ECHO_ERR_BAD_PATH, 0, field);
    return UDS_ECHO_OK;
}

/* A folder that may be searched but not read can be used; only the lock needs a descriptor for reading. */
static uds_echo_error ue_path_open_dir(ue_path *p, uds_echo_failure *failure)
{
    uds_echo_error error;
    size_t size = (size_t)(p->name - p->given);
    char *folder = (char *)UDS_ECHO_SYS(malloc)(size + 2);
    if (!folder) return ue_fail(failure, UDS_ECHO_ERR_NO_MEMORY, ENOMEM, "malloc");
    if (size) memcpy(folder, p->given, size);
    else folder[size++] = '.';
    folder[size] = '\0';
    p->dirfd = ue_open(folder, O_RDONLY | O_DIRECTORY);
    if (p->dirfd < 0 && errno == EACCES) p->dirfd = ue_open(folder, UE_O_PATH | O_DIRECTORY);
    error = p->dirfd < 0 ? ue_fail_path(failure, errno, "open") : UDS_ECHO_OK;
    UDS_ECHO_SYS(free)(folder);
    return error;
}

static int ue_address_end(struct sockaddr_un *address, socklen_t *size, ue_text *t, const char *suffix)
{
    ue_puts(t, suffix);
    *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + t->used + 1);
    return ue_text_end(t) < sizeof address->sun_path;
}

static ue_text ue_address_begin(struct sockaddr_un *address)
{
    address->sun_family = AF_UNIX;
    return ue_text_begin(address->sun_path, sizeof address->sun_path);
}

/* By way of the open folder, wherever the path leads by now. 0: it does not fit, or there is no such way. */
static int ue_address_by_dirfd(struct sockaddr_un *address, socklen_t *size, const ue_path *p, const char *suffix)
{
    ue_text t = ue_address_begin(address);
    if (!UDS_ECHO_HAVE_PROC_FD || p->dirfd < 0) return 0;
    ue_puts(&t, "/proc/self/fd/");
    ue_put_number(&t, p->dirfd);
    ue_put(&t, '/');
    ue_puts(&t, p->name);
    return ue_address_end(address, size, &t, suffix);
}

/* The caller's own string where it fits (unix(7): 108 bytes, here always with a NUL), else by way of the open folder.
   0: it does not fit either way. */
static int ue_address(struct sockaddr_un *address, socklen_t *size, const ue_path *p, const char *suffix)
{
    ue_text t = ue_address_begin(address);
    if (strlen(p->given) + strlen(suffix) >= t.size) return ue_address_by_dirfd(address, size, p, suffix);
    ue_puts(&t, p->given);
    return ue_address_end(address, size, &t, suffix);
}

// >>wakeup
/* How another thread or a signal handler reaches the server: by one write(2), and nothing shared. */
enum { UE_WAKEUP_NOW = 1, UE_WAKEUP_DRAIN = 2, UE_WAKEUP_WAKE = 4 };
enum { UE_WAKEUP_FDS = UDS_ECHO_HAVE_EVENTFD ? 1 : 3 };

typedef struct ue_wakeup {
    int rfd[UE_WAKEUP_FDS], wfd[UE_WAKEUP_FDS]; /* read and write ends; -1: not open */
} ue_wakeup;

static void ue_wakeup_close(ue_wakeup *wakeup)
{
    int i;
    for (i = 0; i < UE_WAKEUP_FDS; i++) {
        if (wakeup->wfd[i] != wakeup->rfd[i]) ue_close(&wakeup->wfd[i]);
        ue_close(&wakeup->rfd[i]);
    }
}

#if UDS_ECHO_HAVE_EVENTFD
/* One counter, three fields: bits 0 to 30 NOW, 31 to 61 DRAIN, 62 and 63 WAKE. What may be signalled without end sits
   on top: a fourth unread wake would overflow, which the kernel refuses (eventfd(2), EAGAIN) instead of carrying it
   over. */
static int ue_wakeup_open(ue_wakeup *wakeup)
{
    wakeup->rfd[0] = wakeup->wfd[0] = ue_above_stdio(UDS_ECHO_SYS(eventfd)(0, EFD_CLOEXEC | EFD_NONBLOCK));
    return wakeup->rfd[0] >= 0;
}

static void ue_wakeup_signal(const ue_wakeup *wakeup, int what)
{
    unsigned long long add = what == UE_WAKEUP_NOW ? 1 : what == UE_WAKEUP_DRAIN ? 1ull << 31 : 1ull << 62;
    if (UDS_ECHO_SYS(write)(wakeup->wfd[0], &add, sizeof add) < 0) return; /* EAGAIN: a wake is pending already */
}

static int ue_wakeup_read(const ue_wakeup *wakeup)
{
    unsigned long long count = 0;
    if (UDS_ECHO_SYS(read)(wakeup->rfd[0], &count, sizeof count) < 0 && !ue_is_transient(errno)) return -1;
    return (count & 0x7fffffff ? UE_WAKEUP_NOW : 0) | (count >> 31 & 0x7fffffff ? UE_WAKEUP_DRAIN : 0) |
           (count >> 62 ? UE_WAKEUP_WAKE : 0);
}
#else
/* One pipe each: a pipe that is full of one kind (pipe(7): 65,536 bytes) must not lose another. */
static int ue_wakeup_open(ue_wakeup *wakeup)
{
    int i, ends[2];
    for (i = 0; i < UE_WAKEUP_FDS; i++) {
        if (UDS_ECHO_SYS(pipe)(ends)) return 0;
        wakeup->wfd[i] = ends[1];
        wakeup->rfd[i] = ue_cloexec_nonblock_or_close(ends[0]);
        if (wakeup->rfd[i] < 0) return 0;
        wakeup->wfd[i] = ue_cloexec_nonblock_or_close(ends[1]);
        if (wakeup->wfd[i] < 0) return 0;
    }
    return 1;
}

static void ue_wakeup_signal(const ue_wakeup *wakeup, int what)
{
    if (UDS_ECHO_SYS(write)(wakeup->wfd[what >> 1], "", 1) < 0)
        return; /* EAGAIN: the pipe is full of the same request */
}

static int ue_wakeup_read(const ue_wakeup *wakeup)
{
    char bytes[512];
    int i, signals = 0, os_error = 0;
    for (i = 0; i < UE_WAKEUP_FDS; i++) {
        ssize_t n = UDS_ECHO_SYS(read)(wakeup->rfd[i], bytes, sizeof bytes);
        if (n > 0) signals |= 1 << i;
        else if (n < 0 && !ue_is_transient(errno)) os_error = errno;
    }
    errno = os_error;
    return os_error ? -1 : signals;
}
#endif

// >>peer
/* unix(7), SO_PEERCRED: at a server who called connect(), at a client who called listen(). The layout is struct
   ucred's, which libc shows only with _GNU_SOURCE. */
static int ue_peer_of(int fd, uds_echo_peer *peer)
{
    struct {
        pid_t pid;
        uid_t uid;
        gid_t gid;
    } who;
    socklen_t size = sizeof who;
    if (UDS_ECHO_SYS(getsockopt)(fd, SOL_SOCKET, SO_PEERCRED, &who, &size)) return 0;
    peer->pid = who.pid > 0 ? (long)who.pid : INT_MAX; /* 0: of another pid namespace, and to kill(2) one's own group */
    peer->uid = (long)who.uid;
    peer->gid = (long)who.gid;
    return 1;
}

// >>poller
/* What to watch and what is ready. Two implementations of the same functions: open, close, fd, set, wait, has_more,
   next. A watched descriptor has an index, a small number of its own, and a token that comes back with its
   events: the index in the lower half and, for connections, the generation in the upper, so that an event for a slot
   that was reused meanwhile is known as stale. */
enum { UE_IN = 1, UE_OUT = 2, UE_EXCLUSIVE = 4 };          /* what to watch for */
enum { UE_INDEX_LISTENER = UE_WAKEUP_FDS, UE_INDEX_CONN }; /* indexes; the wakeup comes first */
enum { UE_EVENTS = 256 };                                  /* taken from the system at a time */

#if UDS_ECHO_HAVE_EPOLL
typedef struct ue_poller {
    int fd;
    int next, count;
    struct epoll_event ready[UE_EVENTS];
} ue_poller;

static int ue_poller_open(ue_poller *p, size_t size)
{
    (void)size;
    p->next = p->count = 0;
    p->fd = ue_above_stdio(UDS_ECHO_SYS(epoll_create1)(EPOLL_CLOEXEC));
    return p->fd >= 0;
}

static void ue_poller_close(ue_poller *p)
{
    ue_close(&p->fd);
}

static int ue_poller_fd(const ue_poller *p)
{
    return p->fd;
}

/* Changes what fd is watched for from had to want. Nothing: taken out, for epoll_ctl(2) reports HUP and ERR even
   unasked, and a descriptor that nobody reads or writes now would spin. */
static int ue_poller_set(ue_poller *p, int fd, unsigned long long token, int had, int want)
{
    struct epoll_event e;
    memset(&e, 0, sizeof e);
    e.events = (want & UE_IN ? (unsigned)EPOLLIN : 0u) | (want & UE_OUT ? (unsigned)EPOLLOUT : 0u) |
               (want & UE_EXCLUSIVE ? UE_EPOLLEXCLUSIVE : 0u);
    e.data.u64 = token;
    return !UDS_ECHO_SYS(epoll_ctl)(p->fd, !had ? EPOLL_CTL_ADD : want ? EPOLL_CTL_MOD : EPOLL_CTL_DEL, fd, &e);
}

static int ue_poller_wait(ue_poller *p, int timeout_ms)
{
    p->next = 0;
    p->count = UDS_ECHO_SYS(epoll_wait)(p->fd, p->ready, UE_EVENTS, timeout_ms);
    return p->count;
}

/* A step ended before it came to all events. */
static int ue_poller_has_more(const ue_poller *p)
{
    return p->next < p->count;
}

static int ue_poller_next(ue_poller *p, unsigned long long *token)
{
    if (p->next >= p->count) return 0;
    *token = p->ready[p->next++].data.u64;
    return 1;
}
#else
typedef struct ue_poller {
    struct pollfd *fds; /* by index; fd -1: not watched, see poll(2) */
    unsigned long long *tokens;
    size_t used, next;
} ue_poller;

static int ue_poller_open(ue_poller *p, size_t size)
{
    p->used = p->next = 0;
    p->fds = (struct pollfd *)UDS_ECHO_SYS(calloc)(size, sizeof *p->fds);
    p->tokens = p->fds ? (unsigned long long *)UDS_ECHO_SYS(calloc)(size, sizeof *p->tokens) : NULL;
    return p->tokens != NULL;
}

static void ue_poller_close(ue_poller *p)
{
    UDS_ECHO_SYS(free)(p->fds);
    UDS_ECHO_SYS(free)(p->tokens);
}

static int ue_poller_fd(const ue_poller *p)
{
    (void)p;
    return -1;
}

static int ue_poller_set(ue_poller *p, int fd, unsigned long long token, int had, int want)
{
    size_t index = (size_t)(token & 0xffffffff);
    (void)had;
    for (; p->used <= index; p->used++) p->fds[p->used].fd = -1;
    p->fds[index].fd = want ? fd : -1;
    p->fds[index].events = (short)((want & UE_IN ? POLLIN : 0) | (want & UE_OUT ? POLLOUT : 0));
    p->fds[index].revents = 0; /* what the last wait said was about the descriptor that was here */
    p->tokens[index] = token;
    return 1;
}

static int ue_poller_wait(ue_poller *p, int timeout_ms)
{
    int count;
    /* poll(2), EINVAL: it takes no more entries than this process may have descriptors */
    while (p->used && p->fds[p->used - 1].fd < 0) p->used--;
    count = UDS_ECHO_SYS(poll)(p->fds, (nfds_t)p->used, timeout_ms);
    p->next = count > 0 ? 0 : p->used;
    return count;
}

/* A step ended before it came to all events. */
static int ue_poller_has_more(ue_poller *p)
{
    while (p->next < p->used && !p->fds[p->next].revents) p->next++;
    return p->next < p->used;
}

static int ue_poller_next(ue_poller *p, unsigned long long *token)
{
    if (!ue_poller_has_more(p)) return 0;
    *token = p->tokens[p->next++];
    return 1;
}
#endif

// >>claim
/* From a path to a listening socket, and back. docs/claim.md has the reasons, and tests/model a model.

   lock     the directory, for a fresh start too: whoever stages without it may take another server's file for its own
   inspect  what is at the path: nothing, a stale socket, or something that refuses the start
   stage    bind under a temporary name (path~0 .. path~9), hold the file open, see the mark, set the mode, listen
   publish  nothing was there: rename without replacing. A stale socket was there: exchange the two names and look at
            what came out; the wrong thing is put back
   confirm  look at the path: it leads to this socket, and somebody is bound to it
   unlink   under the lock, the path, if it still is the socket that was staged

   Three rules. No lock, no removal but of what was just staged. Stale is believed only when seen twice, because bind(2)
   makes the file a moment before the socket can be found through it. No effect is believed that can be looked at. A
   crash leaves at most one temporary name, which the next start with the lock removes. */
enum { UE_MARK = 01000 }; /* the sticky bit, which means nothing on a socket: from birth on the file that is ours */

typedef struct ue_inode {
    dev_t dev;
    ino_t ino;
} ue_inode;

typedef struct ue_claim {
    const uds_echo_server_desc *desc;
    uds_echo_failure *failure;
    ue_path path;
    int fd;                 /* the staged socket; -1: none */
    int file;               /* its file, held open so that its number is not reused; -1: not */
    ue_inode inode;         /* of that file, once the mark was seen; else zero, and nothing of it is removed */
    char suffix[3];         /* of the name it has now; "": the published one */
    int locked, lock_error; /* errno where it could not be had */
    int direct;             /* bind in place: asked for, or no rename is offered here */
    int unlike;             /* how often what was staged was not like what bind(2) makes */
    int unswept;            /* errno: a temporary file of this user may not be removed; 0: all may */
} ue_claim;

enum { UE_PATH_ABSENT, UE_PATH_STALE };
#define UE_RETRY UDS_ECHO_ERROR_COUNT /* somebody moved meanwhile: look again. It never leaves this section */

static int ue_same_inode(const ue_inode *a, const ue_inode *b)
{
    return a->dev == b->dev && a->ino == b->ino;
}

static int ue_is_inode(const ue_inode *inode, const struct stat *st)
{
    return inode->dev == st->st_dev && inode->ino == st->st_ino;
}

static ue_inode ue_inode_of(const struct stat *st)
{
    ue_inode inode;
    inode.dev = st->st_dev;
    inode.ino = st->st_ino;
    return inode;
}

static void ue_name(char name[UE_NAME_SIZE], const ue_path *p, const char *suffix)
{
    ue_text t = ue_text_begin(name, UE_NAME_SIZE);
    ue_puts(&t, p->name);
    ue_puts(&t, suffix);
    ue_text_end(&t);
}

/* 0, or the errno. Never follows a link. */
static int ue_lstat(int dirfd, const char *name, struct stat *st)
{
    return UDS_ECHO_SYS(fstatat)(dirfd, name, st, AT_SYMLINK_NOFOLLOW) ? errno : 0;
}

/* bind(2) and connect(2) go by an address. Does it lead to this file, of the open directory? A path may lead elsewhere
   by now, and /proc/self is that of the first thread, which may have other descriptors (unshare(2)). */
static int ue_resolves_to(const struct sockaddr_un *address, const struct stat *file)
{
    struct stat st;
    ue_inode inode = ue_inode_of(file);
    return !ue_lstat(AT_FDCWD, address->sun_path, &st) && ue_is_inode(&inode, &st);
}

/* Unlinks a socket file if it still is the one that is meant. Between the two calls stands only the directory lock. 0,
   or the errno; ENOENT: that file is not there any more. */
static int ue_unlink_if_same(int dirfd, const char *name, const ue_inode *which)
{
    struct stat st;
    int os_error = ue_lstat(dirfd, name, &st);
    if (os_error) return os_error;
    if (!S_ISSOCK(st.st_mode) || !ue_is_inode(which, &st)) return ENOENT;
    return UDS_ECHO_SYS(unlinkat)(dirfd, name, 0) ? errno : 0;
}

static int ue_probe_at(const struct sockaddr_un *address, socklen_t size)
{
    int result, fd = ue_socket(SOCK_DGRAM);
    if (fd < 0) return errno;
    result = UDS_ECHO_SYS(connect)(fd, (const struct sockaddr *)address, size) ? errno : 0;
    ue_close(&fd);
    return result == EPROTOTYPE ? 0 : result;
}

/* Is anybody bound to this file? 0: yes; ECONNREFUSED: no; else why that cannot be told. A socket of another type asks
   without taking a place in the queue, sees servers with a full queue, and those that are bound but do not listen yet
   or no more (connect(2), EPROTOTYPE). It is the open folder that is asked, for what is removed is in there; the path
   where the folder cannot be asked (no /proc). Where either leads elsewhere it is another file, which says nothing. */
static int ue_probe(const ue_path *p, const char *suffix, const struct stat *file)
{
    struct sockaddr_un address;
    socklen_t size;
    int by_path, fits, answer, result = ENAMETOOLONG;
    for (by_path = 0; by_path < 2; by_path++) {
        fits = by_path ? ue_address(&address, &size, p, suffix) : ue_address_by_dirfd(&address, &size, p, suffix);
        if (!fits) continue;
        answer = ue_probe_at(&address, size);
        if (!ue_resolves_to(&address, file)) answer = ENOENT;
        if (!answer || answer == ECONNREFUSED) return answer;
        if (answer != ENOENT || result == ENAMETOOLONG) result = answer;
    }
    return result;
}

/* Only to explain a refusal: who listens, where a connection can be made at once. */
static void ue_identify_owner(const ue_path *p, uds_echo_failure *failure)
{
    struct sockaddr_un address;
    socklen_t size;
    uds_echo_peer peer;
    int fd;
    if (!failure || !ue_address(&address, &size, p, "")) return;
    fd = ue_socket(SOCK_STREAM);
    if (fd < 0) return;
    if (!UDS_ECHO_SYS(connect)(fd, (struct sockaddr *)&address, size) && ue_peer_of(fd, &peer)) {
        failure->pid = peer.pid;
        failure->uid = peer.uid;
    }
    ue_close(&fd);
}

/* The socket file of this name. OK and *is_there 0: nothing is there. */
static uds_echo_error ue_stat_socket(const ue_path *p, const char *suffix, struct stat *st, int *is_there,
                                     uds_echo_failure *failure)
{
    char name[UE_NAME_SIZE];
    int os_error;
    ue_name(name, p, suffix);
    os_error = ue_lstat(p->dirfd, name, st);
    *is_there = !os_error;
    if (os_error == ENOENT) return UDS_ECHO_OK;
    if (os_error) return ue_fail_path(failure, os_error, "fstatat");
    return S_ISSOCK(st->st_mode) ? UDS_ECHO_OK : ue_fail(failure, UDS_ECHO_ERR_NOT_SOCKET, 0, "fstatat");
}

/* OK: nothing is there, or a socket file that nobody is bound to. Everything else, the unknown included, refuses. */
static uds_echo_error ue_inspect(const ue_path *p, const char *suffix, int *seen, ue_inode *which,
                                 uds_echo_failure *failure)
{
    struct stat st;
    int os_error, is_there;
    uds_echo_error error = ue_stat_socket(p, suffix, &st, &is_there, failure);
    *seen = UE_PATH_ABSENT;
    if (error || !is_there) return error;
    *which = ue_inode_of(&st);
    os_error = ue_probe(p, suffix, &st);
    if (os_error == ENOENT) return UDS_ECHO_OK; /* it went away meanwhile */
    if (os_error == ECONNREFUSED) {
        *seen = UE_PATH_STALE;
        return UDS_ECHO_OK;
    }
    if (os_error) return ue_fail_path(failure, os_error, "connect");
    return ue_fail(failure, UDS_ECHO_ERR_IN_USE, 0, "connect");
}

/* No lock that is held for longer than this start waits. EBADF, EACCES: the directory may be searched but not read;
   else the file system or a sandbox has no locks. */
static uds_echo_error ue_lock_refusal(int os_error)
{
    if (os_error == EWOULDBLOCK || os_error == EINTR) return UDS_ECHO_ERR_BUSY;
    return os_error == EBADF || os_error == EACCES ? UDS_ECHO_ERR_DENIED : UDS_ECHO_ERR_UNSUPPORTED;
}

static void ue_lock(ue_claim *claim)
{
    if (claim->locked) return;
    claim->locked = !UDS_ECHO_SYS(flock)(claim->path.dirfd, LOCK_EX | LOCK_NB);
    claim->lock_error = claim->locked ? 0 : errno;
}

static void ue_unlock(ue_claim *claim)
{
    /* once more where it failed: the lock would be held for as long as the server keeps the directory open */
    if (claim->locked && UDS_ECHO_SYS(flock)(claim->path.dirfd, LOCK_UN))
        (void)UDS_ECHO_SYS(flock)(claim->path.dirfd, LOCK_UN);
}

/* Removes what crashed starters left under the temporary names. Needs the lock. */
static void ue_sweep(ue_claim *claim)
{
    const ue_path *p = &claim->path;
    char name[UE_NAME_SIZE], suffix[3] = "~0";
    ue_inode first, again;
    int seen, os_error;
    for (; suffix[1] <= '9'; suffix[1]++) {
        if (ue_inspect(p, suffix, &seen, &first, NULL) || seen != UE_PATH_STALE) continue;
        ue_sleep_ms(1);
        if (ue_inspect(p, suffix, &seen, &again, NULL) || seen != UE_PATH_STALE) continue;
        ue_name(name, p, suffix);
        os_error = ue_same_inode(&first, &again) ? ue_unlink_if_same(p->dirfd, name, &first) : 0;
        if (ue_path_error(os_error) == UDS_ECHO_ERR_DENIED) claim->unswept = os_error;
    }
}

/* A removal that was refused though no sticky bit protects the files of other users: none will be allowed. */
static int ue_removal_is_forbidden(const ue_claim *claim)
{
    struct stat st;
    return claim->unswept && !ue_lstat(claim->path.dirfd, ".", &st) && !(st.st_mode & S_ISVTX);
}

/* Gives up the staged socket, its file included. 0, or the errno where the file stays: the directory lets files be made
   and not be removed. */
static int ue_unstage(ue_claim *claim)
{
    char name[UE_NAME_SIZE];
    int os_error;
    ue_name(name, &claim->path, claim->suffix);
    os_error = ue_unlink_if_same(claim->path.dirfd, name, &claim->inode);
    ue_close(&claim->file);
    ue_close(&claim->fd);
    return os_error == ENOENT ? 0 : os_error;
}

static uds_echo_error ue_give_up(ue_claim *claim, uds_echo_error error)
{
    int os_error = ue_unstage(claim);
    if (!os_error || (error != UE_RETRY && error != UDS_ECHO_ERR_DENIED)) return error;
    return ue_fail_path(claim->failure, os_error, "unlinkat");
}

/* proc(5): the link of an open file, which leads to that file wherever its names lead by now. 0: there is no /proc. */
static int ue_link_of(struct sockaddr_un *link, int file)
{
    struct stat st;
    socklen_t size;
    ue_text t = ue_address_begin(link);
    if (!UDS_ECHO_HAVE_PROC_FD || file < 0) return 0;
    ue_puts(&t, "/proc/self/fd/");
    ue_put_number(&t, file);
    return ue_address_end(link, &size, &t, "") && !UDS_ECHO_SYS(fstatat)(AT_FDCWD, link->sun_path, &st, 0);
}

/* What is at the staged name: by the directory, by the address, and by the file that is held open. 0, or the errno;
   ENOENT: they are not one socket file. */
static int ue_stat_staged(const ue_claim *claim, const struct sockaddr_un *address, const char *link, struct stat *st)
{
    char name[UE_NAME_SIZE];
    struct stat held;
    ue_inode inode;
    int os_error;
    ue_name(name, &claim->path, claim->suffix);
    os_error = ue_lstat(claim->path.dirfd, name, st);
    if (os_error) return os_error;
    inode = ue_inode_of(st);
    if (!S_ISSOCK(st->st_mode) || !ue_resolves_to(address, st)) return ENOENT;
    if (!link) return 0;
    if (UDS_ECHO_SYS(fstatat)(AT_FDCWD, link, &held, 0)) return errno;
    return ue_is_inode(&inode, &held) ? 0 : ENOENT;
}

/* The file gets the mode that was asked for, and loses the mark. By its link, so that no other file does; without /proc
   by its name. */
static uds_echo_error ue_set_mode(const ue_claim *claim, const char *link, const struct stat *st)
{
    char name[UE_NAME_SIZE];
    mode_t mode = (mode_t)claim->desc->mode;
    int failed;
    ue_name(name, &claim->path, claim->suffix);
    failed = link ? UDS_ECHO_SYS(fchmodat)(AT_FDCWD, link, mode, 0)
                  : UDS_ECHO_SYS(fchmodat)(claim->path.dirfd, name, mode, AT_SYMLINK_NOFOLLOW);
    if (!failed || (st->st_mode & 0777) == mode) return UDS_ECHO_OK; /* a mark that stays says nothing to anybody */
    if (errno == ENOENT) return ue_fail(claim->failure, UE_RETRY, ENOENT, "fchmodat");
    if (ue_is_refused(errno)) return ue_fail(claim->failure, UDS_ECHO_ERR_UNSUPPORTED, errno, "fchmodat");
    return ue_fail_path(claim->failure, errno, "fchmodat");
}

/* Is what was bound ours? bind(2) gives the file the socket's own mode less the umask, and the mark, which the umask
   does not touch and no other server's file has. What is without it, or wider than asked, somebody else put there, and
   it is left alone. Twice: the file system keeps no modes. */
static uds_echo_error ue_stage_file(ue_claim *claim)
{
    struct sockaddr_un address, link;
    struct stat st;
    socklen_t size;
    int os_error, has_link;
    (void)ue_address(&address, &size, &claim->path, claim->suffix); /* as it was bound */
    claim->file = ue_open(address.sun_path, UE_O_PATH | O_NOFOLLOW);
    if (claim->file < 0 && ue_error_of(errno) != UDS_ECHO_ERR_SYSTEM) return ue_fail_os(claim->failure, "open");
    has_link = ue_link_of(&link, claim->file);
    os_error = ue_stat_staged(claim, &address, has_link ? link.sun_path : NULL, &st);
    if (os_error == ENOENT) return ue_fail(claim->failure, UE_RETRY, os_error, "fstatat");
    if (os_error) return ue_fail_path(claim->failure, os_error, "fstatat");
    if (!(st.st_mode & UE_MARK) || (st.st_mode & 0777 & ~(mode_t)claim->desc->mode))
        return ue_fail(claim->failure, claim->unlike++ ? UDS_ECHO_ERR_UNSUPPORTED : UE_RETRY, 0, "fchmod");
    claim->inode = ue_inode_of(&st);
    return ue_set_mode(claim, has_link ? link.sun_path : NULL, &st);
}

/* Binds in place, else under the first free temporary name. 0, or the errno. */
static int ue_bind(ue_claim *claim)
{
    struct sockaddr_un address;
    socklen_t size;
    const char *suffix = claim->direct ? "" : "~0";
    memcpy(claim->suffix, suffix, strlen(suffix) + 1);
    for (;; claim->suffix[1]++) {
        (void)ue_address(&address, &size, &claim->path, claim->suffix); /* it fits: ue_listener_open looked */
        if (!UDS_ECHO_SYS(bind)(claim->fd, (struct sockaddr *)&address, size)) return 0;
        if (errno != EADDRINUSE || !*suffix || claim->suffix[1] == '9') return errno;
    }
}

/* A listening socket that has a file, and not yet the path. UE_RETRY: every name is taken, look again. */
static uds_echo_error ue_stage(ue_claim *claim)
{
    uds_echo_error error = UDS_ECHO_OK;
    int os_error;
    memset(&claim->inode, 0, sizeof claim->inode);
    claim->fd = ue_socket(SOCK_STREAM);
    if (claim->fd < 0) return ue_fail_os(claim->failure, "socket");
    ue_disable_passrights(claim->fd);
    if (UDS_ECHO_SYS(fchmod)(claim->fd, (mode_t)claim->desc->mode | UE_MARK)) {
        error = ue_fail_os(claim->failure, "fchmod");
        ue_close(&claim->fd);
        return error;
    }
    os_error = ue_bind(claim);
    if (os_error) {
        ue_close(&claim->fd);
        if (os_error == EADDRINUSE) return ue_fail(claim->failure, UE_RETRY, os_error, "bind");
        return ue_fail_path(claim->failure, os_error, "bind");
    }
    error = ue_stage_file(claim);
    if (!error && UDS_ECHO_SYS(listen)(claim->fd, claim->desc->backlog)) error = ue_fail_os(claim->failure, "listen");
    return error ? ue_give_up(claim, error) : UDS_ECHO_OK;
}

/* 0, or the errno. */
#if UDS_ECHO_HAVE_RENAMEAT2
static int ue_rename(int dirfd, const char *from, const char *to, unsigned int how)
{
    return UDS_ECHO_SYS(renameat2)(dirfd, from, dirfd, to, how) ? errno : 0;
}
#elif UDS_ECHO_HAVE_SYSCALL
static int ue_rename(int dirfd, const char *from, const char *to, unsigned int how)
{
    return UDS_ECHO_SYS(syscall)(SYS_renameat2, dirfd, from, dirfd, to, how) ? errno : 0;
}
#else
static int ue_rename(int dirfd, const char *from, const char *to, unsigned int how)
{
    (void)dirfd, (void)from, (void)to, (void)how;
    return ENOSYS;
}
#endif

static int ue_rename_over(int dirfd, const char *from, const char *to)
{
    return UDS_ECHO_SYS(renameat)(dirfd, from, dirfd, to) ? errno : 0;
}

/* Puts somebody's file back where it was; once more where that failed. */
static int ue_rename_back(int dirfd, const char *from, const char *to, unsigned int how)
{
    return ue_rename(dirfd, from, to, how) ? ue_rename(dirfd, from, to, how) : 0;
}

/* Whether a rename is not to be had here: this system, the file system or a sandbox does not offer it. EPERM and EACCES
   come from a directory, too. So the same call is asked of no name at all: ENOENT, it is offered, and it is the
   directory that forbids it. how 0: renameat(2). */
static int ue_is_rename_missing(int dirfd, int os_error, unsigned int how)
{
    int answer;
    if (os_error == ENOSYS || os_error == EINVAL || os_error == EOPNOTSUPP) return 1;
    if (os_error != EPERM && os_error != EACCES) return 0;
    answer = how ? ue_rename(dirfd, "", "", how) : ue_rename_over(dirfd, "", "");
    return answer != ENOENT;
}

/* With the lock it is the names that others have, or that may not be removed. */
static uds_echo_error ue_fail_busy(const ue_claim *claim)
{
    if (claim->locked && claim->unswept) return ue_fail_path(claim->failure, claim->unswept, "unlinkat");
    if (claim->locked) return ue_fail(claim->failure, UDS_ECHO_ERR_BUSY, EADDRINUSE, "bind");
    return ue_fail(claim->failure, ue_lock_refusal(claim->lock_error), claim->lock_error, "flock");
}

/* A staged socket that did not come to its path. Where nothing can be renamed, the next attempt binds in place. */
static uds_echo_error ue_not_published(ue_claim *claim, int os_error)
{
    if (os_error == EEXIST || os_error == ENOENT)
        return ue_give_up(claim, ue_fail(claim->failure, UE_RETRY, os_error, "rename"));
    if (!ue_is_rename_missing(claim->path.dirfd, os_error, 0))
        return ue_give_up(claim, ue_fail_path(claim->failure, os_error, "rename"));
    if (!claim->locked) return ue_give_up(claim, ue_fail_busy(claim));
    claim->direct = 1;
    return ue_give_up(claim, UE_RETRY);
}

/* Does a second name lead to the staged socket here? Over libfuse it is another file, to which nobody is bound. Tried
   beside the path, where nobody looks. 0: yes; else an errno; ENOENT: what was staged is gone. */
static int ue_try_link(const ue_claim *claim, const char *staged)
{
    char other[UE_NAME_SIZE];
    ue_inode linked;
    struct stat st;
    int dirfd = claim->path.dirfd, answer;
    if (claim->suffix[1] == '9') return EEXIST;
    ue_name(other, &claim->path, "~9");
    if (UDS_ECHO_SYS(linkat)(dirfd, staged, dirfd, other, 0)) return errno;
    if (ue_lstat(dirfd, other, &st)) return EOPNOTSUPP;
    answer = ue_probe(&claim->path, "~9", &st);
    linked = ue_inode_of(&st);
    (void)ue_unlink_if_same(dirfd, other, &linked);
    return !answer || ue_is_refused(answer) ? 0 : EOPNOTSUPP;
}

/* Nothing was at the path, and no rename refuses to replace: a link does, where it leads to this socket. Else, under
   the lock, rename; docs/limits.md names its window. 0, or the errno. */
static int ue_publish_by_link(const ue_claim *claim, const char *staged)
{
    struct stat st;
    const char *name = claim->path.name;
    int dirfd = claim->path.dirfd, os_error = ue_try_link(claim, staged);
    if (!os_error) {
        if (UDS_ECHO_SYS(linkat)(dirfd, staged, dirfd, name, 0)) return errno;
        (void)ue_unlink_if_same(dirfd, staged, &claim->inode);
        return 0;
    }
    if (os_error == ENOENT) return ENOENT;
    if (!claim->locked) return EOPNOTSUPP;
    os_error = ue_lstat(dirfd, name, &st);
    if (os_error != ENOENT) return os_error ? os_error : EEXIST;
    return ue_rename_over(dirfd, staged, name);
}

/* Nothing was at the path. Two starters may be here at once: one finds it taken and looks again (UE_RETRY). */
static uds_echo_error ue_publish_new(ue_claim *claim)
{
    char staged[UE_NAME_SIZE];
    int dirfd = claim->path.dirfd, os_error;
    if (!claim->suffix[0]) return UDS_ECHO_OK;
    ue_name(staged, &claim->path, claim->suffix);
    os_error = ue_rename(dirfd, staged, claim->path.name, UE_RENAME_NOREPLACE);
    if (ue_is_rename_missing(dirfd, os_error, UE_RENAME_NOREPLACE)) os_error = ue_publish_by_link(claim, staged);
    if (os_error) return ue_not_published(claim, os_error);
    claim->suffix[0] = '\0';
    return UDS_ECHO_OK;
}

/* The same file, and still nobody is bound to it: the number alone may be another's by now, it is reused at once. */
static int ue_still_stale(const ue_claim *claim, const char *suffix, const ue_inode *which)
{
    ue_inode now;
    int seen;
    return !ue_inspect(&claim->path, suffix, &seen, &now, NULL) && seen == UE_PATH_STALE && ue_same_inode(&now, which);
}

/* A stale file is at the path, and the lock is held. What comes out of the exchange is looked at, and only the file
   that was probed is removed. Without such an exchange: rename over it, whose window docs/limits.md names. */
static uds_echo_error ue_replace_stale(ue_claim *claim, const ue_inode *stale)
{
    char staged[UE_NAME_SIZE];
    const char *name = claim->path.name;
    int dirfd = claim->path.dirfd, exchanged = 1, os_error;
    ue_name(staged, &claim->path, claim->suffix);
    os_error = ue_rename(dirfd, staged, name, UE_RENAME_EXCHANGE);
    if (ue_is_rename_missing(dirfd, os_error, UE_RENAME_EXCHANGE)) {
        exchanged = 0;
        os_error = ue_still_stale(claim, "", stale) ? ue_rename_over(dirfd, staged, name) : ENOENT;
    }
    if (!os_error && (!exchanged || ue_still_stale(claim, claim->suffix, stale))) {
        claim->suffix[0] = '\0';
        if (exchanged) (void)ue_unlink_if_same(dirfd, staged, stale); /* if that fails, the next starter sweeps it up */
        return UDS_ECHO_OK;
    }
    if (!os_error) {
        os_error = ue_rename_back(dirfd, staged, name, UE_RENAME_EXCHANGE);
        if (os_error) claim->suffix[0] = '\0'; /* ours stayed at the path, and is taken away from there */
        else os_error = ENOENT;
    }
    return ue_not_published(claim, os_error);
}

/* In place over a stale file: it is moved to a free temporary name, looked at there, and removed or put back. 0, or the
   errno; that the file went away meanwhile is fine. */
static int ue_move_aside(const ue_claim *claim, const ue_inode *stale)
{
    char aside[UE_NAME_SIZE], suffix[3] = "~0";
    const char *name = claim->path.name;
    int dirfd = claim->path.dirfd, os_error;
    for (;; suffix[1]++) {
        ue_name(aside, &claim->path, suffix);
        os_error = ue_rename(dirfd, name, aside, UE_RENAME_NOREPLACE);
        if (os_error != EEXIST || suffix[1] == '9') break;
    }
    if (ue_is_rename_missing(dirfd, os_error, UE_RENAME_NOREPLACE))
        os_error = ue_still_stale(claim, "", stale) ? ue_unlink_if_same(dirfd, name, stale) : ENOENT;
    else if (!os_error && ue_still_stale(claim, suffix, stale)) os_error = ue_unlink_if_same(dirfd, aside, stale);
    else if (!os_error) os_error = ue_rename_back(dirfd, aside, name, UE_RENAME_NOREPLACE);
    return os_error == ENOENT ? 0 : os_error;
}

/* The path leads to this socket, and somebody is bound to it. UE_RETRY: it does not. A sandbox that lets nobody ask:
   the inode decides. */
static uds_echo_error ue_confirm(ue_claim *claim)
{
    struct stat st;
    int os_error = ue_lstat(claim->path.dirfd, claim->path.name, &st);
    if (!os_error && !ue_is_inode(&claim->inode, &st)) os_error = ENOENT;
    if (os_error == ENOENT) return ue_fail(claim->failure, UE_RETRY, os_error, "fstatat");
    if (os_error) return ue_fail_path(claim->failure, os_error, "fstatat");
    os_error = ue_probe(&claim->path, "", &st);
    if (!os_error || ue_is_refused(os_error)) return UDS_ECHO_OK;
    if (os_error == ECONNREFUSED && claim->unlike++)
        return ue_fail(claim->failure, UDS_ECHO_ERR_UNSUPPORTED, os_error, "connect");
    if (os_error == ENOENT || os_error == ECONNREFUSED) return ue_fail(claim->failure, UE_RETRY, os_error, "connect");
    return ue_fail_path(claim->failure, os_error, "connect");
}

/* One attempt, after a look that found nothing or, twice and under the lock, this stale file. */
static uds_echo_error ue_claim_once(ue_claim *claim, const ue_inode *stale)
{
    uds_echo_error error;
    int os_error;
    if (stale && claim->direct) {
        os_error = ue_move_aside(claim, stale);
        if (os_error == EEXIST) return ue_fail(claim->failure, UE_RETRY, os_error, "rename");
        if (os_error) return ue_fail_path(claim->failure, os_error, "rename");
        stale = NULL;
    }
    error = ue_stage(claim);
    if (!error) error = stale ? ue_replace_stale(claim, stale) : ue_publish_new(claim);
    if (error) return error;
    error = ue_confirm(claim);
    if (error) return ue_give_up(claim, error);
    ue_close(&claim->file);
    return UDS_ECHO_OK;
}

/* Whether a fresh start may go on without the lock: there is none to be had, or it was waited for long enough. */
static int ue_goes_without_lock(const ue_claim *claim, long long deadline)
{
    return ue_lock_refusal(claim->lock_error) != UDS_ECHO_ERR_BUSY || ue_now() >= deadline;
}

/* Looks and tries until the path is ours or refuses; UE_RETRY means that somebody moved meanwhile. */
static uds_echo_error ue_claim_path(ue_claim *claim)
{
    long long deadline = ue_deadline(claim->desc->lock_ms);
    ue_inode before, now;
    uds_echo_error error;
    int seen, seen_before = UE_PATH_ABSENT, twice, forbidden, tries = 0;
    memset(&before, 0, sizeof before);
    ue_lock(claim);
    if (claim->locked) ue_sweep(claim);
    forbidden = ue_removal_is_forbidden(claim);
    for (;;) {
        error = ue_inspect(&claim->path, "", &seen, &now, claim->failure);
        if (error == UDS_ECHO_ERR_IN_USE) ue_identify_owner(&claim->path, claim->failure);
        if (error) return error;
        if (seen == UE_PATH_STALE && claim->desc->if_exists == UDS_ECHO_IF_EXISTS_REFUSE)
            return ue_fail(claim->failure, UDS_ECHO_ERR_EXISTS, 0, "fstatat");
        if (forbidden) return ue_fail_busy(claim);
        twice = seen == UE_PATH_STALE && seen_before == UE_PATH_STALE && ue_same_inode(&before, &now);
        error = UE_RETRY;
        if (seen == UE_PATH_ABSENT && (claim->locked || ue_goes_without_lock(claim, deadline)))
            error = ue_claim_once(claim, NULL);
        else if (twice && claim->locked) error = ue_claim_once(claim, &now);
        if (error != UE_RETRY) return error;
        if (twice && !claim->locked && ue_lock_refusal(claim->lock_error) != UDS_ECHO_ERR_BUSY)
            return ue_fail_busy(claim); /* and there will be no lock */
        if (ue_now() >= deadline && ((seen == UE_PATH_STALE && !claim->locked) || ++tries >= 10))
            return ue_fail_busy(claim);
        seen_before = seen;
        before = now;
        ue_sleep_ms(1);
        ue_lock(claim);
    }
}

/* A listening socket that one server made or was given, or that several share. Only the two counts change after it was
   opened. */
typedef struct ue_listener {
    int refs;
    int shared_total; /* connections of all servers that share it, as last reported */
    int fd;
    int dirfd;      /* of the directory of the path; -1: there is no path of this server (adopted) */
    ue_inode inode; /* of the socket file */
    char *name;     /* in the folder; behind this structure */
} ue_listener;

static ue_listener *ue_listener_new(const char *name)
{
    size_t size = strlen(name) + 1;
    ue_listener *l = (ue_listener *)UDS_ECHO_SYS(malloc)(sizeof *l + size);
    if (!l) return NULL;
    memset(l, 0, sizeof *l);
    l->refs = 1;
    l->fd = l->dirfd = -1;
    l->name = (char *)(l + 1);
    memcpy(l->name, name, size);
    return l;
}

static void ue_listener_free(ue_listener *l)
{
    ue_close(&l->fd);
    ue_close(&l->dirfd);
    UDS_ECHO_SYS(free)(l);
}

static uds_echo_error ue_listener_open(ue_listener **listener, const uds_echo_server_desc *desc,
                                       uds_echo_failure *failure)
{
    ue_claim claim;
    uds_echo_error error;
    struct sockaddr_un address;
    socklen_t size;
    memset(&claim, 0, sizeof claim);
    claim.desc = desc;
    claim.failure = failure;
    claim.fd = claim.file = -1;
    claim.direct = desc->publish == UDS_ECHO_PUBLISH_DIRECT;
    *listener = NULL;
    error = ue_path_split(&claim.path, desc->path, "desc.path", failure);
    if (!error) error = ue_path_open_dir(&claim.path, failure);
    if (!error && !ue_address(&address, &size, &claim.path, "~0"))
        error = ue_fail(failure, UDS_ECHO_ERR_BAD_PATH, 0, "desc.path");
    if (!error) {
        *listener = ue_listener_new(claim.path.name);
        error = *listener ? ue_claim_path(&claim) : ue_fail(failure, UDS_ECHO_ERR_NO_MEMORY, ENOMEM, "malloc");
    }
    ue_unlock(&claim);
    if (!error) {
        (*listener)->fd = claim.fd;
        (*listener)->dirfd = claim.path.dirfd;
        (*listener)->inode = claim.inode;
        return UDS_ECHO_OK;
    }
    ue_close(&claim.path.dirfd);
    if (*listener) ue_listener_free(*listener);
    *listener = NULL;
    return error;
}

/* OK: the path no longer leads to this listener. BUSY: no lock to be had now. Else it may not be removed any more, or
   not be locked ever (EBADF, see ue_fail_busy). What is left behind is stale, and harmless. */
static uds_echo_error ue_unlink_path(ue_listener *l)
{
    int os_error;
    if (l->dirfd < 0) return UDS_ECHO_OK;
    if (UDS_ECHO_SYS(flock)(l->dirfd, LOCK_EX | LOCK_NB)) return ue_lock_refusal(errno);
    os_error = ue_unlink_if_same(l->dirfd, l->name, &l->inode);
    (void)UDS_ECHO_SYS(flock)(l->dirfd, LOCK_UN);
    if (os_error && os_error != ENOENT) return ue_path_error(os_error);
    ue_close(&l->dirfd);
    return UDS_ECHO_OK;
}

// >>conn
/* One connection. Its state follows from what it holds, and one function decides it, ue_conn_update: the first row that
   fits.

     failed     a call failed, or the peer has ended and all is sent  -> FREE       ue_conn_close
     unsent     replies that the socket did not take                  -> SENDING    ue_conn_send_unsent
     closing    REPLY_AND_CLOSE, conn_close, refused, bad message     -> LINGERING  ue_conn_begin_linger, ue_conn_linger
     deferred   the handler owes a reply                              -> WAITING    ue_conn_resume, when it was given
     else                                                             -> READING    ue_conn_read

   ue_conn_open takes a slot. ue_conn_read receives, ue_conn_handle hands over whole messages, ue_conn_write sends the
   replies and keeps what the socket does not take. ue_conn_handle_saved hands over what was held back while a reply was
   unsent or owed, or a turn was over. Each of them ends in ue_conn_update.

   How a connection ends, and what its peer sees:

     the peer ends its side and all is sent  every reply, then EOF
     closing                                 every reply, then EOF; what it sends is thrown away until it ends its side,
                                             for linger_ms at most
     a drain, idle after a reply             every reply, then EOF; its next send gets EPIPE (ue_conn_drain)
     a drain, no message yet, or a part      it may finish the message until finish_until, then as above
     cut, or failed                          what was sent so far, then EOF, or ECONNRESET where input was left

   Nothing is cut because its time is up before one more look at its socket (ue_conn_look): the process may have been
   stopped meanwhile.

   Callbacks may ask for anything at any time. So conn_send and conn_close only note that there is something to be done
   (ue_todo_add), and the step does it by ue_conn_resume: nothing is freed under a caller's feet. ue_conn_event leads
   from the poller to the function of the state. */
enum { UE_FREE, UE_READING, UE_SENDING, UE_WAITING, UE_LINGERING };
enum { UE_TURN = 64 }; /* messages of one connection in a step, and of all until the next look at a stop */
enum { UE_READS = 16, UE_ACCEPTS = 16 }; /* of one connection, of one listener, at most so many a step */
enum { UE_BLOCK = 4096 };                /* bytes of a block for pushes that have to wait */
enum { UE_LARGE = 65536 };               /* a read of so many bytes is the last of its step: it pays for a wait */
enum { UE_PAUSE_MS = 100 };              /* until accepting is tried again after want of descriptors or memory */
enum { UE_GRACE_MS = 2 };                /* accepting goes on so long after the path is gone */
enum { UE_UNLINK_MS = 200 };             /* a drain tries so long to get the lock for taking it away */
enum { UE_FINISH_MS = 2500 };            /* a drain without limit lets messages be finished for so long */
static const unsigned UE_NIL = UINT_MAX; /* the end of a list of slots */

/* Bytes that wait: those from start to size. Input is in one block, unsent replies are in a ring of blocks. */
typedef struct ue_buf {
    size_t capacity, start, size;
    struct ue_buf *next; /* of the last block of unsent replies: the first */
    size_t total;        /* of the last block: the bytes that wait in all of them */
} ue_buf;

/* Slots in the order in which they were appended, chained by todo_next. */
typedef struct ue_list {
    unsigned first, last;
} ue_list;

/* Slots in the order of a time, the earliest first. */
typedef struct ue_place {
    long long since; /* UE_NONE: it is not in the queue */
    unsigned prev, next;
} ue_place;

typedef struct ue_queue {
    ue_place *places; /* of all slots; NULL: nobody asks for this order */
    unsigned first, last;
} ue_queue;

struct uds_echo_conn {
    uds_echo_server *server;
    void *user;
    ue_buf *unhandled; /* received and not handled: part of a message, or input that came after an unsent reply */
    ue_buf *unsent;    /* replies not sent yet: the last block */
    int fd;
    unsigned generation;              /* of the slot; never 0 */
    unsigned todo_next;               /* the next in the list of those to be looked at */
    unsigned free_next;               /* the next free slot */
    unsigned state : 3, interest : 2; /* one of the above; what the poller watches for */
    unsigned in_todo : 1;
    unsigned admitted : 1;     /* on_open let it in: on_close will be called */
    unsigned deferred : 1;     /* the handler returned UDS_ECHO_DEFER */
    unsigned closing : 1;      /* handle nothing more; send what there is, then end this side */
    unsigned failed : 1;       /* nothing can be sent any more, or nothing is left to be: close */
    unsigned close_reason : 8; /* uds_echo_error, for on_close */
    unsigned more : 1;         /* its turn ended before its input did: unhandled may hold whole messages */
    unsigned turn_step : 4;    /* the step, modulo 16, in which it was handed turn_used messages; that an old number */
    unsigned turn_used : 7;    /* comes again ends a turn a step too soon, which does no harm */
    unsigned spoke : 1;        /* a message of it was handled */
    unsigned input_shut : 1;   /* by a drain: what it sent before is still read, then comes EOF */
};

enum { UE_SERVING, UE_GRACE, UE_FLUSHING, UE_DRAINING, UE_STOPPED };

struct uds_echo_server {
    uds_echo_server_desc desc; /* defaults filled in */
    ue_listener *listener;     /* NULL: accepts no more */
    ue_wakeup wakeup;
    long pid;                /* of the process that opened it */
    int os_error;            /* of the wait or of reading the wakeup, in this step; 0: none */
    int phase, in_callback;  /* in_callback: a step, or another call that may call back, is running */
    int stop_mode;           /* the strongest that was asked for; -1: none */
    int listener_registered; /* with the poller */
    int accept_paused;       /* until a connection ends, or until accept_resume_at */
    int listener_ready;      /* its clients are accepted after the events of all connections */
    int adopted;
    int reported;                      /* this server's part of shared_total */
    unsigned long long ready_again_at; /* the wait after the one that last reported the listener */
    int clock_failed;                  /* at the last look */
    int drain_is_unsure;               /* its deadlines are of a time that nobody could look at */
    long long now;                     /* the clock, as last looked at */
    long long accept_resume_at, unlink_until, grace_until, finish_until, drain_until;

    uds_echo_conn *conns;
    unsigned conns_max, conns_used, free_slot; /* slots from conns_used on were never used, nor touched */
    ue_list todo;                              /* to be looked at by the step */
    ue_queue idle;                             /* by when a byte was last received or sent */
    ue_queue messages;                         /* those within a message, by when it began */
    ue_queue lingering;                        /* by when this side ended */

    unsigned steps;             /* that began */
    int left, look_at, put_off; /* messages: for the rest of this step; at so many left comes the next look at a stop;
                                   for those in the todo list, after the events */
    int unfinished;             /* the step before ended among its events */

    /* scratch: | replies that were sent | replies that wait to be sent together | the message being handled |
                0                        flushed                                 filled                          */
    unsigned char *scratch, *input;
    size_t message_max, flushed, filled;
    uds_echo_conn *handling; /* the connection whose handler is running */
    unsigned long long memory_max;
    uds_echo_stats stats;
    long long logged[UDS_ECHO_ERROR_COUNT]; /* when each cause was last reported */
    ue_poller poller;
};

static unsigned char *ue_buf_bytes(ue_buf *b)
{
    return (unsigned char *)(b + 1) + b->start;
}

static size_t ue_buf_size(const ue_buf *b)
{
    return b ? b->size - b->start : 0;
}

/* NULL: there is no memory, or memory_max forbids it. */
static ue_buf *ue_buf_new(uds_echo_server *s, size_t capacity)
{
    ue_buf *b;
    if (capacity > s->memory_max - s->stats.pending) return NULL;
    b = (ue_buf *)UDS_ECHO_SYS(malloc)(sizeof *b + capacity);
    if (!b) return NULL;
    b->capacity = capacity;
    b->start = b->size = b->total = 0;
    b->next = b;
    s->stats.pending += capacity;
    if (s->stats.pending > s->stats.pending_peak) s->stats.pending_peak = s->stats.pending;
    return b;
}

static void ue_buf_free(uds_echo_server *s, ue_buf *b)
{
    s->stats.pending -= b->capacity;
    UDS_ECHO_SYS(free)(b);
}

static void ue_buf_compact(ue_buf *b)
{
    if (!b || !b->start) return;
    memmove(b + 1, ue_buf_bytes(b), ue_buf_size(b));
    b->size -= b->start;
    b->start = 0;
}

static unsigned ue_index(const uds_echo_conn *c)
{
    return (unsigned)(c - c->server->conns);
}

/* It may be read, and what was read may be handled. */
static int ue_takes_input(const uds_echo_conn *c)
{
    return !c->unsent && !c->deferred && !c->closing && !c->failed;
}

/* The time for a server never goes back, and stands still while the clock fails. */
static long long ue_clock(const uds_echo_server *s)
{
    long long now = ue_now();
    return now == UE_NO_CLOCK || now < s->now ? s->now : now;
}

/* The clock is read at a wake-up before which something was to become due, and where somebody asks for the time or it
   matters how long a handler took. */
static void ue_update_now(uds_echo_server *s)
{
    long long now = ue_now();
    s->clock_failed = now == UE_NO_CLOCK;
    if (!s->clock_failed && now > s->now) s->now = now;
}

static void ue_log(uds_echo_server *s, uds_echo_log_level level, uds_echo_error cause, const char *event)
{
    char line[256];
    ue_text t = ue_text_begin(line, sizeof line);
    if (!s->desc.on_log) return;
    ue_update_now(s);
    if (s->logged[cause] && s->now - s->logged[cause] < 1000) return;
    s->logged[cause] = s->now ? s->now : 1;
    ue_puts(&t, event);
    ue_puts(&t, ": ");
    ue_puts(&t, uds_echo_strerror(cause));
    ue_text_end(&t);
    s->desc.on_log(level, cause, line, s->desc.user);
}

static void ue_queue_leave(ue_queue *q, unsigned slot)
{
    ue_place *p;
    if (!q->places || q->places[slot].since == UE_NONE) return;
    p = &q->places[slot];
    if (p->prev == UE_NIL) q->first = p->next;
    else q->places[p->prev].next = p->next;
    if (p->next == UE_NIL) q->last = p->prev;
    else q->places[p->next].prev = p->prev;
    p->since = UE_NONE;
}

/* At its end: the time never goes back. */
static void ue_queue_join(ue_queue *q, unsigned slot, long long now)
{
    ue_place *p = &q->places[slot];
    p->since = now;
    p->prev = q->last;
    p->next = UE_NIL;
    if (q->last == UE_NIL) q->first = slot;
    else q->places[q->last].next = slot;
    q->last = slot;
}

/* When the time of the first is up. */
static long long ue_queue_due(const ue_queue *q, int ms)
{
    return ms <= 0 || q->first == UE_NIL ? UE_NONE : q->places[q->first].since + ms;
}

/* UE_NIL has all bits set. */
static int ue_is_any_queued(const uds_echo_server *s)
{
    return (s->idle.first & s->messages.first & s->lingering.first) != UE_NIL;
}

UE_COLD void ue_is_active_now(uds_echo_conn *c)
{
    uds_echo_server *s = c->server;
    if (s->desc.idle_ms > 0) ue_update_now(s);
    ue_queue_leave(&s->idle, ue_index(c));
    ue_queue_join(&s->idle, ue_index(c), s->now);
}

/* A byte moved. */
UE_HOT void ue_touch(uds_echo_conn *c)
{
    if (c->server->idle.places) ue_is_active_now(c);
}

/* It was us that it waited for, and it is idle from now on. Without idle_ms the order is that of the bytes alone. */
static void ue_touch_if_idle_limit(uds_echo_conn *c)
{
    if (c->server->desc.idle_ms > 0) ue_touch(c);
}

static void ue_set_deferred(uds_echo_conn *c, unsigned deferred)
{
    if (c->deferred == deferred) return;
    c->deferred = deferred & 1u;
    ue_touch_if_idle_limit(c);
}

static void ue_list_append(ue_list *list, uds_echo_conn *c)
{
    c->todo_next = UE_NIL;
    if (list->first == UE_NIL) list->first = ue_index(c);
    else c->server->conns[list->last].todo_next = ue_index(c);
    list->last = ue_index(c);
}

/* Into the list of those the step has to look at. A slot stays there when it is freed or used anew: looking at it once
   too often does no harm. */
static void ue_todo_add(uds_echo_conn *c)
{
    if (c->in_todo) return;
    c->in_todo = 1;
    ue_list_append(&c->server->todo, c);
}

/* The first cause stays the one that is told. */
UE_COLD void ue_begin_close(uds_echo_conn *c, uds_echo_error why)
{
    if (!c->close_reason) c->close_reason = (unsigned)why & 255u;
    c->closing = 1;
    ue_set_deferred(c, 0);
}

UE_COLD void ue_fail_conn(uds_echo_conn *c, uds_echo_error why)
{
    if (!c->close_reason) c->close_reason = (unsigned)why & 255u;
    c->failed = 1;
}

static int ue_set_interest(uds_echo_conn *c, int want)
{
    uds_echo_server *s = c->server;
    unsigned long long token = (unsigned long long)c->generation << 32 | (ue_index(c) + UE_INDEX_CONN);
    if ((int)c->interest == want) return 1;
    if (!ue_poller_set(&s->poller, c->fd, token, (int)c->interest, want)) return 0;
    c->interest = (unsigned)want & 3u;
    return 1;
}

static void ue_free_unhandled(uds_echo_conn *c)
{
    if (c->unhandled) ue_buf_free(c->server, c->unhandled);
    c->unhandled = NULL;
    c->more = 0;
}

static size_t ue_unsent_size(const uds_echo_conn *c)
{
    return c->unsent ? c->unsent->total : 0;
}

static void ue_free_first_unsent(uds_echo_conn *c)
{
    ue_buf *first = c->unsent->next;
    if (first == c->unsent) c->unsent = NULL;
    else c->unsent->next = first->next;
    ue_buf_free(c->server, first);
}

static void ue_buf_append(ue_buf *b, const unsigned char *bytes, size_t size)
{
    memcpy((unsigned char *)(b + 1) + b->size, bytes, size);
    b->size += size;
}

/* Keeps what the socket did not take, behind what waits already: what fits into the last block, the remainder in a new
   one. What waits is never moved. */
static int ue_save_unsent(uds_echo_conn *c, const unsigned char *bytes, size_t size)
{
    ue_buf *last = c->unsent, *b = NULL;
    size_t room = last ? last->capacity - last->size : 0, fits = size < room ? size : room;
    if (fits < size) {
        size_t capacity = last && size - fits < UE_BLOCK ? (size_t)UE_BLOCK : size - fits;
        b = ue_buf_new(c->server, capacity);
        if (!b) return 0;
        ue_buf_append(b, bytes + fits, size - fits);
    }
    if (fits) ue_buf_append(last, bytes, fits);
    if (b && last) {
        b->next = last->next;
        last->next = b;
        b->total = last->total;
    }
    if (b) c->unsent = b;
    c->unsent->total += size;
    return 1;
}

/* Keeps the rest of what was received, in a block that has room for a whole message. */
static int ue_save_unhandled(uds_echo_conn *c, const unsigned char *bytes, size_t size)
{
    c->unhandled = ue_buf_new(c->server, c->server->message_max);
    if (!c->unhandled) return 0;
    ue_buf_append(c->unhandled, bytes, size);
    return 1;
}

/* It is closing or broken: whatever on_close asks of it is refused. */
static void ue_conn_close(uds_echo_conn *c)
{
    uds_echo_server *s = c->server;
    uds_echo_error why = (uds_echo_error)c->close_reason;
    s->stats.closed[why]++;
    if (why)
        ue_log(s, why == UDS_ECHO_ERR_BAD_HANDLER ? UDS_ECHO_LOG_WARNING : UDS_ECHO_LOG_INFO, why, "connection closed");
    if (c->admitted && s->desc.on_close) s->desc.on_close(c, why, s->desc.user);
    (void)ue_set_interest(c, 0); /* epoll(7): closing does not take it out where a forked child holds it too */
    if (!why && c->state != UE_LINGERING) (void)UDS_ECHO_SYS(shutdown)(c->fd, SHUT_WR); /* nor does the peer see it */
    ue_close(&c->fd);
    ue_free_unhandled(c);
    while (c->unsent) ue_free_first_unsent(c);
    ue_queue_leave(&s->idle, ue_index(c));
    ue_queue_leave(&s->messages, ue_index(c));
    ue_queue_leave(&s->lingering, ue_index(c));
    c->state = UE_FREE;
    c->free_next = s->free_slot;
    s->free_slot = ue_index(c);
    s->stats.connections--;
    s->accept_paused = 0;
}

static void ue_abort(uds_echo_conn *c, uds_echo_error why)
{
    ue_fail_conn(c, why);
    ue_conn_close(c);
}

/* This side has ended. What the peer still sends is taken and thrown away, until it ends its side, too. To close before
   that would show it EPIPE or ECONNRESET, and many clients read no reply after those. */
static void ue_conn_linger(uds_echo_conn *c)
{
    uds_echo_server *s = c->server;
    int reads;
    for (reads = 0; reads < UE_READS; reads++) {
        ssize_t n = UDS_ECHO_SYS(recv)(c->fd, s->scratch, s->message_max, 0);
        if (n > 0) continue;
        if (n < 0 && ue_is_transient(errno)) break;
        ue_conn_close(c);
        return;
    }
    if (!ue_set_interest(c, UE_IN)) ue_conn_close(c);
}

UE_COLD void ue_conn_begin_linger(uds_echo_conn *c)
{
    uds_echo_server *s = c->server;
    ue_free_unhandled(c);
    if (UDS_ECHO_SYS(shutdown)(c->fd, SHUT_WR)) {
        ue_conn_close(c);
        return;
    }
    c->state = UE_LINGERING;
    ue_update_now(s);
    ue_queue_leave(&s->idle, ue_index(c));
    ue_queue_leave(&s->messages, ue_index(c));
    ue_queue_join(&s->lingering, ue_index(c), s->now);
    ue_conn_linger(c);
}

/* Nothing has come that was not read. A call that fails is the end of the connection. */
static int ue_is_quiet(uds_echo_conn *c)
{
    char byte;
    ssize_t n = UDS_ECHO_SYS(recv)(c->fd, &byte, 1, MSG_PEEK);
    if (n < 0 && !ue_is_transient(errno)) ue_fail_conn(c, ue_conn_error(errno));
    return n < 0 && errno != EINTR;
}

/* A drain ends a connection that is idle after a reply. SHUT_RD comes first (shutdown(2), unix(7)): what was sent
   before stays readable, then comes EOF. What the peer sends from now on gets EPIPE, so that it is known not to have
   been handled. */
UE_COLD void ue_conn_drain(uds_echo_conn *c)
{
    if (c->input_shut) return;
    if (c->server->finish_until != UE_NONE && (!c->spoke || c->unhandled || !ue_is_quiet(c))) return;
    if (c->failed) return;
    c->input_shut = 1;
    if (UDS_ECHO_SYS(shutdown)(c->fd, SHUT_RD)) ue_fail_conn(c, ue_conn_error(errno));
}

/* Its message has begun, or is over. */
static void ue_time_message(uds_echo_conn *c)
{
    uds_echo_server *s = c->server;
    if (!c->unhandled || c->more || !ue_takes_input(c)) {
        ue_queue_leave(&s->messages, ue_index(c));
    } else if (s->messages.places[ue_index(c)].since == UE_NONE) {
        ue_update_now(s);
        ue_queue_join(&s->messages, ue_index(c), s->now);
    }
}

/* Where a connection goes from here. */
UE_HOT void ue_conn_update(uds_echo_conn *c)
{
    int want = 0;
    if (c->server->phase > UE_GRACE && ue_takes_input(c)) ue_conn_drain(c);
    if (c->server->messages.places) ue_time_message(c);
    if (c->failed) {
        ue_conn_close(c);
        return;
    } else if (c->unsent) {
        c->state = UE_SENDING;
        want = UE_OUT;
        c->more = 0; /* when all is sent, that is found out anew */
    } else if (c->closing) {
        ue_conn_begin_linger(c);
        return;
    } else if (c->deferred) {
        c->state = UE_WAITING; /* and stays watched: most peers wait too, and then nothing has to be changed twice */
        return;
    } else {
        c->state = UE_READING;
        want = c->more ? 0 : UE_IN;
    }
    if (ue_set_interest(c, want)) return;
    ue_fail_conn(c, ue_error_of(errno));
    ue_conn_close(c);
}

/* Sends after all that was answered before. */
UE_HOT void ue_conn_write(uds_echo_conn *c, const unsigned char *bytes, size_t size)
{
    long n = 0;
    if (c->failed || !size) return;
    if (!c->unsent) n = ue_send(c->fd, bytes, size);
    if (n < 0) {
        ue_fail_conn(c, ue_conn_error(errno));
        return;
    }
    if (n > 0) {
        c->server->stats.bytes_out += (unsigned long)n;
        ue_touch(c);
    }
    if ((size_t)n < size && !ue_save_unsent(c, bytes + n, size - (size_t)n)) ue_fail_conn(c, UDS_ECHO_ERR_NO_MEMORY);
}

/* Sends the answers that were collected in scratch. */
UE_HOT void ue_flush(uds_echo_conn *c)
{
    uds_echo_server *s = c->server;
    size_t from = s->flushed;
    s->flushed = s->filled;
    ue_conn_write(c, s->scratch + from, s->filled - from);
}

/* The message at scratch + filled goes to the handler, and its reply joins those to be sent. */
UE_HOT void ue_call_handler(uds_echo_conn *c, size_t size)
{
    uds_echo_server *s = c->server;
    uds_echo_verdict verdict = UDS_ECHO_REPLY;
    unsigned char *at = s->scratch + s->filled;
    uds_echo_message m;
    m.data = at;
    m.size = size;
    m.capacity = s->message_max;
    s->stats.messages++;
    c->spoke = 1;
    if (s->desc.on_message) {
        s->handling = c;
        verdict = s->desc.on_message(c, &m, s->desc.user);
        s->handling = NULL;
    }
    if (m.data != at || m.size > s->message_max) {
        ue_begin_close(c, UDS_ECHO_ERR_BAD_HANDLER);
        return;
    }
    switch ((int)verdict) {
    case UDS_ECHO_REPLY: s->filled += m.size; break;
    case UDS_ECHO_NO_REPLY: break;
    case UDS_ECHO_DEFER:
        if (!c->closing) ue_set_deferred(c, 1);
        break;
    case UDS_ECHO_REPLY_AND_CLOSE:
        s->filled += m.size;
        ue_begin_close(c, UDS_ECHO_OK);
        break;
    default: ue_begin_close(c, UDS_ECHO_ERR_BAD_HANDLER);
    }
}

UE_COLD void ue_on_wakeup(uds_echo_server *s)
{
    int signals = ue_wakeup_read(&s->wakeup);
    if (signals < 0) {
        s->os_error = errno; /* the step says so: what was asked for cannot be known, and it stays ready */
        return;
    }
    if (signals & UE_WAKEUP_NOW) s->stop_mode = UDS_ECHO_STOP_NOW;
    else if (signals & UE_WAKEUP_DRAIN && s->stop_mode < UDS_ECHO_STOP_DRAIN) s->stop_mode = UDS_ECHO_STOP_DRAIN;
    if (signals & UE_WAKEUP_WAKE && s->desc.on_wake) s->desc.on_wake(s, s->desc.user);
}

/* NOW was asked for, or a drain has taken too long. */
static int ue_is_over(const uds_echo_server *s)
{
    return s->stop_mode == UDS_ECHO_STOP_NOW || (s->drain_until != UE_NONE && s->now >= s->drain_until);
}

/* What is due to a stop does not wait for the end of a long step. */
static int ue_stop_is_due(const uds_echo_server *s)
{
    return ue_is_over(s) || (s->stop_mode == UDS_ECHO_STOP_DRAIN && s->phase == UE_SERVING) ||
           (s->phase == UE_GRACE && s->now >= s->grace_until);
}

static void ue_set_look(uds_echo_server *s)
{
    s->look_at = s->left > UE_TURN ? s->left - UE_TURN : 0;
}

/* What was asked for since the last look? */
UE_COLD void ue_look(uds_echo_server *s)
{
    ue_on_wakeup(s);
    ue_update_now(s);
    if (ue_stop_is_due(s)) s->left = s->put_off = 0;
}

/* After so many messages, a look. 0: this step hands over no more. */
UE_COLD int ue_step_goes_on(uds_echo_server *s)
{
    ue_look(s);
    ue_set_look(s);
    return s->left;
}

/* Answers are collected in scratch and sent together: a socket buffer is charged some 800 bytes for each send, however
   short. */
UE_HOT void ue_flush_all(uds_echo_conn *c)
{
    ue_flush(c);
    c->server->flushed = c->server->filled = 0;
}

/* 1: one more message of this connection belongs to its turn. */
static int ue_take_turn(uds_echo_conn *c)
{
    unsigned step = c->server->steps & 15u;
    if (c->turn_step != step) c->turn_used = 0;
    c->turn_step = step & 15u;
    if (c->turn_used == UE_TURN) return 0;
    c->turn_used = (c->turn_used + 1u) & 127u;
    return 1;
}

/* The rest of its input waits for the next step. Who waits for its turn is not idle. */
UE_COLD void ue_put_off(uds_echo_conn *c)
{
    c->more = 1;
    ue_touch_if_idle_limit(c);
    ue_todo_add(c);
}

/* Hands over whole messages until none is left, the connection takes no more or its turn is over; tells how many bytes
   they were. */
UE_HOT size_t ue_conn_handle(uds_echo_conn *c, const unsigned char *bytes, size_t size)
{
    uds_echo_server *s = c->server;
    size_t used = 0, length = size;
    s->flushed = s->filled = 0;
    while (used < size && ue_takes_input(c)) {
        if (s->desc.frame) {
            length = s->desc.frame(bytes + used, size - used, s->desc.user);
            if (length == 0 || length > size - used) {
                if (length > s->message_max || size - used >= s->message_max) ue_begin_close(c, UDS_ECHO_ERR_TOO_LONG);
                break;
            }
        }
        if (s->filled > s->message_max || s->left <= s->look_at) {
            ue_flush_all(c);
            if (s->left > s->look_at || ue_step_goes_on(s)) continue;
            ue_put_off(c);
            break;
        }
        if (s->desc.frame && !ue_take_turn(c)) {
            ue_put_off(c);
            break;
        }
        /* Only a fresh read without frame lies there already; one that was put off does not. */
        if (bytes != s->scratch) memcpy(s->scratch + s->filled, bytes + used, length);
        used += length;
        s->left--;
        ue_call_handler(c, length);
    }
    ue_flush(c);
    if (s->messages.places && used) ue_queue_leave(&s->messages, ue_index(c)); /* the next message begins */
    return used;
}

/* One or more recv; each is handled and answered before the next. Level-triggered: a short one is not followed by
   another that would only say EAGAIN, and whatever it left is reported again. */
UE_HOT void ue_conn_read(uds_echo_conn *c)
{
    uds_echo_server *s = c->server;
    unsigned char *bytes;
    size_t have, used;
    ssize_t n;
    int reads = 0;
    do {
        ue_buf_compact(c->unhandled);
        have = ue_buf_size(c->unhandled);
        bytes = c->unhandled ? ue_buf_bytes(c->unhandled) : s->desc.frame ? s->input : s->scratch;
        n = UDS_ECHO_SYS(recv)(c->fd, bytes + have, s->message_max - have, 0);
        if (n == 0)
            ue_fail_conn(c, c->unhandled ? UDS_ECHO_ERR_UNEXPECTED_EOF
                                         : UDS_ECHO_OK); /* all that came before is answered */
        if (n < 0 && !ue_is_transient(errno)) ue_fail_conn(c, ue_conn_error(errno));
        if (n <= 0) break;
        s->stats.bytes_in += (unsigned long)n;
        ue_touch(c);
        used = ue_conn_handle(c, bytes, have + (size_t)n);
        if (c->unhandled) {
            c->unhandled->start = used;
            c->unhandled->size = have + (size_t)n;
            if (!ue_buf_size(c->unhandled)) ue_free_unhandled(c);
        } else if (used < (size_t)n && !c->closing && !ue_save_unhandled(c, bytes + used, (size_t)n - used)) {
            ue_fail_conn(c, UDS_ECHO_ERR_NO_MEMORY);
        }
    } while ((size_t)n == s->message_max - have && n < UE_LARGE && ++reads < UE_READS && ue_takes_input(c) &&
             !c->more && s->left);
    ue_conn_update(c);
}

/* What was held back while an answer was unfinished, or by the end of a turn, is handled now. */
static void ue_conn_handle_saved(uds_echo_conn *c)
{
    if (c->unhandled) {
        c->more = 0;
        c->unhandled->start += ue_conn_handle(c, ue_buf_bytes(c->unhandled), ue_buf_size(c->unhandled));
        if (!ue_buf_size(c->unhandled)) ue_free_unhandled(c);
    }
    ue_conn_update(c);
}

static void ue_conn_send_unsent(uds_echo_conn *c)
{
    size_t size;
    long n;
    int sends = 0;
    do {
        ue_buf *first = c->unsent->next;
        size = ue_buf_size(first);
        n = ue_send(c->fd, ue_buf_bytes(first), size);
        if (n < 0) ue_fail_conn(c, ue_conn_error(errno));
        if (n <= 0) break;
        first->start += (size_t)n;
        c->unsent->total -= (size_t)n;
        c->server->stats.bytes_out += (unsigned long)n;
        ue_touch(c);
        if ((size_t)n == size) ue_free_first_unsent(c);
    } while (c->unsent && (size_t)n == size && ++sends < UE_READS);
    ue_conn_handle_saved(c);
}

static void ue_conn_resume(uds_echo_conn *c)
{
    if (c->more) ue_touch_if_idle_limit(c);
    if (c->state != UE_FREE && c->state != UE_LINGERING) ue_conn_handle_saved(c);
}

/* The poller says that the descriptor is ready; for what, each state finds out by trying. */
UE_HOT void ue_conn_event(uds_echo_conn *c)
{
    if (c->in_todo) { /* what callbacks asked for comes first: it may change the state */
        ue_conn_resume(c);
        if (c->more) return;
    }
    switch (c->state) {
    case UE_READING: ue_conn_read(c); break;
    case UE_SENDING: ue_conn_send_unsent(c); break;
    case UE_LINGERING: ue_conn_linger(c); break;
    case UE_FREE: break;
    default: /* not its turn: look away, or this would be reported for ever */
        if (!ue_set_interest(c, 0)) {
            ue_fail_conn(c, UDS_ECHO_ERR_SYSTEM);
            ue_conn_close(c);
        }
    }
}

/* Whatever the poller says: bytes may have come while this process was stopped. */
UE_COLD void ue_conn_look(uds_echo_conn *c)
{
    ue_conn_event(c);
}

/* Takes a free slot and clears it. Its generation goes on, and so does its place in a list. */
static uds_echo_conn *ue_take_slot(uds_echo_server *s, int fd)
{
    unsigned index = s->free_slot, todo_next, in_todo, generation;
    uds_echo_conn *c = &s->conns[index == UE_NIL ? s->conns_used : index];
    if (index == UE_NIL) s->conns_used++;
    else s->free_slot = c->free_next;
    todo_next = c->todo_next;
    in_todo = c->in_todo;
    generation = c->generation < UINT_MAX ? c->generation + 1 : 1;
    memset(c, 0, sizeof *c);
    c->server = s;
    c->fd = fd;
    c->todo_next = todo_next;
    c->in_todo = in_todo & 1u;
    c->generation = generation;
    c->state = UE_READING;
    if (s->idle.places) s->idle.places[ue_index(c)].since = UE_NONE;
    if (s->messages.places) s->messages.places[ue_index(c)].since = UE_NONE;
    s->lingering.places[ue_index(c)].since = UE_NONE;
    ue_touch(c);
    s->stats.accepted++;
    s->stats.connections++;
    return c;
}

/* 0: it failed. A peer may have connected before the listener was adopted, and then inherits nothing from it. */
static int ue_set_options(uds_echo_conn *c)
{
    uds_echo_server *s = c->server;
    if (s->adopted) ue_disable_passrights(c->fd);
    if (!ue_set_oobinline(c->fd)) return 0;
    return !s->desc.send_buffer ||
           !UDS_ECHO_SYS(setsockopt)(c->fd, SOL_SOCKET, SO_SNDBUF, &s->desc.send_buffer, sizeof s->desc.send_buffer);
}

/* on_open decides whether the peer stays. */
static void ue_admit(uds_echo_conn *c)
{
    uds_echo_server *s = c->server;
    if (s->desc.on_open && s->desc.on_open(c, s->desc.user)) {
        s->stats.refused++;
        ue_begin_close(c, UDS_ECHO_OK);
        return;
    }
    c->admitted = 1;
}

/* Most peers have sent a request by now. To read at once, rather than to wait for the poller's word, saves such a
   connection a system call. */
static void ue_conn_open(uds_echo_server *s, int fd)
{
    uds_echo_conn *c = ue_take_slot(s, fd);
    if (ue_set_options(c)) ue_admit(c);
    else ue_fail_conn(c, ue_error_of(errno));
    if (ue_takes_input(c) && s->left) ue_conn_read(c);
    else ue_conn_update(c);
}

UDS_ECHO_API uds_echo_error uds_echo_conn_send(uds_echo_conn *conn, const void *bytes, size_t size)
{
    uds_echo_server *s;
    if (!conn || (!bytes && size)) return UDS_ECHO_ERR_INVALID;
    s = conn->server;
    if (conn->closing || conn->failed) return UDS_ECHO_ERR_CLOSING;
    if (size > s->message_max) return UDS_ECHO_ERR_TOO_LONG;
    if (conn == s->handling) ue_flush(conn);
    if (!conn->deferred && ue_unsent_size(conn) + size > s->message_max) return UDS_ECHO_ERR_WOULD_BLOCK;
    ue_conn_write(conn, (const unsigned char *)bytes, size);
    if (conn->deferred || conn->unsent || conn->failed) ue_todo_add(conn);
    ue_set_deferred(conn, 0);
    return conn->failed ? (uds_echo_error)conn->close_reason : UDS_ECHO_OK;
}

UDS_ECHO_API void uds_echo_conn_close(uds_echo_conn *conn)
{
    if (!conn) return;
    ue_begin_close(conn, UDS_ECHO_OK);
    ue_todo_add(conn);
}

UDS_ECHO_API uds_echo_id uds_echo_conn_id(const uds_echo_conn *conn)
{
    return conn ? (uds_echo_id)conn->generation << 32 | ue_index(conn) : 0;
}

UDS_ECHO_API void uds_echo_conn_set_user(uds_echo_conn *conn, void *user)
{
    if (conn) conn->user = user;
}

UDS_ECHO_API void *uds_echo_conn_user(const uds_echo_conn *conn)
{
    return conn ? conn->user : NULL;
}

UDS_ECHO_API uds_echo_server *uds_echo_conn_server(const uds_echo_conn *conn)
{
    return conn ? conn->server : NULL;
}

UDS_ECHO_API uds_echo_error uds_echo_conn_peer(const uds_echo_conn *conn, uds_echo_peer *peer)
{
    if (!peer) return UDS_ECHO_ERR_INVALID;
    peer->pid = INT_MAX;
    peer->uid = peer->gid = -1;
    if (!conn) return UDS_ECHO_ERR_INVALID;
    return ue_peer_of(conn->fd, peer) ? UDS_ECHO_OK : UDS_ECHO_ERR_SYSTEM;
}

// >>accept
/* Returns the count after the change. */
#if UDS_ECHO_HAVE_ATOMIC
static int ue_atomic_add(int *count, int change)
{
    return __atomic_add_fetch(count, change, __ATOMIC_ACQ_REL);
}

static int ue_atomic_load(const int *count)
{
    return __atomic_load_n(count, __ATOMIC_ACQUIRE);
}
#else
static int ue_atomic_add(int *count, int change)
{
    return *count += change;
}

static int ue_atomic_load(const int *count)
{
    return *count;
}
#endif

static int ue_register_listener(uds_echo_server *s)
{
    int want = UE_IN | (ue_atomic_load(&s->listener->refs) > 1 ? UE_EXCLUSIVE : 0);
    s->listener_registered = ue_poller_set(&s->poller, s->listener->fd, UE_INDEX_LISTENER, 0, want);
    return s->listener_registered;
}

static void ue_unregister_listener(uds_echo_server *s)
{
    if (s->listener_registered) (void)ue_poller_set(&s->poller, s->listener->fd, UE_INDEX_LISTENER, UE_IN, 0);
    s->listener_registered = 0;
}

/* Accepts no more until a connection closes, or for so long (-1: however long, for all places are taken): the queue
   stays ready meanwhile, and would spin. */
static void ue_pause_accept(uds_echo_server *s, int ms)
{
    ue_unregister_listener(s);
    ue_update_now(s);
    s->accept_paused = 1;
    s->accept_resume_at = ms < 0 ? UE_NONE : s->now + ms;
    if (ms < 0) s->stats.pauses_full++;
}

UE_COLD void ue_pause_accept_failed(uds_echo_server *s, int os_error)
{
    s->stats.pauses_failed++;
    ue_log(s, UDS_ECHO_LOG_WARNING, ue_error_of(os_error), "accepting rests");
    ue_pause_accept(s, UE_PAUSE_MS);
}

/* A pause with an end is over then. */
static void ue_update_pause(uds_echo_server *s)
{
    if (s->accept_resume_at != UE_NONE && s->now >= s->accept_resume_at) s->accept_paused = 0;
}

/* No place is free, and none is made. */
static int ue_is_full(const uds_echo_server *s)
{
    return s->stats.connections >= s->conns_max && s->desc.when_full == UDS_ECHO_FULL_QUEUE;
}

/* Who only has to end its side goes first. */
static void ue_evict(uds_echo_server *s)
{
    unsigned slot = s->lingering.first != UE_NIL ? s->lingering.first : s->idle.first;
    ue_abort(&s->conns[slot], UDS_ECHO_ERR_EVICTED);
}

/* Where descriptors run out the table is as full as it can be. */
static int ue_may_evict(const uds_echo_server *s, int os_error)
{
    return (os_error == EMFILE || os_error == ENFILE) && s->desc.when_full == UDS_ECHO_FULL_EVICT &&
           s->stats.connections > 0;
}

/* accept(2), at most so many; only the first may have another evicted, for those behind it would evict who has not been
   looked at yet. 1: the queue is empty; 0: there may be more. */
static int ue_accept_some(uds_echo_server *s, int most)
{
    int fd, os_error, first = 1;
    for (; most > 0; most--) {
        if (ue_is_full(s)) return ue_pause_accept(s, -1), 0;
        if (!first && s->stats.connections >= s->conns_max) return 0;
        fd = ue_accept(s->listener->fd);
        os_error = errno;
        if (fd >= 0) {
            if (s->stats.connections >= s->conns_max) ue_evict(s);
            first = 0;
            ue_conn_open(s, fd);
        } else if (os_error == EAGAIN || os_error == EWOULDBLOCK || (os_error == EINVAL && s->phase == UE_FLUSHING)) {
            return 1;
        } else if (ue_may_evict(s, os_error)) {
            if (first) ue_evict(s); /* the next step accepts */
            return 0;
        } else if (os_error != EINTR && os_error != ECONNABORTED && os_error != EPROTO) {
            return ue_pause_accept_failed(s, os_error), 0;
        }
    }
    return 0;
}

/* Reports this server's connections to those that share the listener. Returns the connections of all. */
static long long ue_update_share(uds_echo_server *s)
{
    int mine = (int)s->stats.connections, all = ue_atomic_add(&s->listener->shared_total, mine - s->reported);
    s->reported = mine;
    return all;
}

/* More than its part of all connections, and an eighth. */
static int ue_is_over_share(const uds_echo_server *s, long long all)
{
    long long sharers = ue_atomic_load(&s->listener->refs);
    return (long long)s->stats.connections * sharers > all + all / 8 + sharers;
}

/* An exclusive wake-up wakes one of those who share, the one that has watched the listener longest (epoll_ctl(2)). So
   who was woken takes one, or nobody does, and only then goes to the end of the line. Who is full stays out of it; and
   for a moment who holds more than its share: it would take all that is queued while the others are being woken. */
static void ue_reregister_listener(uds_echo_server *s)
{
    int over = ue_is_over_share(s, ue_update_share(s));
    if (ue_is_full(s)) {
        ue_pause_accept(s, -1);
    } else if (over) {
        ue_pause_accept(s, 1);
    } else {
        ue_unregister_listener(s);
        if (!ue_register_listener(s)) ue_pause_accept_failed(s, errno);
    }
}

/* Another holder shut it: then it is reported for ever, and accept(2) says EAGAIN for ever. */
static int ue_is_listener_shut(int fd)
{
    struct pollfd p;
    p.fd = fd;
    p.events = UE_POLLRDHUP;
    return UDS_ECHO_SYS(poll)(&p, 1, 0) > 0;
}

/* To find the queue empty costs nearly as much as to accept. So one is taken, and more only where the queue was ready
   at the wait before, too. */
static void ue_accept_ready(uds_echo_server *s)
{
    int shared = ue_atomic_load(&s->listener->refs) > 1, again = s->stats.waits == s->ready_again_at;
    int most = again && !shared ? UE_ACCEPTS : 1;
    s->listener_ready = 0;
    s->ready_again_at = s->stats.waits + 1;
    if (ue_accept_some(s, most) && s->adopted && ue_is_listener_shut(s->listener->fd))
        ue_pause_accept_failed(s, EINVAL);
    if (shared && s->listener_registered) ue_reregister_listener(s);
}

// >>stop
/* The phases of a server.

     SERVING  --DRAIN, last owner------------> GRACE     the path is removed; clients that found it are accepted
     SERVING  --DRAIN, shared or adopted-----> DRAINING  the listener is left to its other owners
     GRACE    --path gone or given up, 2 ms--> FLUSHING  the listener is shut down, and hands out its queue
     FLUSHING --accept queue empty-----------> DRAINING  the listener is closed; connections finish
     DRAINING --no connections---------------> STOPPED
     any      --NOW, drain_ms over, close----> STOPPED   all connections are aborted */

static void ue_release_listener(uds_echo_server *s, int last)
{
    if (last) ue_listener_free(s->listener);
    s->listener = NULL;
    s->accept_paused = 0;
}

/* No longer one of those who share. 1: it was the last. 0: from now on another thread may free what is shared, so it is
   not watched any more before this. */
static int ue_leave_listener(uds_echo_server *s)
{
    (void)ue_atomic_add(&s->listener->shared_total, -s->reported);
    return ue_atomic_add(&s->listener->refs, -1) == 0;
}

static void ue_log_path_left(uds_echo_server *s, uds_echo_error why)
{
    ue_log(s, UDS_ECHO_LOG_INFO, why, "the socket file stays behind, stale");
}

/* What a drain may end now. */
static void ue_drain_all(uds_echo_server *s)
{
    unsigned i;
    for (i = 0; i < s->conns_used; i++)
        if (s->conns[i].state == UE_READING) ue_conn_update(&s->conns[i]);
}

/* From the time that was last looked at. Where the clock failed then, they are set again when it works: nobody is
   aborted by an old time. */
UE_COLD void ue_set_drain_deadlines(uds_echo_server *s)
{
    if (s->desc.drain_ms >= 0) s->drain_until = s->now + s->desc.drain_ms;
    s->finish_until = s->now + (s->desc.drain_ms >= 0 ? s->desc.drain_ms / 2 : UE_FINISH_MS);
    s->unlink_until = s->now + UE_UNLINK_MS;
    s->grace_until = s->now + UE_GRACE_MS;
    s->drain_is_unsure = s->clock_failed;
}

/* Drain, on a listener that is ours alone: the path goes, those who found it in time are accepted for a moment more,
   then the listener is shut, which refuses new ones and still hands out the queue (closing it would reset them). One
   that others hold is only left. */
UE_COLD void ue_begin_drain(uds_echo_server *s)
{
    int last;
    ue_update_now(s);
    ue_unregister_listener(s);
    last = ue_leave_listener(s);
    ue_set_drain_deadlines(s);
    if (last && !s->adopted) {
        s->phase = UE_GRACE;
        (void)ue_unlink_path(s->listener);
    } else {
        ue_release_listener(s, last);
        s->phase = UE_DRAINING;
        ue_drain_all(s);
    }
}

UE_COLD void ue_end_grace(uds_echo_server *s)
{
    if (s->listener->dirfd >= 0) { /* a neighbour in the folder had the lock */
        uds_echo_error error = ue_unlink_path(s->listener);
        if (!error || (error == UDS_ECHO_ERR_BUSY && s->now < s->unlink_until)) {
            s->grace_until = s->now + UE_GRACE_MS;
            return;
        }
        ue_log_path_left(s, error);
    }
    ue_unregister_listener(s); /* it would be reported ready for ever now */
    if (UDS_ECHO_SYS(shutdown)(s->listener->fd, SHUT_RD)) ue_log(s, UDS_ECHO_LOG_INFO, ue_error_of(errno), "shutdown");
    s->phase = UE_FLUSHING;
    ue_drain_all(s);
}

UE_COLD void ue_accept_remaining(uds_echo_server *s)
{
    ue_update_pause(s);
    if (s->accept_paused) return;
    if (!ue_accept_some(s, UE_ACCEPTS)) return;
    ue_release_listener(s, 1);
    s->phase = UE_DRAINING;
}

/* NOW, and the end of a drain that took too long. */
UE_COLD void ue_abort_all(uds_echo_server *s)
{
    int last = s->phase != UE_SERVING; /* a drain has left already, and is the last that is here */
    uds_echo_error error = UDS_ECHO_OK;
    unsigned i;
    s->phase = UE_STOPPED; /* first, so that nobody is let share what goes */
    if (s->listener) {
        ue_unregister_listener(s);
        last = last || ue_leave_listener(s);
        if (last) error = ue_unlink_path(s->listener);
        if (error) ue_log_path_left(s, error);
        ue_release_listener(s, last);
    }
    for (i = 0; i < s->conns_used; i++)
        if (s->conns[i].state != UE_FREE) ue_abort(&s->conns[i], UDS_ECHO_ERR_STOPPED);
}

// >>loop
/* Cuts those whose time is up, each after one more look: the socket of a slow reader is not called writable before most
   of it is free, and takes some more all the same. */
static void ue_abort_overdue(uds_echo_server *s, ue_queue *q, int ms, uds_echo_error why)
{
    long long now = s->now;
    if (ms <= 0) return;
    while (q->first != UE_NIL && now - q->places[q->first].since >= ms) {
        unsigned slot = q->first;
        long long since = q->places[slot].since;
        uds_echo_conn *c = &s->conns[slot];
        if (c->deferred) ue_touch_if_idle_limit(c);
        else ue_conn_look(c);
        if (q->first == slot && q->places[slot].since == since) ue_abort(c, why);
    }
}

/* The end of a drain that takes too long: one more look at the wakeup and at each connection, and a few messages
   more. */
UE_COLD void ue_end_drain(uds_echo_server *s)
{
    unsigned i;
    ue_on_wakeup(s);
    s->left = UE_TURN;
    ue_set_look(s);
    for (i = 0; i < s->conns_used; i++) ue_conn_look(&s->conns[i]);
    ue_abort_all(s);
}

/* 0: this connection has input that was read, and this step hands over no more. */
static int ue_has_turn(const uds_echo_conn *c)
{
    return !ue_takes_input(c) || c->server->left;
}

/* Looks once at each connection that was listed when it began; what they add is for the next step, behind those whose
   turn did not come. */
UE_COLD void ue_run_todo(uds_echo_server *s)
{
    ue_list none = {UE_NIL, UE_NIL}, left = none;
    unsigned next = s->todo.first;
    s->todo = none;
    s->left += s->put_off;
    s->put_off = 0;
    ue_set_look(s);
    while (next != UE_NIL) {
        uds_echo_conn *c = &s->conns[next];
        next = c->todo_next;
        if (ue_has_turn(c)) {
            c->in_todo = 0;
            ue_conn_resume(c);
        } else {
            ue_list_append(&left, c);
        }
    }
    if (left.first != UE_NIL) {
        s->conns[left.last].todo_next = s->todo.first;
        if (s->todo.first == UE_NIL) s->todo.last = left.last;
        s->todo.first = left.first;
    }
    if (s->stop_mode == UDS_ECHO_STOP_NOW) ue_abort_all(s);
}

UE_COLD void ue_abort_all_overdue(uds_echo_server *s)
{
    ue_abort_overdue(s, &s->idle, s->desc.idle_ms, UDS_ECHO_ERR_IDLE);
    ue_abort_overdue(s, &s->messages, s->desc.message_ms, UDS_ECHO_ERR_TIMEOUT);
    ue_abort_overdue(s, &s->lingering, s->desc.linger_ms, UDS_ECHO_ERR_LINGER);
}

/* What a stop has to begin, or to break off. */
UE_COLD void ue_heed_stop(uds_echo_server *s)
{
    if (s->stop_mode == UDS_ECHO_STOP_NOW) ue_abort_all(s);
    else if (ue_is_over(s)) ue_end_drain(s);
    else if (s->phase == UE_SERVING) ue_begin_drain(s);
}

/* The next phase, once this one has done its work or its time is up. */
UE_COLD void ue_advance_drain(uds_echo_server *s)
{
    if (s->phase > UE_GRACE && s->finish_until != UE_NONE && s->now >= s->finish_until) {
        s->finish_until = UE_NONE;
        ue_drain_all(s);
    }
    if (s->phase == UE_FLUSHING) ue_accept_remaining(s);
    if (s->phase == UE_GRACE && s->now >= s->grace_until) ue_end_grace(s);
    if (s->phase == UE_DRAINING && !s->stats.connections) s->phase = UE_STOPPED;
}

/* What is due though no descriptor says so. */
static void ue_tick(uds_echo_server *s)
{
    if (s->stop_mode >= 0) ue_heed_stop(s);
    if (s->todo.first != UE_NIL) ue_run_todo(s);
    if (ue_is_any_queued(s)) ue_abort_all_overdue(s);
    if (s->stop_mode >= 0) ue_advance_drain(s);
    if (s->phase > UE_GRACE || s->listener_registered) return;
    ue_update_pause(s);
    if (s->accept_paused) return;
    if (!ue_register_listener(s)) ue_pause_accept_failed(s, errno);
}

/* Half of the messages are for those that were read already, where there are such. */
UE_COLD void ue_share_step(uds_echo_server *s)
{
    s->put_off = s->left / 2 + (s->left & (int)(s->steps & 1));
    s->left -= s->put_off;
}

static void ue_begin_step(uds_echo_server *s)
{
    s->steps++;
    s->left = s->desc.step_messages;
    if (s->todo.first != UE_NIL) ue_share_step(s);
    ue_set_look(s);
}

static void ue_event(uds_echo_server *s, unsigned long long token)
{
    unsigned index = (unsigned)(token & 0xffffffff);
    if (index < UE_INDEX_LISTENER) {
        ue_on_wakeup(s);
    } else if (index == UE_INDEX_LISTENER) {
        s->listener_ready = s->listener_registered; /* or the event was taken before a step that ended among events */
    } else {
        uds_echo_conn *c = &s->conns[index - UE_INDEX_CONN];
        if (c->generation == token >> 32) ue_conn_event(c);
    }
}

UE_COLD long long ue_earliest_due(const uds_echo_server *s, long long due)
{
    due = ue_earlier(due, ue_queue_due(&s->idle, s->desc.idle_ms));
    due = ue_earlier(due, ue_queue_due(&s->messages, s->desc.message_ms));
    return ue_earlier(due, ue_queue_due(&s->lingering, s->desc.linger_ms));
}

UE_HOT int ue_timeout(const uds_echo_server *s)
{
    long long due = s->drain_until;
    if (s->phase == UE_STOPPED || s->todo.first != UE_NIL || s->unfinished ||
        (s->phase == UE_FLUSHING && !s->accept_paused))
        return 0;
    if (s->accept_paused) due = ue_earlier(due, s->accept_resume_at);
    if (s->phase == UE_GRACE) due = ue_earlier(due, s->grace_until);
    if (s->phase > UE_GRACE) due = ue_earlier(due, s->finish_until);
    if (ue_is_any_queued(s)) due = ue_earliest_due(s, due);
    return due == UE_NONE ? -1 : ue_remaining_ms(due, ue_clock(s));
}

UE_HOT int ue_wait(uds_echo_server *s, int timeout_ms)
{
    long long until = ue_busy_poll_until(s->desc.busy_poll_us, &timeout_ms);
    int count = 0;
    s->stats.waits++;
    if (until) {
        s->stats.busy_waits++;
        do count = ue_poller_wait(&s->poller, 0);
        while (count == 0 && ue_busy_poll_goes_on(until, s->desc.busy_poll_us));
        s->stats.busy_wait_hits += count > 0;
    }
    return count ? count : ue_poller_wait(&s->poller, timeout_ms);
}

/* A wait of at most due milliseconds, after which something is due. A wait that took all its time tells how late it is,
   whatever the clock says: so what is due comes to pass. A step of a drain without a clock counts as a millisecond, or
   a drain of a caller that never waits would not end. Keeps errno. */
UE_COLD int ue_timed_wait(uds_echo_server *s, int due, int timeout_ms)
{
    int wait_ms = timeout_ms < 0 || due < timeout_ms ? due : timeout_ms;
    int count = ue_wait(s, wait_ms), os_error = errno;
    long long least = s->now + (count ? 0 : wait_ms);
    ue_update_now(s);
    if (s->now < least) s->now = least;
    if (s->clock_failed && s->phase != UE_SERVING) s->now++;
    if (s->drain_is_unsure && !s->clock_failed) ue_set_drain_deadlines(s);
    errno = os_error;
    return count;
}

/* One step, or one after the other. The loop is in here because a processor does not foresee a return that comes after
   a system call (the kernel has used up what it remembers of them), and that of a step was the dearest of all. */
static uds_echo_error ue_run(uds_echo_server *s, int timeout_ms, int once)
{
    unsigned long long token;
    int due, count, goes_on;
    do {
        due = ue_timeout(s);
        if (s->phase == UE_STOPPED) return UDS_ECHO_ERR_STOPPED;
        goes_on = s->unfinished;
        if (goes_on) {
            count = s->unfinished = 0;
        } else {
            count = due < 0 ? ue_wait(s, timeout_ms) : ue_timed_wait(s, due, timeout_ms);
        }
        s->os_error = count < 0 && errno != EINTR ? errno : 0;
        s->in_callback = 1;
        ue_begin_step(s);
        if (goes_on) ue_look(s);
        while (s->left && ue_poller_next(&s->poller, &token)) ue_event(s, token);
        if (!s->left) s->unfinished = ue_poller_has_more(&s->poller);
        if (s->listener_ready) ue_accept_ready(s);
        ue_tick(s);
        s->in_callback = 0;
        if (s->phase == UE_STOPPED) return UDS_ECHO_ERR_STOPPED;
        if (s->os_error) {
            errno = s->os_error;
            return UDS_ECHO_ERR_SYSTEM;
        }
    } while (!once);
    return UDS_ECHO_OK;
}

// >>server
static uds_echo_error ue_validate_desc(const uds_echo_server_desc *d, int wants_path, uds_echo_failure *failure)
{
    // clang-format off
    int needs_path = wants_path && !d->share_with;
    const char *bad = !wants_path && d->share_with ? "desc.share_with" :
                      needs_path != (d->path != NULL) ? "desc.path" :
                      d->mode < 0 || d->mode > 0777 ? "desc.mode" :
                      d->if_exists && d->if_exists != UDS_ECHO_IF_EXISTS_REFUSE ? "desc.if_exists" :
                      d->publish && d->publish != UDS_ECHO_PUBLISH_DIRECT ? "desc.publish" :
                      d->lock_ms < -1 ? "desc.lock_ms" :
                      d->backlog < 0 ? "desc.backlog" :
                      d->connections_max < -1 || d->connections_max > 1000000 ? "desc.connections_max" :
                      d->when_full && d->when_full != UDS_ECHO_FULL_EVICT ? "desc.when_full" :
                      d->message_max < 0 || d->message_max > 1l << 30 ? "desc.message_max" :
                      d->memory_max < -1 ? "desc.memory_max" :
                      d->step_messages < 0 ? "desc.step_messages" :
                      d->send_buffer < 0 ? "desc.send_buffer" :
                      d->idle_ms < -1 ? "desc.idle_ms" :
                      d->message_ms < -1 ? "desc.message_ms" :
                      d->linger_ms < 0 ? "desc.linger_ms" :
                      d->drain_ms < -1 ? "desc.drain_ms" :
                      d->busy_poll_us < -1 || d->busy_poll_us > 1000000 ? "desc.busy_poll_us" : NULL;
    // clang-format on
    return bad ? ue_fail(failure, UDS_ECHO_ERR_INVALID, 0, bad) : UDS_ECHO_OK;
}

/* Fills in the defaults, and what is computed from them. */
static uds_echo_error ue_apply_defaults(uds_echo_server *s, uds_echo_failure *failure)
{
    uds_echo_server_desc *d = &s->desc;
    struct rlimit limit;
    if (!d->mode) d->mode = 0600;
    if (!d->lock_ms) d->lock_ms = 1000;
    if (d->lock_ms < 0) d->lock_ms = 0;
    if (!d->backlog) d->backlog = 4096;
    if (!d->message_max) d->message_max = 65536;
    if (!d->step_messages) d->step_messages = 1024;
    if (d->idle_ms < 0) d->idle_ms = 0;
    if (d->message_ms < 0) d->message_ms = 0;
    if (!d->linger_ms) d->linger_ms = 30000;
    if (!d->drain_ms) d->drain_ms = 5000;
    if (!d->connections_max) d->connections_max = 1024;
    if (d->connections_max < 0) {
        if (UDS_ECHO_SYS(getrlimit)(RLIMIT_NOFILE, &limit)) return ue_fail_os(failure, "getrlimit");
        d->connections_max = limit.rlim_cur < 1000000 ? (int)limit.rlim_cur - UE_INDEX_CONN : 1000000;
        if (d->connections_max < 1) d->connections_max = 1; /* poll(2) takes no more places than descriptors */
    }
    s->conns_max = (unsigned)d->connections_max;
    s->message_max = (size_t)d->message_max;
    s->memory_max = d->memory_max > 0 ? (unsigned long long)d->memory_max : ULLONG_MAX;
    return UDS_ECHO_OK;
}

static void ue_server_free(uds_echo_server *s)
{
    ue_poller_close(&s->poller);
    ue_wakeup_close(&s->wakeup);
    UDS_ECHO_SYS(free)(s->conns);
    UDS_ECHO_SYS(free)(s->idle.places);
    UDS_ECHO_SYS(free)(s->messages.places);
    UDS_ECHO_SYS(free)(s->lingering.places);
    UDS_ECHO_SYS(free)(s->scratch);
    UDS_ECHO_SYS(free)(s->input);
    UDS_ECHO_SYS(free)(s);
}

/* 0: there is no memory. */
static int ue_queue_alloc(ue_queue *q, unsigned slots)
{
    q->places = (ue_place *)UDS_ECHO_SYS(calloc)(slots, sizeof *q->places);
    return q->places != NULL;
}

/* What is allocated for as long as the server lives: all but answers and messages that have to wait. */
static uds_echo_error ue_server_alloc(uds_echo_server *s, uds_echo_failure *failure)
{
    int i, framed = s->desc.frame != NULL;
    int idle = s->desc.idle_ms > 0 || s->desc.when_full == UDS_ECHO_FULL_EVICT;
    if (!ue_poller_open(&s->poller, (size_t)s->conns_max + UE_INDEX_CONN))
        return ue_fail_os(failure, UDS_ECHO_HAVE_EPOLL ? "epoll_create1" : "calloc");
    s->conns = (uds_echo_conn *)UDS_ECHO_SYS(calloc)(s->conns_max, sizeof *s->conns);
    if (!s->conns || !ue_queue_alloc(&s->lingering, s->conns_max) ||
        (idle && !ue_queue_alloc(&s->idle, s->conns_max)) ||
        (s->desc.message_ms > 0 && framed && !ue_queue_alloc(&s->messages, s->conns_max)))
        return ue_fail(failure, UDS_ECHO_ERR_NO_MEMORY, ENOMEM, "calloc");
    s->scratch = (unsigned char *)UDS_ECHO_SYS(malloc)(s->message_max * (framed ? 2 : 1));
    if (framed) s->input = (unsigned char *)UDS_ECHO_SYS(malloc)(s->message_max);
    if (!s->scratch || (framed && !s->input)) return ue_fail(failure, UDS_ECHO_ERR_NO_MEMORY, ENOMEM, "malloc");
    if (!ue_wakeup_open(&s->wakeup)) return ue_fail_os(failure, UDS_ECHO_HAVE_EVENTFD ? "eventfd" : "pipe");
    for (i = 0; i < UE_WAKEUP_FDS; i++)
        if (!ue_poller_set(&s->poller, s->wakeup.rfd[i], (unsigned)i, 0, UE_IN))
            return ue_fail_os(failure, "epoll_ctl");
    return UDS_ECHO_OK;
}

static uds_echo_error ue_server_new(uds_echo_server **server, const uds_echo_server_desc *desc,
                                    uds_echo_failure *failure)
{
    uds_echo_server *s = (uds_echo_server *)UDS_ECHO_SYS(calloc)(1, sizeof *s);
    uds_echo_error error;
    int i;
    if (!s) return ue_fail(failure, UDS_ECHO_ERR_NO_MEMORY, ENOMEM, "calloc");
    s->desc = *desc;
    s->pid = (long)UDS_ECHO_SYS(getpid)();
    s->now = ue_now();
    s->free_slot = s->todo.first = s->todo.last = UE_NIL;
    s->idle.first = s->idle.last = s->messages.first = s->messages.last = UE_NIL;
    s->lingering.first = s->lingering.last = UE_NIL;
    s->stop_mode = -1;
    s->accept_resume_at = s->grace_until = s->finish_until = s->drain_until = UE_NONE;
    for (i = 0; i < UE_WAKEUP_FDS; i++) s->wakeup.rfd[i] = s->wakeup.wfd[i] = -1;
    error = s->now == UE_NO_CLOCK ? ue_fail_os(failure, "clock_gettime") : ue_apply_defaults(s, failure);
    if (error) {
        UDS_ECHO_SYS(free)(s);
        return error;
    }
    error = ue_server_alloc(s, failure);
    if (error) ue_server_free(s);
    else *server = s;
    return error;
}

static uds_echo_error ue_check_caller(const uds_echo_server *s)
{
    if (!s) return UDS_ECHO_ERR_INVALID;
    if (s->pid != (long)UDS_ECHO_SYS(getpid)()) return UDS_ECHO_ERR_FORKED;
    return s->in_callback ? UDS_ECHO_ERR_REENTRANT : UDS_ECHO_OK;
}

/* The listener is in place: watch it, and tell that the server is ready. */
static uds_echo_error ue_server_begin(uds_echo_server *s, uds_echo_server **server, uds_echo_failure *failure)
{
    s->desc.path = NULL; /* the caller's, and used no more */
    s->desc.share_with = NULL;
    if (ue_accept_is_refused()) return ue_fail_os(failure, UDS_ECHO_HAVE_ACCEPT4 ? "accept4" : "accept");
    if (!ue_register_listener(s)) return ue_fail_os(failure, "epoll_ctl");
    *server = s;
    s->in_callback = 1;
    if (s->desc.on_ready) s->desc.on_ready(s, s->desc.user);
    s->in_callback = 0;
    return UDS_ECHO_OK;
}

UDS_ECHO_API uds_echo_error uds_echo_server_open(uds_echo_server **server, const uds_echo_server_desc *desc,
                                                 uds_echo_failure *failure)
{
    uds_echo_server *s = NULL;
    uds_echo_error error;
    if (!server) return ue_fail(failure, UDS_ECHO_ERR_INVALID, 0, "server");
    *server = NULL;
    if (!desc) return ue_fail(failure, UDS_ECHO_ERR_INVALID, 0, "desc");
    error = ue_validate_desc(desc, 1, failure);
    if (!error && desc->share_with && !UDS_ECHO_HAVE_ATOMIC)
        error = ue_fail(failure, UDS_ECHO_ERR_UNSUPPORTED, 0, "desc.share_with");
    if (!error && desc->share_with && desc->share_with->pid != (long)UDS_ECHO_SYS(getpid)())
        error = ue_fail(failure, UDS_ECHO_ERR_FORKED, 0, "desc.share_with");
    if (!error && desc->share_with && desc->share_with->phase != UE_SERVING)
        error = ue_fail(failure, UDS_ECHO_ERR_STOPPED, 0, "desc.share_with");
    if (!error) error = ue_server_new(&s, desc, failure);
    if (error) return error;
    if (desc->share_with) {
        s->listener = desc->share_with->listener;
        s->adopted = desc->share_with->adopted;
        (void)ue_atomic_add(&s->listener->refs, 1);
    } else {
        error = ue_listener_open(&s->listener, &s->desc, failure);
    }
    if (!error) error = ue_server_begin(s, server, failure);
    if (!error) return ue_fail(failure, UDS_ECHO_OK, 0, ""); /* not what a try on the way met */
    ue_abort_all(s);
    ue_server_free(s);
    return error;
}

/* Only what is certain to be a listening stream socket of this family is adopted (unix(7), socket(7)). */
static uds_echo_error ue_validate_listener(int listener, uds_echo_failure *failure)
{
    const int option[3] = {SO_DOMAIN, SO_TYPE, SO_ACCEPTCONN}, wanted[3] = {AF_UNIX, SOCK_STREAM, 1};
    int i, value;
    socklen_t size;
    for (i = 0; i < 3; i++) {
        size = sizeof value;
        if (UDS_ECHO_SYS(getsockopt)(listener, SOL_SOCKET, option[i], &value, &size)) {
            if (errno == EBADF || errno == ENOTSOCK) return ue_fail(failure, UDS_ECHO_ERR_INVALID, errno, "listener");
            return ue_fail_os(failure, "getsockopt");
        }
        if (value != wanted[i])
            return ue_fail(failure, i < 2 ? UDS_ECHO_ERR_WRONG_TYPE : UDS_ECHO_ERR_INVALID, 0, "listener");
    }
    if (!ue_set_cloexec_nonblock(listener)) return ue_fail_os(failure, "fcntl");
    ue_disable_passrights(listener);
    return UDS_ECHO_OK;
}

UDS_ECHO_API uds_echo_error uds_echo_server_adopt(uds_echo_server **server, int listener,
                                                  const uds_echo_server_desc *desc, uds_echo_failure *failure)
{
    uds_echo_server *s = NULL;
    uds_echo_error error;
    ue_fail(failure, UDS_ECHO_OK, 0, "");
    if (!server) return ue_fail(failure, UDS_ECHO_ERR_INVALID, 0, "server");
    *server = NULL;
    if (!desc) return ue_fail(failure, UDS_ECHO_ERR_INVALID, 0, "desc");
    error = ue_validate_desc(desc, 0, failure);
    if (!error) error = ue_validate_listener(listener, failure);
    if (!error) error = ue_server_new(&s, desc, failure);
    if (error) return error;
    s->adopted = 1;
    s->listener = ue_listener_new("");
    if (s->listener) {
        s->listener->fd = listener;
        error = ue_server_begin(s, server, failure);
    } else {
        error = ue_fail(failure, UDS_ECHO_ERR_NO_MEMORY, ENOMEM, "malloc");
    }
    if (!error) return UDS_ECHO_OK;
    if (s->listener) s->listener->fd = -1; /* still the caller's */
    if (s->listener) ue_listener_free(s->listener);
    ue_server_free(s);
    return error;
}

UDS_ECHO_API uds_echo_error uds_echo_server_step(uds_echo_server *server, int timeout_ms)
{
    uds_echo_error error = ue_check_caller(server);
    return error ? error : ue_run(server, timeout_ms, 1);
}

UDS_ECHO_API uds_echo_error uds_echo_server_run(uds_echo_server *server)
{
    uds_echo_error error = ue_check_caller(server);
    if (!error) error = ue_run(server, -1, 0);
    return error == UDS_ECHO_ERR_STOPPED ? UDS_ECHO_OK : error;
}

UDS_ECHO_API uds_echo_error uds_echo_serve(const uds_echo_server_desc *desc, uds_echo_failure *failure)
{
    uds_echo_server *server;
    uds_echo_error error = uds_echo_server_open(&server, desc, failure);
    if (error) return error;
    error = uds_echo_server_run(server);
    if (error == UDS_ECHO_ERR_FORKED) ue_fail(failure, error, 0, "getpid");
    else if (error) ue_fail(failure, error, errno, UDS_ECHO_HAVE_EPOLL ? "epoll_wait" : "poll");
    (void)uds_echo_server_close(server);
    return error;
}

UDS_ECHO_API int uds_echo_server_fd(const uds_echo_server *server)
{
    return server ? ue_poller_fd(&server->poller) : -1;
}

UDS_ECHO_API int uds_echo_server_timeout(const uds_echo_server *server)
{
    return server ? ue_timeout(server) : -1;
}

/* In a forked child the wakeup is the parent's. */
static void ue_notify(const uds_echo_server *s, int what)
{
    int os_error = errno;
    if (s && s->pid == (long)UDS_ECHO_SYS(getpid)()) ue_wakeup_signal(&s->wakeup, what);
    errno = os_error;
}

UDS_ECHO_API void uds_echo_server_stop(uds_echo_server *server, uds_echo_stop_mode how)
{
    ue_notify(server, how == UDS_ECHO_STOP_NOW ? UE_WAKEUP_NOW : UE_WAKEUP_DRAIN);
}

UDS_ECHO_API void uds_echo_server_wake(uds_echo_server *server)
{
    ue_notify(server, UE_WAKEUP_WAKE);
}

UDS_ECHO_API void uds_echo_server_stats(const uds_echo_server *server, uds_echo_stats *stats)
{
    if (!stats) return;
    memset(stats, 0, sizeof *stats);
    if (server) *stats = server->stats;
}

UDS_ECHO_API uds_echo_conn *uds_echo_server_find(uds_echo_server *server, uds_echo_id id)
{
    uds_echo_conn *c;
    if (!server || (id & 0xffffffff) >= server->conns_used) return NULL;
    c = &server->conns[id & 0xffffffff];
    return c->state != UE_FREE && c->generation == id >> 32 && !c->closing && !c->failed ? c : NULL;
}

/* After fork: the files, the poller's set and the wakeup are shared with the parent, so nothing is done but close and
   free. */
static void ue_close_in_child(uds_echo_server *s)
{
    unsigned i;
    for (i = 0; i < s->conns_used; i++) {
        if (s->conns[i].state == UE_FREE) continue;
        ue_close(&s->conns[i].fd);
        ue_free_unhandled(&s->conns[i]);
        while (s->conns[i].unsent) ue_free_first_unsent(&s->conns[i]);
    }
    if (s->listener && (s->phase != UE_SERVING || ue_atomic_add(&s->listener->refs, -1) == 0))
        ue_listener_free(s->listener);
}

UDS_ECHO_API uds_echo_error uds_echo_server_close(uds_echo_server *server)
{
    uds_echo_error error = ue_check_caller(server);
    if (!server) return UDS_ECHO_OK;
    if (server->in_callback) return UDS_ECHO_ERR_REENTRANT;
    server->in_callback = 1;
    if (error == UDS_ECHO_ERR_FORKED) {
        ue_close_in_child(server);
    } else {
        ue_update_now(server);
        if (server->phase != UE_STOPPED) ue_abort_all(server);
        if (server->desc.on_end) server->desc.on_end(server, server->desc.user);
    }
    ue_server_free(server);
    return UDS_ECHO_OK;
}

// >>client
/* SO_SNDTIMEO is how long connect(2) waits for a place in a full queue (unix(7)); 0: not at all, as before. NULL, or
   the call that failed. */
static const char *ue_set_connect_wait(int fd, int wait_ms)
{
    struct timeval t;
    int flags = UDS_ECHO_SYS(fcntl)(fd, F_GETFL);
    t.tv_sec = wait_ms / 1000;
    t.tv_usec = wait_ms % 1000 * 1000l;
    if (wait_ms && UDS_ECHO_SYS(setsockopt)(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t)) return "setsockopt";
    flags = wait_ms ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
    return flags < 0 || UDS_ECHO_SYS(fcntl)(fd, F_SETFL, flags) ? "fcntl" : NULL;
}

static int ue_try_connect(int fd, const struct sockaddr_un *address, socklen_t size)
{
    return UDS_ECHO_SYS(connect)(fd, (const struct sockaddr *)address, size) ? errno : 0;
}

/* Waits in the kernel's line for a place in the queue, as everybody else does: who only tries again and again gets none
   while others wait. A wait ends early, after as long as all waits before it together, for by then the path may lead to
   another server. *os_error is what connect(2) said last; the result as of ue_set_connect_wait(). */
UE_COLD const char *ue_connect_in_line(int fd, const struct sockaddr_un *address, socklen_t size, long long deadline,
                                       int *os_error)
{
    const char *call;
    int left, wait_ms = deadline < UE_NONE ? INT_MAX : 100; /* without a clock: one wait */
    while (ue_is_transient(*os_error) && (left = ue_remaining_ms_now(deadline)) != 0) {
        call = ue_set_connect_wait(fd, left > 0 && left < wait_ms ? left : wait_ms);
        if (call) return call;
        *os_error = ue_try_connect(fd, address, size);
        if (deadline < UE_NONE) break;
        if (*os_error != EINTR && wait_ms < INT_MAX / 2) wait_ms *= 2;
    }
    call = ue_set_connect_wait(fd, 0);
    if (!call && ue_is_transient(*os_error)) *os_error = ue_try_connect(fd, address, size);
    return call;
}

static uds_echo_error ue_connect(int fd, const ue_path *p, long long deadline, uds_echo_failure *failure)
{
    struct sockaddr_un address;
    socklen_t size;
    const char *call = NULL;
    int os_error;
    if (!ue_address(&address, &size, p, "")) return ue_fail(failure, UDS_ECHO_ERR_BAD_PATH, 0, p->arg_name);
    os_error = ue_try_connect(fd, &address, size);
    if (ue_is_transient(os_error) && ue_remaining_ms_now(deadline))
        call = ue_connect_in_line(fd, &address, size, deadline, &os_error);
    if (call) return ue_fail_os(failure, call);
    if (!os_error) return UDS_ECHO_OK;
    if (ue_is_transient(os_error)) return ue_fail(failure, UDS_ECHO_ERR_TIMEOUT, os_error, "connect");
    return ue_fail_path(failure, os_error, "connect");
}

static uds_echo_error ue_trust(int fd, const uds_echo_client_desc *desc, uds_echo_failure *failure)
{
    uds_echo_peer peer;
    if (desc->trust == UDS_ECHO_TRUST_ANY) return UDS_ECHO_OK;
    if (!ue_peer_of(fd, &peer)) return ue_fail_os(failure, "getsockopt");
    if (peer.uid == desc->uid || (desc->trust == UDS_ECHO_TRUST_UID_OR_ROOT && peer.uid == 0)) return UDS_ECHO_OK;
    ue_fail(failure, UDS_ECHO_ERR_UNTRUSTED, 0, "getsockopt");
    if (failure) failure->pid = peer.pid;
    if (failure) failure->uid = peer.uid;
    return UDS_ECHO_ERR_UNTRUSTED;
}

static uds_echo_error ue_client_connect(uds_echo_client *client, const uds_echo_client_desc *desc, const char *field,
                                        long long deadline, uds_echo_failure *failure)
{
    ue_path path;
    uds_echo_error error = ue_path_split(&path, desc->path, field, failure);
    if (!error && strlen(path.given) >= sizeof((struct sockaddr_un *)0)->sun_path)
        error = ue_path_open_dir(&path, failure);
    if (error) return error;
    client->fd = ue_socket(SOCK_STREAM);
    if (client->fd < 0) error = ue_fail_os(failure, "socket");
    else if (!ue_set_oobinline(client->fd)) error = ue_fail_os(failure, "setsockopt");
    else ue_disable_passrights(client->fd);
    if (!error) error = ue_connect(client->fd, &path, deadline, failure);
    if (!error) error = ue_trust(client->fd, desc, failure);
    ue_close(&path.dirfd);
    if (error) ue_close(&client->fd);
    client->is_open = !error;
    return error;
}

UDS_ECHO_API uds_echo_error uds_echo_client_open(uds_echo_client *client, const uds_echo_client_desc *desc,
                                                 uds_echo_failure *failure)
{
    ue_fail(failure, UDS_ECHO_OK, 0, "");
    if (!client) return ue_fail(failure, UDS_ECHO_ERR_INVALID, 0, "client");
    memset(client, 0, sizeof *client);
    client->fd = -1;
    if (!desc) return ue_fail(failure, UDS_ECHO_ERR_INVALID, 0, "desc");
    if (desc->timeout_ms < -1) return ue_fail(failure, UDS_ECHO_ERR_INVALID, 0, "desc.timeout_ms");
    if (desc->trust && desc->trust != UDS_ECHO_TRUST_UID && desc->trust != UDS_ECHO_TRUST_UID_OR_ROOT)
        return ue_fail(failure, UDS_ECHO_ERR_INVALID, 0, "desc.trust");
    if (desc->busy_poll_us < -1 || desc->busy_poll_us > 1000000)
        return ue_fail(failure, UDS_ECHO_ERR_INVALID, 0, "desc.busy_poll_us");
    client->busy_poll_us = desc->busy_poll_us;
    return ue_client_connect(client, desc, "desc.path", ue_deadline(desc->timeout_ms ? desc->timeout_ms : 5000),
                             failure);
}

/* What an exchange and a call have in common: bytes out and bytes in, both as far as they go. */
typedef struct ue_xfer {
    uds_echo_client *client;
    uds_echo_io *io;
    int until_eof;       /* a call: half-close after the last byte, then read to EOF */
    int can_out, can_in; /* worth a try */
    int overflow;        /* bytes came for which there is no space */
    int waited_out;      /* the last wait took all its time */
    int looks;           /* waits that may still find something once the time is up, for the process may have been
                            stopped while a reply came; 1 where there is no time at all */
    int os_error;        /* of the call that failed; 0: none did */
} ue_xfer;

static int ue_has_output(const uds_echo_client *c, const uds_echo_io *io)
{
    return io->sent < io->out_size && !c->send_failed;
}

/* 0: the system failed, see errno. That the peer went away only ends sending: what it said before is still to be
   read. */
static int ue_xfer_out(ue_xfer *t)
{
    uds_echo_client *c = t->client;
    uds_echo_io *io = t->io;
    if (ue_has_output(c, io)) {
        long n = ue_send(c->fd, (const char *)io->out + io->sent, io->out_size - io->sent);
        if (n < 0 && errno != EPIPE && errno != ECONNRESET) return 0;
        if (n < 0) c->send_failed = 1;
        else io->sent += (size_t)n;
    }
    return !t->until_eof || c->shutdown_sent || c->send_failed || io->sent < io->out_size ||
           !uds_echo_client_shutdown(c);
}

/* 0: the system failed. With the buffer full one more byte is asked for, to tell an end from an answer that goes on: by
   a call, whose answer is cut then, and by an exchange that cannot send, which leaves it where it is. */
static int ue_xfer_in(ue_xfer *t)
{
    uds_echo_client *c = t->client;
    uds_echo_io *io = t->io;
    char extra;
    int full = io->got == io->in_size;
    ssize_t n;
    if (c->input_ended || (full && !t->until_eof && t->can_out)) return 1;
    n = UDS_ECHO_SYS(recv)(c->fd, full ? &extra : (char *)io->in + io->got, full ? 1 : io->in_size - io->got,
                           full && !t->until_eof ? MSG_PEEK : 0);
    if (n < 0 && ue_is_transient(errno)) return 1;
    if (n < 0 && errno != ECONNRESET) return 0;
    if (n <= 0) c->input_ended = n == 0 ? 1 : 2;
    else if (full) t->overflow = 1;
    else io->got += (size_t)n;
    return 1;
}

/* 1: *verdict is final. */
static int ue_xfer_done(const ue_xfer *t, uds_echo_error *verdict)
{
    const uds_echo_client *c = t->client;
    int sent = t->io->sent == t->io->out_size, got = t->io->got == t->io->in_size;
    if (t->until_eof ? sent && c->input_ended == 1 : sent && got) *verdict = UDS_ECHO_OK;
    else if (t->overflow) *verdict = t->until_eof ? UDS_ECHO_ERR_TRUNCATED : UDS_ECHO_ERR_BUFFER_FULL;
    else if (c->input_ended == 2 || (c->send_failed && !c->input_ended && got && !t->until_eof))
        *verdict = UDS_ECHO_ERR_RESET;
    else if (c->input_ended && (sent || c->send_failed)) *verdict = UDS_ECHO_ERR_UNEXPECTED_EOF;
    else return 0;
    return 1;
}

/* Waits until there is something to do. 0: the system failed. */
static int ue_xfer_wait(ue_xfer *t, long long deadline)
{
    struct pollfd p;
    int count = 0, any = POLLHUP | POLLERR | POLLNVAL;
    int timeout_ms = deadline < UE_NONE && t->waited_out ? 0 : ue_remaining_ms_now(deadline);
    int is_over = timeout_ms == 0;
    long long until = ue_busy_poll_until(t->client->busy_poll_us, &timeout_ms);
    p.fd = t->client->fd;
    p.events = (short)uds_echo_client_events(t->client, t->io);
    while (until && (count = UDS_ECHO_SYS(poll)(&p, 1, 0)) == 0)
        if (!ue_busy_poll_goes_on(until, t->client->busy_poll_us)) until = 0;
    if (!count) count = UDS_ECHO_SYS(poll)(&p, 1, timeout_ms);
    if (count < 0 && errno != EINTR) return 0;
    t->waited_out = count == 0;
    if (is_over) t->looks = count ? t->looks - 1 : 0;
    t->can_out = count > 0 && p.revents & (POLLOUT | any);
    t->can_in = count > 0 && p.revents & (POLLIN | any);
    return 1;
}

/* Sends first and then waits, so that a question and its answer cost one send, one poll and one recv. */
static uds_echo_error ue_xfer_run(ue_xfer *t, int timeout_ms)
{
    long long deadline = ue_deadline(timeout_ms);
    uds_echo_error verdict = UDS_ECHO_OK;
    t->can_out = t->until_eof || ue_has_output(t->client, t->io);
    t->can_in = !t->can_out;
    for (;;) {
        if ((t->can_out && !ue_xfer_out(t)) || (t->can_in && !ue_xfer_in(t))) break;
        if (ue_xfer_done(t, &verdict)) return verdict;
        if (!t->looks) return UDS_ECHO_ERR_TIMEOUT;
        if (!ue_xfer_wait(t, deadline)) break;
    }
    t->os_error = errno;
    return ue_conn_error(errno);
}

UDS_ECHO_API uds_echo_error uds_echo_client_exchange(uds_echo_client *client, uds_echo_io *io, int timeout_ms)
{
    ue_xfer t;
    if (!client || !client->is_open || !io || timeout_ms < -1) return UDS_ECHO_ERR_INVALID;
    if (io->sent > io->out_size || io->got > io->in_size) return UDS_ECHO_ERR_INVALID;
    if ((!io->out && io->out_size) || (!io->in && io->in_size)) return UDS_ECHO_ERR_INVALID;
    if (client->shutdown_sent && io->sent < io->out_size) return UDS_ECHO_ERR_INVALID;
    memset(&t, 0, sizeof t);
    t.client = client;
    t.io = io;
    t.looks = timeout_ms ? UE_READS : 1;
    return ue_xfer_run(&t, timeout_ms);
}

UDS_ECHO_API uds_echo_error uds_echo_client_shutdown(uds_echo_client *client)
{
    if (!client || !client->is_open) return UDS_ECHO_ERR_INVALID;
    if (client->shutdown_sent) return UDS_ECHO_OK;
    if (UDS_ECHO_SYS(shutdown)(client->fd, SHUT_WR)) return ue_conn_error(errno);
    client->shutdown_sent = 1;
    return UDS_ECHO_OK;
}

UDS_ECHO_API int uds_echo_client_fd(const uds_echo_client *client)
{
    return client && client->is_open ? client->fd : -1;
}

UDS_ECHO_API int uds_echo_client_events(const uds_echo_client *client, const uds_echo_io *io)
{
    if (!client || !client->is_open || !io) return 0;
    return (client->input_ended ? 0 : POLLIN) | (ue_has_output(client, io) ? POLLOUT : 0);
}

UDS_ECHO_API void uds_echo_client_close(uds_echo_client *client)
{
    if (!client || !client->is_open) return;
    client->is_open = 0;
    ue_close(&client->fd);
}

UDS_ECHO_API uds_echo_error uds_echo_call(const char *path, const void *msg, size_t size, void *reply, size_t capacity,
                                          size_t *got, int timeout_ms, uds_echo_failure *failure)
{
    long long deadline = ue_deadline(timeout_ms);
    uds_echo_client_desc desc;
    uds_echo_client client;
    uds_echo_error error;
    uds_echo_io io;
    ue_xfer t;
    ue_fail(failure, UDS_ECHO_OK, 0, "");
    if (got) *got = 0;
    if (!msg && size) return ue_fail(failure, UDS_ECHO_ERR_INVALID, 0, "msg");
    if (!reply && capacity) return ue_fail(failure, UDS_ECHO_ERR_INVALID, 0, "reply");
    if (timeout_ms < -1) return ue_fail(failure, UDS_ECHO_ERR_INVALID, 0, "timeout_ms");
    memset(&desc, 0, sizeof desc);
    memset(&client, 0, sizeof client);
    memset(&io, 0, sizeof io);
    memset(&t, 0, sizeof t);
    desc.path = path;
    error = ue_client_connect(&client, &desc, "path", deadline, failure);
    if (error) return error;
    io.out = msg;
    io.out_size = size;
    io.in = reply;
    io.in_size = capacity;
    t.client = &client;
    t.io = &io;
    t.until_eof = 1;
    t.looks = timeout_ms ? UE_READS : 1;
    error = ue_xfer_run(&t, ue_remaining_ms_now(deadline));
    if (error) ue_fail(failure, error, t.os_error, "exchange");
    if (got) *got = io.got;
    uds_echo_client_close(&client);
    return error;
}

#undef UE_COLD
#undef UE_EPOLLEXCLUSIVE
#undef UE_ERRNOS
#undef UE_F_DUPFD_CLOEXEC
#undef UE_HOT
#undef UE_NAME_SIZE
#undef UE_O_PATH
#undef UE_POLLRDHUP
#undef UE_RENAME_EXCHANGE
#undef UE_RENAME_NOREPLACE
#undef UE_RETRY
#undef UE_SO_PASSRIGHTS
#endif /* UDS_ECHO_IMPLEMENTED */
#endif /* UDS_ECHO_IMPLEMENTATION */

// >>licence
/* SPDX-License-Identifier: Unlicense OR MIT

   This software is available under two licences; choose the one that you prefer.

   A. Public domain (www.unlicense.org)

   This is free and unencumbered software released into the public domain. Anyone is free to copy, modify, publish,
   use, compile, sell, or distribute this software, either in source code form or as a compiled binary, for any
   purpose, commercial or non-commercial, and by any means.

   In jurisdictions that recognize copyright laws, the author or authors of this software dedicate any and all
   copyright interest in the software to the public domain. We make this dedication for the benefit of the public at
   large and to the detriment of our heirs and successors. We intend this dedication to be an overt act of
   relinquishment in perpetuity of all present and future rights to this software under copyright law.

   THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO
   THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
   AUTHORS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE,
   ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.

   B. MIT License, Copyright (c) 2026 the uds_echo.h authors

   Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
   documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
   rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to
   permit persons to whom the Software is furnished to do so, subject to the following conditions:

   The above copyright notice and this permission notice shall be included in all copies or substantial portions of
   the Software.

   THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO
   THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
   AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT,
   TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
   SOFTWARE. */
