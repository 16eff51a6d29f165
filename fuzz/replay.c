/* replay.c - runs a fuzz target on files and folders of inputs, under any compiler: replay FILE|FOLDER ... */
#define _GNU_SOURCE 1
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long inputs;

static int replay(const char *path)
{
    static uint8_t bytes[1 << 20];
    char inside[4096];
    struct dirent *entry;
    DIR *folder = opendir(path);
    FILE *file;
    size_t size;
    int failed = 0;
    if (folder) {
        while ((entry = readdir(folder)) != NULL) {
            if (entry->d_name[0] == '.') continue;
            (void)snprintf(inside, sizeof inside, "%s/%s", path, entry->d_name);
            failed |= replay(inside);
        }
        (void)closedir(folder);
        return failed;
    }
    file = fopen(path, "rb");
    if (!file) return perror(path), 1;
    size = fread(bytes, 1, sizeof bytes, file);
    (void)fclose(file);
    (void)LLVMFuzzerTestOneInput(bytes, size); /* it aborts where something is wrong */
    inputs++;
    return 0;
}

int main(int argc, char **argv)
{
    int i, failed = 0;
    for (i = 1; i < argc; i++) failed |= replay(argv[i]);
    (void)printf("# %lu inputs replayed\n", inputs);
    return failed || !inputs;
}
