// The nth call to the system that touches a file below a directory fails, or ends the process: preloaded into Python, it
// stands between libc and whoever calls it, be it Python, torch or safetensors' Rust.
//
// `failing_calls_arm(directory, n, error)` sets errno once, or kills where error is 0; n 0 does nothing.
// `failing_calls_seen()` says how many calls there were.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char within[PATH_MAX];
static size_t length;
static int at, seen, error;

void failing_calls_arm(const char *directory, int n, int with) {
  snprintf(within, sizeof within, "%s", directory);
  length = strlen(within);
  at = n, seen = 0, error = with;
}

int failing_calls_seen(void) { return seen; }

static int strikes(const char *path) {
  if (!length || strncmp(path, within, length)) return 0;
  if (++seen != at) return 0;
  if (!error) kill(getpid(), SIGKILL);
  errno = error;
  return 1;
}

static int strikes_open(int descriptor) {
  if (!length) return 0;
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t size = readlink(link, path, sizeof path - 1);
  if (size < 0) return 0;
  path[size] = 0;
  return strikes(path);
}

static int strikes_at(int directory, const char *path) {
  if (path[0] == '/' || directory == AT_FDCWD) return strikes(path);
  return strikes_open(directory);
}

#define REAL(result, name, ...) \
  static result (*real)(__VA_ARGS__); \
  if (!real) real = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    REAL(int, name, const char *, int, ...); \
    va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
    return strikes(path) ? -1 : real(path, flags, mode); \
  }
#define OPENAT(name) \
  int name(int directory, const char *path, int flags, ...) { \
    REAL(int, name, int, const char *, int, ...); \
    va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
    return strikes_at(directory, path) ? -1 : real(directory, path, flags, mode); \
  }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

#define OF_DESCRIPTOR(result, name, parameters, types, values) \
  result name parameters { \
    static result (*real) types; \
    if (!real) real = (result(*) types)dlsym(RTLD_NEXT, #name); \
    return strikes_open(descriptor) ? -1 : real values; \
  }
OF_DESCRIPTOR(ssize_t, read, (int descriptor, void *to, size_t n), (int, void *, size_t), (descriptor, to, n))
OF_DESCRIPTOR(ssize_t, pread64, (int descriptor, void *to, size_t n, off64_t from), (int, void *, size_t, off64_t), (descriptor, to, n, from))
OF_DESCRIPTOR(ssize_t, write, (int descriptor, const void *of, size_t n), (int, const void *, size_t), (descriptor, of, n))
OF_DESCRIPTOR(ssize_t, pwrite64, (int descriptor, const void *of, size_t n, off64_t to), (int, const void *, size_t, off64_t), (descriptor, of, n, to))
OF_DESCRIPTOR(ssize_t, writev, (int descriptor, const struct iovec *of, int n), (int, const struct iovec *, int), (descriptor, of, n))
OF_DESCRIPTOR(int, fsync, (int descriptor), (int), (descriptor))
OF_DESCRIPTOR(int, fdatasync, (int descriptor), (int), (descriptor))
OF_DESCRIPTOR(int, ftruncate64, (int descriptor, off64_t n), (int, off64_t), (descriptor, n))

#define OF_PATH(name, parameters, types, values) \
  int name parameters { \
    static int (*real) types; \
    if (!real) real = (int(*) types)dlsym(RTLD_NEXT, #name); \
    return strikes(path) ? -1 : real values; \
  }
OF_PATH(mkdir, (const char *path, mode_t mode), (const char *, mode_t), (path, mode))
OF_PATH(rmdir, (const char *path), (const char *), (path))
OF_PATH(unlink, (const char *path), (const char *), (path))
OF_PATH(rename, (const char *path, const char *to), (const char *, const char *), (path, to))

int unlinkat(int directory, const char *path, int flags) {
  REAL(int, unlinkat, int, const char *, int);
  return strikes_at(directory, path) ? -1 : real(directory, path, flags);
}
