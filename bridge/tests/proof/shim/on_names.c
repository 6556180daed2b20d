/* The calls on names: opening, renaming, removing, linking, folders. */
#define _GNU_SOURCE
#include "calls.h"
#include "journal.h"
#include "raw.h"
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static int journaled_open(const char *path, int flags, mode_t mode) {
    if ((flags & O_TMPFILE) == O_TMPFILE) fail("a file without a name", path);
    calls_lock();
    struct stat stat;
    bool is_new = flags & O_CREAT && lstat(path, &stat);
    enum class_of_file class = class_of(path);
    int fd = -1, why;
    if (!is_new || !fault_hits(FAULT_MAKE, class)) fd = raw_open(path, flags & ~O_TRUNC, mode);
    why = errno;
    if (fd >= 0) {
        if (is_new) name_made(path);
        struct node *node = node_of(fd, path);
        set_node(fd, node);
        if (flags & O_TRUNC && node->length > 0 && set_length(node, fd, 0)) fail("cannot be emptied", path);
        if (is_new && !node->is_diary) point("open", class);
    }
    calls_unlock();
    errno = why;
    return fd;
}

static int open_any(int folder, const char *path, int flags, mode_t mode) {
    char buffer[PATH_BYTES];
    const char *whole = path_under_root(folder, path, buffer);
    return whole ? journaled_open(whole, flags, mode) : (int)syscall(SYS_openat, folder, path, flags, mode);
}

/* The mode is there only where a file may be made. */
#define OPENS(name, parameters, folder)                                  \
    int name parameters {                                                \
        mode_t mode = 0;                                                 \
        if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) {       \
            va_list arguments;                                           \
            va_start(arguments, flags);                                  \
            mode = va_arg(arguments, mode_t);                            \
            va_end(arguments);                                           \
        }                                                                \
        return open_any(folder, path, flags, mode);                      \
    }

OPENS(openat, (int folder, const char *path, int flags, ...), folder)
OPENS(openat64, (int folder, const char *path, int flags, ...), folder)
OPENS(open, (const char *path, int flags, ...), AT_FDCWD)
OPENS(open64, (const char *path, int flags, ...), AT_FDCWD)

int creat64(const char *path, mode_t mode) { return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat(const char *path, mode_t mode) { return creat64(path, mode); }

/* Behind a change of names: counts it. */
static int counted(int failed, const char *call, const char *path) {
    int why = errno;
    if (!failed) point(call, class_of(path));
    calls_unlock();
    errno = why;
    return failed;
}

int renameat2(int from, const char *path, int into, const char *to, unsigned int flags) {
    char buffer[2][PATH_BYTES];
    const char *old = path_under_root(from, path, buffer[0]), *new = path_under_root(into, to, buffer[1]);
    if (!old && !new) return (int)syscall(SYS_renameat2, from, path, into, to, flags);
    if (!old || !new || flags) fail("a rename with flags, or out of the root or into it", path);
    calls_lock();
    return counted(rename_name(old, new), "rename", new);
}

int renameat(int from, const char *path, int into, const char *to) { return renameat2(from, path, into, to, 0); }
int rename(const char *path, const char *to) { return renameat2(AT_FDCWD, path, AT_FDCWD, to, 0); }

int unlinkat(int folder, const char *path, int flags) {
    char buffer[PATH_BYTES];
    const char *whole = path_under_root(folder, path, buffer);
    if (!whole) return (int)syscall(SYS_unlinkat, folder, path, flags);
    calls_lock();
    return flags & AT_REMOVEDIR ? counted(remove_folder(whole), "rmdir", whole) : counted(remove_name(whole), "unlink", whole);
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int remove(const char *path) {
    struct stat stat;
    return unlinkat(AT_FDCWD, path, !lstat(path, &stat) && S_ISDIR(stat.st_mode) ? AT_REMOVEDIR : 0);
}

int linkat(int from, const char *path, int into, const char *to, int flags) {
    char buffer[PATH_BYTES];
    const char *whole = path_under_root(into, to, buffer);
    if (!whole) return (int)syscall(SYS_linkat, from, path, into, to, flags);
    calls_lock();
    int failed = (int)syscall(SYS_linkat, from, path, into, to, flags);
    if (!failed) name_made(whole);
    return counted(failed, "link", whole);
}

int link(const char *path, const char *to) { return linkat(AT_FDCWD, path, AT_FDCWD, to, 0); }

int mkdirat(int folder, const char *path, mode_t mode) {
    char buffer[PATH_BYTES];
    const char *whole = path_under_root(folder, path, buffer);
    if (!whole) return (int)syscall(SYS_mkdirat, folder, path, mode);
    calls_lock();
    return counted(make_folder(whole, mode), "mkdir", whole);
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

/* A socket has a name too. */
int bind(int fd, const struct sockaddr *address, socklen_t bytes) {
    char buffer[PATH_BYTES], name[sizeof(struct sockaddr_un)] = {0};
    const char *whole = NULL;
    if (address->sa_family == AF_UNIX && bytes > offsetof(struct sockaddr_un, sun_path)) {
        memcpy(name, ((const struct sockaddr_un *)address)->sun_path, bytes - offsetof(struct sockaddr_un, sun_path));
        if (name[0]) whole = path_under_root(AT_FDCWD, name, buffer);
    }
    if (!whole) return (int)syscall(SYS_bind, fd, address, bytes);
    calls_lock();
    int failed = (int)syscall(SYS_bind, fd, address, bytes);
    if (!failed) name_made(whole);
    return counted(failed, "bind", whole);
}

static void refuse(int folder, const char *path, const char *what) {
    char buffer[PATH_BYTES];
    if (path_under_root(folder, path, buffer)) fail(what, path);
}

int symlinkat(const char *target, int folder, const char *path) {
    refuse(folder, path, "a symbolic link");
    return (int)syscall(SYS_symlinkat, target, folder, path);
}

int symlink(const char *target, const char *path) { return symlinkat(target, AT_FDCWD, path); }

int truncate64(const char *path, off64_t length) {
    refuse(AT_FDCWD, path, "truncate by name");
    return (int)syscall(SYS_truncate, path, length);
}

int truncate(const char *path, off_t length) { return truncate64(path, length); }
