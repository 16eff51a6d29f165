/* fuzz_address.c - from a path to an address, and from bytes to text that is safe to show.

   Input: two bytes: the length that the last component is stretched to (so that 107, 108 and 109 bytes are found at
   once) and what to do; then the path, or the bytes. */
#include "fuzz.h"

enum { CONFIG = 2, PATH_MAX_HERE = 600 };

/* A path in memory that is exactly as long: one byte too far is seen. */
static char *path_of_input(const uint8_t *bytes, size_t size, size_t stretch)
{
    char *path = (char *)malloc(size + stretch + 1);
    if (!path) abort();
    memcpy(path, bytes, size);
    memset(path + size, 'x', stretch);
    path[size + stretch] = '\0';
    return path;
}

static void check_address(const char *path)
{
    struct sockaddr_un un;
    socklen_t size = 0;
    ue_path place;
    const char *suffixes[] = {"", "~0"};
    const size_t whole = strlen(path);
    static const int dirs[] = {-1, 0, 9, 10, 6789};
    int d, i, fits;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    uds_echo_error error = ue_path_split(&place, path, "path", NULL);
    CHECK((error == UDS_ECHO_OK) == !!*name, "a path without a name");
    if (error) return;
    for (d = 0; d < 5; d++) {
        const int dir = dirs[d];
        place.dirfd = dir;
        for (i = 0; i < 2; i++) {
            char by_folder[PATH_MAX_HERE];
            const size_t n =
                (size_t)snprintf(by_folder, sizeof by_folder, "/proc/self/fd/%d/%s%s", dir, name, suffixes[i]);
            const int direct = whole + strlen(suffixes[i]) < sizeof un.sun_path;
            memset(&un, 0xee, sizeof un);
            fits = ue_address(&un, &size, &place, suffixes[i]);
            CHECK(fits == (direct || (dir >= 0 && n < sizeof un.sun_path)), "what fits");
            if (!fits) continue;
            CHECK(memchr(un.sun_path, 0, sizeof un.sun_path) != NULL, "an address without its NUL");
            CHECK(size == offsetof(struct sockaddr_un, sun_path) + strlen(un.sun_path) + 1, "the size of the address");
            CHECK(un.sun_family == AF_UNIX, "the family");
            if (direct)
                CHECK(!strncmp(un.sun_path, path, whole) && !strcmp(un.sun_path + whole, suffixes[i]), "the path");
            else CHECK(!strcmp(un.sun_path, by_folder), "the path by way of its folder");
        }
    }
}

/* The folders that a path needs are made, as far as the fake can. */
static void make_folders(const char *path)
{
    char folder[PATH_MAX_HERE];
    size_t i;
    int made = 0;
    for (i = 1; *path && path[i] && made < 12 && i < sizeof folder; i++) {
        if (path[i] != '/' || path[i - 1] == '/') continue;
        memcpy(folder, path, i);
        folder[i] = '\0';
        if (strstr(folder, "..") || strstr(folder, "/proc") ||
            strcspn(strrchr(folder, '/') ? strrchr(folder, '/') + 1 : folder, "/") > 250)
            return;
        if (!fake_exists(folder)) fake_put_dir(folder), made++;
    }
}

/* Nobody is told that it died: the stale socket is replaced by the next start, whatever the path. */
static void check_restart(const uds_echo_server_desc *desc)
{
    uds_echo_server *server;
    CHECK(uds_echo_server_open(&server, desc, NULL) == UDS_ECHO_OK, "served once, and not again");
    fake_crash();
    CHECK(uds_echo_server_open(&server, desc, NULL) == UDS_ECHO_OK, "served, and not over what a crash left");
    CHECK(uds_echo_server_close(server) == UDS_ECHO_OK, "close");
}

static void check_server(const char *path, uds_echo_publish_mode publish)
{
    uds_echo_server_desc desc;
    uds_echo_client_desc reach;
    uds_echo_client client;
    uds_echo_server *server;
    uds_echo_failure why, why_not;
    memset(&desc, 0, sizeof desc);
    memset(&reach, 0, sizeof reach);
    desc.path = reach.path = path;
    desc.publish = publish;
    desc.message_max = 8;
    desc.connections_max = 1;
    reach.timeout_ms = 1;
    if (uds_echo_server_open(&server, &desc, &why)) {
        CHECK(why.error == UDS_ECHO_ERR_BAD_PATH || why.error == UDS_ECHO_ERR_NOT_FOUND ||
                  why.error == UDS_ECHO_ERR_NOT_SOCKET || why.error == UDS_ECHO_ERR_SYSTEM ||
                  why.error == UDS_ECHO_ERR_DENIED,
              "an error that no path explains");
        CHECK(!server, "a server that could not start");
    } else {
        CHECK(uds_echo_client_open(&client, &reach, &why_not) == UDS_ECHO_OK, "served where no client gets to");
        uds_echo_client_close(&client);
        CHECK(uds_echo_server_close(server) == UDS_ECHO_OK, "close");
        check_restart(&desc);
        CHECK(!*fake_left_behind(0), "something is left behind");
    }
    CHECK(uds_echo_client_open(&client, &reach, &why_not) != UDS_ECHO_OK, "nobody serves there");
}

