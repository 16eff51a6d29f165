/* hex.c - the committed fuzz inputs, between the form that is read and the form that engines take.

       hex unpack DIRECTORY FILE...    writes each input of the files into DIRECTORY, a file each
       hex pack PATH...                prints the inputs in these files and directories

   A line of a .hex file is one input: its bytes in hex ("-": none), then its name where it has one. Lines are sorted and
   different. unpack refuses a file that is not so, since such a file was edited by hand and has not what it seems to
   have. An input without a name is named after its bytes (FNV-1a, 64 bits), as engines name theirs after a hash. pack
   leaves such names, and those of libFuzzer and AFL++, out. */
#define _GNU_SOURCE 1
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { INPUT_MAX = 65536, LINE_MAX_BYTES = 2 * INPUT_MAX + 300, LINES_MAX = 100000 };

static char *lines[LINES_MAX];
static size_t count;

static int fail(const char *what, const char *where)
{
    (void)fprintf(stderr, "hex: %s: %s\n", where, what);
    return 1;
}

static int digit(char c)
{
    const char *all = "0123456789abcdef", *found = c ? strchr(all, c) : NULL;
    return found ? (int)(found - all) : -1;
}

static void name_of_bytes(char name[17], const unsigned char *bytes, size_t size)
{
    unsigned long long hash = 14695981039346656037ull;
    size_t i;
    for (i = 0; i < size; i++) hash = (hash ^ bytes[i]) * 1099511628211ull;
    (void)snprintf(name, 17, "%016llx", hash);
}

/* 1: the line is no input. */
static int unpack_line(const char *directory, const char *line)
{
    static unsigned char bytes[INPUT_MAX];
    char path[4096], hash[17];
    const char *name = strchr(line, ' ');
    size_t digits = name ? (size_t)(name - line) : strlen(line), size = 0;
    FILE *file;
    int failed;
    if (digits == 1 && line[0] == '-') digits = 0;
    else if (digits == 0 || digits % 2 || digits / 2 > sizeof bytes) return 1;
    for (; size < digits / 2; size++) {
        int high = digit(line[2 * size]), low = digit(line[2 * size + 1]);
        if (high < 0 || low < 0) return 1;
        bytes[size] = (unsigned char)(high << 4 | low);
    }
    name_of_bytes(hash, bytes, size);
    if (name && (!name[1] || strpbrk(name + 1, "/ "))) return 1;
    if (snprintf(path, sizeof path, "%s/%s", directory, name ? name + 1 : hash) >= (int)sizeof path) return 1;
    file = fopen(path, "wbx");
    if (!file) return 1;
    failed = fwrite(bytes, 1, size, file) != size;
    return fclose(file) || failed;
}

static int unpack(const char *directory, const char *from)
{
    static char line[LINE_MAX_BYTES], before[LINE_MAX_BYTES];
    FILE *file = fopen(from, "r");
    int failed = 0;
    if (!file) return fail("cannot be read", from);
    before[0] = '\0';
    while (!failed && fgets(line, sizeof line, file)) {
        size_t length = strlen(line);
        if (length == 0 || line[length - 1] != '\n') failed = fail("a line without an end, or too long", from);
        else line[length - 1] = '\0';
        if (!failed && strcmp(before, line) >= 0) failed = fail("lines are not sorted, or are there twice", from);
        if (!failed && unpack_line(directory, line)) failed = fail("not an input, or written already", line);
        memcpy(before, line, sizeof line);
    }
    return fclose(file) || failed;
}

/* A name that a person gave. */
static const char *given_name(const char *path)
{
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    size_t length = strlen(name);
    if ((length == 16 || length == 40) && strspn(name, "0123456789abcdef") == length) return "";
    return strncmp(name, "id:", 3) && !strpbrk(name, " \n") ? name : "";
}

static int pack_file(const char *path)
{
    static unsigned char bytes[INPUT_MAX + 1];
    const char *name = given_name(path);
    FILE *file = fopen(path, "rb");
    size_t size, i;
    char *line;
    if (!file) return fail("cannot be read", path);
    size = fread(bytes, 1, sizeof bytes, file);
    (void)fclose(file);
    if (size > INPUT_MAX) return fail("too long", path);
    line = (char *)malloc(2 * size + strlen(name) + 3);
    if (!line || count == LINES_MAX) return fail("too many", path);
    for (i = 0; i < size; i++) (void)sprintf(line + 2 * i, "%02x", bytes[i]);
    (void)sprintf(line + 2 * size, "%s%s%s", size ? "" : "-", *name ? " " : "", name);
    lines[count++] = line;
    return 0;
}

static int pack(const char *path)
{
    struct dirent *entry;
    char inside[4096];
    int failed = 0;
    DIR *directory = opendir(path);
    if (!directory) return pack_file(path);
    while (!failed && (entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] == '.') continue;
        (void)snprintf(inside, sizeof inside, "%s/%s", path, entry->d_name);
        failed = pack_file(inside);
    }
    return closedir(directory) || failed;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int main(int argc, char **argv)
{
    size_t n;
    int i, failed = 0;
    if (argc >= 4 && !strcmp(argv[1], "unpack")) {
        (void)mkdir(argv[2], 0777);
        for (i = 3; i < argc; i++) failed |= unpack(argv[2], argv[i]);
        return failed;
    }
    if (argc < 3 || strcmp(argv[1], "pack") != 0)
        return fputs("usage: hex unpack DIRECTORY FILE... | hex pack PATH...\n", stderr), 2;
    for (i = 2; i < argc; i++) failed |= pack(argv[i]);
    qsort(lines, count, sizeof lines[0], by_text);
    for (n = 0; n < count; n++)
        if (n == 0 || strcmp(lines[n - 1], lines[n])) (void)puts(lines[n]);
    while (count > 0) free(lines[--count]);
    return failed;
}
