/* Loaded into a server by LD_PRELOAD. It notes each completed fsync, and shifts the wall clock.

   DRILL_SYNCED: a file; each completed fsync or fdatasync adds a line "<bytes> <path>", where
   <bytes> is the size that the file had before the call, so that all of them are on the disk.
   DRILL_SHIFT: a file of 8 bytes, the milliseconds by which the wall clock is wrong. It is mapped,
   so whoever writes to it shifts the clock at once. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int synced = -1;
static volatile int64_t no_shift = 0;
static volatile int64_t *shift = &no_shift;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("DRILL_SYNCED");
  if (path != NULL) synced = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  path = getenv("DRILL_SHIFT");
  if (path == NULL) return;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  void *found = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
  if (found != MAP_FAILED) shift = found;
  close(fd);
}

static int sync_and_note(int fd, long number) {
  struct stat before;
  int known = synced >= 0 && fstat(fd, &before) == 0 && S_ISREG(before.st_mode);
  int result = (int)syscall(number, fd);
  if (result == 0 && known) {
    char link[64], path[4096], line[4200];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length > 0) {
      path[length] = 0;
      int size = snprintf(line, sizeof line, "%lld %s\n", (long long)before.st_size, path);
      if (write(synced, line, (size_t)size) != size) abort();
    }
  }
  return result;
}

int fsync(int fd) { return sync_and_note(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_and_note(fd, SYS_fdatasync); }

static int is_wall(clockid_t clock) { return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE; }

int clock_gettime(clockid_t clock, struct timespec *now) {
  int result = (int)syscall(SYS_clock_gettime, clock, now);
  if (result == 0 && is_wall(clock)) {
    int64_t ms = *shift;
    now->tv_sec += ms / 1000;
    now->tv_nsec += (ms % 1000) * 1000000;
    if (now->tv_nsec >= 1000000000) { now->tv_nsec -= 1000000000; now->tv_sec++; }
    if (now->tv_nsec < 0) { now->tv_nsec += 1000000000; now->tv_sec--; }
  }
  return result;
}

int gettimeofday(struct timeval *now, void *zone) {
  struct timespec exact;
  (void)zone;
  if (clock_gettime(CLOCK_REALTIME, &exact) != 0) return -1;
  now->tv_sec = exact.tv_sec;
  now->tv_usec = exact.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *out) {
  struct timespec exact;
  clock_gettime(CLOCK_REALTIME, &exact);
  if (out != NULL) *out = exact.tv_sec;
  return exact.tv_sec;
}
