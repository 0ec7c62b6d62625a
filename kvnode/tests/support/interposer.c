/* Takes the place of some calls of the C library in one node, so that a test can make its disk hang or slow and
   its clock wrong. Loaded with LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int exists(const char *variable) {
    const char *path = getenv(variable);
    return path && access(path, F_OK) == 0;
}

/* While the file that the first variable names exists, no sync returns; with the second, none of a directory.
   With the third, each sync takes so many milliseconds. */
static void wait_for_disk(int fd) {
    struct stat what;
    const char *takes = getenv("INTERPOSER_SYNC_TAKES_MS");
    if (takes)
        usleep(1000 * atoi(takes));
    int is_directory = fstat(fd, &what) == 0 && S_ISDIR(what.st_mode);
    while (exists("INTERPOSER_DISK_HANGS") || (is_directory && exists("INTERPOSER_DIRECTORIES_HANG")))
        usleep(10000);
}

int fdatasync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    wait_for_disk(fd);
    return real(fd);
}

int fsync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    wait_for_disk(fd);
    return real(fd);
}

/* With this variable, it is a day in 1969. */
int clock_gettime(clockid_t clock, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int answer = real(clock, time);
    if (clock == CLOCK_REALTIME && getenv("INTERPOSER_BEFORE_1970"))
        time->tv_sec = time->tv_sec % 86400 - 30 * 86400;
    return answer;
}
