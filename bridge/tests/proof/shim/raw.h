/* The system's calls without the C library, whose names are the shim's own here. */
#ifndef RAW_H
#define RAW_H

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

static inline int raw_open(const char *path, int flags, mode_t mode) {
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
static inline int raw_close(int fd) { return (int)syscall(SYS_close, fd); }
static inline ssize_t raw_pread(int fd, void *to, size_t length, off_t offset) {
    return syscall(SYS_pread64, fd, to, length, offset);
}
static inline ssize_t raw_pwrite(int fd, const void *from, size_t length, off_t offset) {
    return syscall(SYS_pwrite64, fd, from, length, offset);
}
static inline int raw_ftruncate(int fd, off_t length) { return (int)syscall(SYS_ftruncate, fd, length); }
static inline int raw_rename(const char *path, const char *to) {
    return (int)syscall(SYS_renameat2, AT_FDCWD, path, AT_FDCWD, to, 0);
}
static inline int raw_link(const char *path, const char *to) {
    return (int)syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, to, 0);
}
static inline int raw_unlink(const char *path) { return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0); }
static inline int raw_mkdir(const char *path, mode_t mode) {
    return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}
static inline int raw_rmdir(const char *path) {
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
}

#endif