/* How long what begins here is: a character, or an escape. */
static size_t unit_at(const unsigned char *t)
{
    if (*t == '\\') return t[1] == 'x' ? 4 : 2;
    return *t < 0x80 ? 1 : *t < 0xe0 ? 2 : *t < 0xf0 ? 3 : 4;
}

/* Printable ASCII, escapes that are whole, or well-formed UTF-8 of two to four bytes: nothing that controls how the
   rest of the line is shown, whatever the bytes were. */
static void check_safe(const char *text)
{
    const unsigned char *t = (const unsigned char *)text;
    while (*t) {
        size_t n = unit_at(t), i;
        unsigned long code = *t < 0x80 ? *t : *t & (0xffu >> (n + 1));
        CHECK(*t >= 32 && *t != 127 && (*t < 0x80 || *t >= 0xc2) && *t < 0xf5, "a byte that is not safe to show");
        for (i = 1; i < n; i++) {
            CHECK((*t == '\\') == (t[i] < 0x80) && t[i] > 32, "a character or an escape that is not whole");
            CHECK(*t == '\\' || (t[i] & 0xc0) == 0x80, "UTF-8 that is not well formed");
            code = code << 6 | (t[i] & 0x3f);
        }
        CHECK(*t < 0x80 || code >= 0xa0, "a C1 control character");
        CHECK(*t < 0x80 || code < 0x2028 || code > 0x2069 || (code > 0x202e && code < 0x2066),
              "text that is rearranged");
        t += n;
    }
}

/* Cut anywhere, text is the beginning of the whole, ended by NUL behind as many whole characters as there is
   room for. */
static void check_cut(const char *whole, size_t length, const char *cut, size_t returned, size_t room)
{
    size_t fits = 0;
    CHECK(returned == length, "another length where it is cut");
    if (!room) return;
    while (whole[fits] && fits + unit_at((const unsigned char *)whole + fits) < room)
        fits += unit_at((const unsigned char *)whole + fits);
    CHECK(strlen(cut) == fits && !memcmp(whole, cut, fits), "not the beginning of it");
}

static void check_text(const uint8_t *bytes, size_t size, size_t room, uds_echo_error error)
{
    static char whole[4 * PATH_MAX_HERE + 512];
    char *cut = (char *)malloc(room + !room), *path = path_of_input(bytes, size, 0);
    uds_echo_failure failure;
    size_t length = uds_echo_escape(bytes, size, whole, sizeof whole);
    if (!cut) abort();
    CHECK(length == strlen(whole) && length >= size / 4, "the length of an escaped text");
    check_safe(whole);
    check_cut(whole, length, cut, uds_echo_escape(bytes, size, cut, room), room);
    memset(&failure, 0, sizeof failure);
    failure.error = error;
    failure.os_error = (int)room;
    failure.pid = failure.uid = (long)size - 3;
    failure.call = "call";
    length = uds_echo_explain(&failure, path, whole, sizeof whole);
    CHECK(length == strlen(whole), "the length of an explanation");
    check_safe(whole);
    check_cut(whole, length, cut, uds_echo_explain(&failure, path, cut, room), room);
    CHECK(uds_echo_explain(NULL, NULL, NULL, 0) == strlen(uds_echo_strerror(UDS_ECHO_OK)), "no failure is success");
    free(cut);
    free(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t among_controls[] = {0xe2, 0x80, 0}; /* U+2000 to U+207F: few inputs would get there */
    char *path;
    if (size < CONFIG || size - CONFIG > PATH_MAX_HERE - 300) return 0;
    among_controls[1] = (uint8_t)(among_controls[1] | (data[0] & 1));
    among_controls[2] = data[1];
    fuzz_begin();
    path = path_of_input(data + CONFIG, size - CONFIG, data[0]);
    check_address(path);
    if (data[1] & 1) make_folders(path);
    if (data[1] & 2) check_server(path, data[1] & 4 ? UDS_ECHO_PUBLISH_DIRECT : UDS_ECHO_PUBLISH_ATOMIC);
    check_text(data + CONFIG, size - CONFIG, data[0], (uds_echo_error)(data[1] >> 2));
    check_text(among_controls, sizeof among_controls, data[0], UDS_ECHO_OK);
    free(path);
    fuzz_finish();
    return 0;
}
