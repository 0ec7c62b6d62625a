/* Takes the place of some calls of the C library in one node, so that a test can make its disk hang and its
   clock wrong. Loaded with LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* While the file that this variable names exists, no sync returns. */
static void wait_for_disk(void) {
    const char *hangs = getenv("INTERPOSER_DISK_HANGS");
    while (hangs && access(hangs, F_OK) == 0)
        usleep(10000);
}

int fdatasync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    wait_for_disk();
    return real(fd);
}

int fsync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    wait_for_disk();
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
