/* The calls on open files: writing, lengths, flushing. */
#define _GNU_SOURCE
#include "calls.h"
#include "journal.h"
#include "raw.h"
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>

/* Writes at an offset, or where the file stands if that is negative. */
static ssize_t journaled_write(struct node *node, int fd, const void *data, size_t bytes, off_t offset) {
    calls_lock();
    bool halved = false;
    if (!node->is_diary && bytes > 1) {
        if (fault_hits(FAULT_SHORT, node->class)) {
            bytes = 1 + (size_t)(any() % (bytes - 1));
        } else if (fault_hits(FAULT_WRITE, node->class)) {
            if (control->faults > 1) {
                calls_unlock();
                return -1;
            }
            bytes /= 2;
            halved = true;
        }
    }
    long flags = syscall(SYS_fcntl, fd, F_GETFL);
    off_t at = offset;
    if (flags & O_APPEND) at = node->length;
    else if (offset < 0) at = (off_t)syscall(SYS_lseek, fd, 0, SEEK_CUR);
    struct change *change = write_begins(node, fd, at, bytes);
    ssize_t written = offset < 0 ? syscall(SYS_write, fd, data, bytes) : raw_pwrite(fd, data, bytes, offset);
    int why = errno;
    if (written > 0) {
        write_done(node, change, data, (size_t)written);
        if (!node->is_diary) {
            if (!halved) went_well(node->class);
            point("a write", node->class);
        }
    } else {
        write_failed(change);
    }
    calls_unlock();
    errno = why;
    return written;
}

static ssize_t journaled_writev(struct node *node, int fd, const struct iovec *parts, int count, off_t offset) {
    size_t bytes = 0;
    for (int i = 0; i < count; i++) bytes += parts[i].iov_len;
    char *all = malloc(bytes ? bytes : 1), *to = all;
    if (!all) fail("there is no memory for a write", node->path);
    for (int i = 0; i < count; i++) to = mempcpy(to, parts[i].iov_base, parts[i].iov_len);
    ssize_t written = journaled_write(node, fd, all, bytes, offset);
    free(all);
    return written;
}

ssize_t write(int fd, const void *data, size_t bytes) {
    struct node *node = node_at(fd);
    return node ? journaled_write(node, fd, data, bytes, -1) : syscall(SYS_write, fd, data, bytes);
}

ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t offset) {
    struct node *node = node_at(fd);
    return node ? journaled_write(node, fd, data, bytes, offset) : raw_pwrite(fd, data, bytes, offset);
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset) { return pwrite64(fd, data, bytes, offset); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
    struct node *node = node_at(fd);
    return node ? journaled_writev(node, fd, parts, count, -1) : syscall(SYS_writev, fd, parts, count);
}

ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off64_t offset, int flags) {
    struct node *node = node_at(fd);
    if (node && flags) fail("pwritev2 with flags", node->path);
    if (node) return journaled_writev(node, fd, parts, count, offset);
    /* The offset is one register here, and the other one counts nothing. */
    return syscall(SYS_pwritev2, fd, parts, count, offset, 0, flags);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    return pwritev64v2(fd, parts, count, offset, 0);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    return pwritev64v2(fd, parts, count, offset, 0);
}

ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags) {
    return pwritev64v2(fd, parts, count, offset, flags);
}

int ftruncate64(int fd, off64_t length) {
    struct node *node = node_at(fd);
    if (!node) return raw_ftruncate(fd, length);
    calls_lock();
    int failed = set_length(node, fd, length), why = errno;
    if (!failed && !node->is_diary) point("ftruncate", node->class);
    calls_unlock();
    errno = why;
    return failed;
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

int fallocate64(int fd, int mode, off64_t offset, off64_t bytes) {
    struct node *node = node_at(fd);
    if (!node) return (int)syscall(SYS_fallocate, fd, mode, offset, bytes);
    calls_lock();
    if (mode & FALLOC_FL_PUNCH_HOLE ? offset < node->length : mode & ~FALLOC_FL_KEEP_SIZE)
        fail("fallocate that changes bytes", node->path);
    int failed = -1, why;
    if (!fault_hits(FAULT_MAKE, node->class)) failed = (int)syscall(SYS_fallocate, fd, mode, offset, bytes);
    why = errno;
    /* Space that lies behind the end can be seen by nobody. */
    if (!failed && !(mode & FALLOC_FL_KEEP_SIZE)) {
        grown(node, fd, offset + bytes);
        point("fallocate", node->class);
    }
    calls_unlock();
    errno = why;
    return failed;
}

int fallocate(int fd, int mode, off_t offset, off_t bytes) { return fallocate64(fd, mode, offset, bytes); }

int posix_fallocate64(int fd, off64_t offset, off64_t bytes) { return fallocate64(fd, 0, offset, bytes) ? errno : 0; }

int posix_fallocate(int fd, off_t offset, off_t bytes) { return posix_fallocate64(fd, offset, bytes); }

/* So many microseconds pass before one that waits looks whether the power is to be cut. */
#define SLICE 5000

/* Lets time pass, and others do what they do meanwhile. */
static void take_time(const struct node *node, const char *call) {
    uint64_t micros = control->flush_micros ? any() % control->flush_micros : 0;
    if (fault_hits(FAULT_SLOW, node->class)) micros += control->fault_millis * 1000;
    while (micros) {
        uint64_t slice = micros < SLICE ? micros : SLICE;
        calls_unlock();
        nanosleep(&(struct timespec){.tv_nsec = (long)slice * 1000}, NULL);
        calls_lock();
        cut_if_due(call);
        micros -= slice;
    }
}

static int journaled_flush(struct node *node, const char *call) {
    calls_lock();
    point(call, node->class);
    if (fault_hits(node->is_folder ? FAULT_FLUSH_FOLDER : FAULT_FLUSH, node->class)) {
        int why = errno;
        file_given_up(node);
        calls_unlock();
        errno = why;
        return -1;
    }
    uint64_t upto = last_order();
    take_time(node, call);
    if (!fault_hits(FAULT_LIE, node->class)) {
        if (node->is_folder) folder_flushed(node, upto);
        else file_flushed(node, upto);
    }
    went_well(node->class);
    point(call, node->class);
    calls_unlock();
    return 0;
}

int fsync(int fd) {
    struct node *node = node_at(fd);
    return node ? journaled_flush(node, "fsync") : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
    struct node *node = node_at(fd);
    return node ? journaled_flush(node, "fdatasync") : (int)syscall(SYS_fdatasync, fd);
}

/* It promises nothing, so it does nothing. */
int sync_file_range(int fd, off64_t offset, off64_t bytes, unsigned int flags) {
    return node_at(fd) ? 0 : (int)syscall(SYS_sync_file_range, fd, offset, bytes, flags);
}

int close(int fd) {
    if (node_at(fd)) set_node(fd, NULL);
    return raw_close(fd);
}

static int with_node_of(int fd, int copy) {
    if (copy >= 0 && control) set_node(copy, node_at(fd));
    return copy;
}

int dup(int fd) { return with_node_of(fd, (int)syscall(SYS_dup, fd)); }
int dup3(int fd, int copy, int flags) { return with_node_of(fd, (int)syscall(SYS_dup3, fd, copy, flags)); }
int dup2(int fd, int copy) { return fd == copy ? fd : dup3(fd, copy, 0); }

int fcntl64(int fd, int what, ...) {
    va_list arguments;
    va_start(arguments, what);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    int answer = (int)syscall(SYS_fcntl, fd, what, argument);
    return what == F_DUPFD || what == F_DUPFD_CLOEXEC ? with_node_of(fd, answer) : answer;
}

int fcntl(int fd, int what, ...) {
    va_list arguments;
    va_start(arguments, what);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    return fcntl64(fd, what, argument);
}

static void refuse(int fd, const char *what) {
    struct node *node = node_at(fd);
    if (node) fail(what, node->path);
}

void *mmap64(void *at, size_t bytes, int protection, int flags, int fd, off64_t offset) {
    if (flags & MAP_SHARED && protection & PROT_WRITE) refuse(fd, "writing through a mapping");
    return (void *)syscall(SYS_mmap, at, bytes, protection, flags, fd, offset);
}

void *mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset) {
    return mmap64(at, bytes, protection, flags, fd, offset);
}

ssize_t copy_file_range(int from, off64_t *at, int to, off64_t *offset, size_t bytes, unsigned int flags) {
    refuse(to, "copy_file_range");
    return syscall(SYS_copy_file_range, from, at, to, offset, bytes, flags);
}

ssize_t sendfile64(int to, int from, off64_t *offset, size_t bytes) {
    refuse(to, "sendfile");
    return syscall(SYS_sendfile, to, from, offset, bytes);
}

ssize_t sendfile(int to, int from, off_t *offset, size_t bytes) { return sendfile64(to, from, offset, bytes); }

ssize_t splice(int from, off64_t *at, int to, off64_t *offset, size_t bytes, unsigned int flags) {
    refuse(to, "splice");
    return syscall(SYS_splice, from, at, to, offset, bytes, flags);
}
