/* Unflushed changes of what is in files. */
#define _GNU_SOURCE
#include "journal.h"
#include "raw.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SECTOR 512
#define BUCKETS 1024

static struct node *nodes[BUCKETS];

static void *allocate(size_t bytes) {
    void *memory = calloc(1, bytes ? bytes : 1);
    if (!memory) fail("there is no memory for the journal", "");
    return memory;
}

/* Whether a path is that of a folder of this name, or lies in one. */
static bool is_in(const char *path, const char *name) {
    for (const char *found = strstr(path, name); found; found = strstr(found + 1, name))
        if (found[strlen(name)] == '/' || !found[strlen(name)]) return true;
    return false;
}

enum class_of_file class_of(const char *path) {
    if (is_in(path, "/log")) return CLASS_LOG;
    if (is_in(path, "/state")) return CLASS_STATE;
    return CLASS_OTHER;
}

struct node *node_of(int fd, const char *path) {
    struct stat stat;
    if (fstat(fd, &stat)) fail("fstat does not work", path);
    struct node **bucket = &nodes[stat.st_ino % BUCKETS];
    for (struct node *node = *bucket; node; node = node->next)
        if (node->ino == stat.st_ino && node->dev == stat.st_dev) return node;
    struct node *node = allocate(sizeof *node);
    const char *name = strrchr(path, '/') + 1;
    *node = (struct node){
        .dev = stat.st_dev,
        .ino = stat.st_ino,
        .is_folder = S_ISDIR(stat.st_mode),
        .is_diary = strstr(path, "/state/") && !strncmp(name, "LOG", 3),
        .class = class_of(path),
        .path = strdup(path),
        .handle = -1,
        .length = stat.st_size,
        .next = *bucket,
    };
    return *bucket = node;
}

/* The length it has, which must be the one the journal knows of: else a call went by unseen. */
static off_t checked_length(const struct node *node, int fd) {
    struct stat stat;
    if (fstat(fd, &stat)) fail("fstat does not work", node->path);
    if (stat.st_size != node->length) fail("a file has changed by a call that the shim does not see", node->path);
    return stat.st_size;
}

static void open_handle(struct node *node, int fd) {
    if (node->handle >= 0) return;
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    node->handle = raw_open(path, O_RDWR | O_CLOEXEC, 0);
    if (node->handle < 0) fail("a file cannot be opened once more", node->path);
}

/* Reads all bytes; those beyond the end are zeros. */
static void read_all(const struct node *node, unsigned char *to, size_t bytes, off_t offset) {
    for (size_t done = 0; done < bytes;) {
        ssize_t n = raw_pread(node->handle, to + done, bytes - done, offset + (off_t)done);
        if (n < 0) fail("a file cannot be read", node->path);
        if (n == 0) break;
        done += (size_t)n;
    }
}

static void write_all(const struct node *node, const unsigned char *from, size_t bytes, off_t offset) {
    for (size_t done = 0; done < bytes;) {
        ssize_t n = raw_pwrite(node->handle, from + done, bytes - done, offset + (off_t)done);
        if (n <= 0) fail("a file cannot be written back", node->path);
        done += (size_t)n;
    }
}

static void append(struct node *node, struct change *change) {
    change->order = next_order();
    if (node->last) node->last->next = change;
    else node->first = change;
    node->last = change;
    node->length = change->length_after;
}

static void discard(struct change *change) {
    free(change->old);
    free(change->new);
    free(change);
}

struct change *write_begins(struct node *node, int fd, off_t offset, size_t bytes) {
    open_handle(node, fd);
    struct change *change = allocate(sizeof *change);
    change->offset = offset;
    change->bytes = bytes;
    change->length_before = change->length_after = checked_length(node, fd);
    change->old = allocate(bytes);
    read_all(node, change->old, bytes, offset);
    return change;
}

void write_failed(struct change *change) { discard(change); }

void write_done(struct node *node, struct change *change, const void *data, size_t bytes) {
    change->bytes = bytes;
    change->new = allocate(bytes);
    memcpy(change->new, data, bytes);
    off_t end = change->offset + (off_t)bytes;
    if (end > change->length_after) change->length_after = end;
    append(node, change);
}

int set_length(struct node *node, int fd, off_t length) {
    open_handle(node, fd);
    off_t before = checked_length(node, fd);
    struct change *change = allocate(sizeof *change);
    change->offset = length;
    change->bytes = length < before ? (size_t)(before - length) : 0;
    change->length_before = before;
    change->length_after = length;
    change->old = allocate(change->bytes);
    read_all(node, change->old, change->bytes, length);
    if (raw_ftruncate(fd, length)) {
        discard(change);
        return -1;
    }
    append(node, change);
    return 0;
}

void grown(struct node *node, int fd, off_t length) {
    if (length <= node->length) return;
    open_handle(node, fd);
    struct change *change = allocate(sizeof *change);
    change->offset = change->length_before = node->length;
    change->length_after = length;
    append(node, change);
}

/* What a flush could not write has become durable nowhere, but later writes around it may: from now on only its own bytes count. */
static void patch_doomed(struct node *node, const struct change *durable) {
    for (struct change *doomed = node->first; doomed != durable; doomed = doomed->next) {
        doomed->length_before = doomed->length_after = -1;
        if (!durable->new) continue;
        off_t from = doomed->offset > durable->offset ? doomed->offset : durable->offset;
        off_t doomed_end = doomed->offset + (off_t)doomed->bytes, durable_end = durable->offset + (off_t)durable->bytes;
        off_t to = doomed_end < durable_end ? doomed_end : durable_end;
        if (from < to && doomed->old)
            memcpy(doomed->old + (from - doomed->offset), durable->new + (from - durable->offset), (size_t)(to - from));
    }
}

void file_flushed(struct node *node, uint64_t upto) {
    struct change *kept = NULL;
    for (struct change *change = node->first, *next; change; change = next) {
        next = change->next;
        if (change->doomed || change->order > upto) {
            kept = change;
            continue;
        }
        patch_doomed(node, change);
        if (kept) kept->next = next;
        else node->first = next;
        discard(change);
    }
    node->last = kept;
    if (!node->first && node->handle >= 0) {
        raw_close(node->handle);
        node->handle = -1;
    }
}

void file_given_up(struct node *node) {
    for (struct change *change = node->first; change; change = change->next) change->doomed = true;
}

uint64_t first_unflushed_write(void) {
    uint64_t first = UINT64_MAX;
    for (int i = 0; i < BUCKETS; i++)
        for (struct node *node = nodes[i]; node; node = node->next)
            if (node->first && node->first->order < first) first = node->first->order;
    return first;
}

static void undo(const struct node *node, const struct change *change) {
    size_t bytes = change->bytes;
    if (change->length_before >= 0) {
        if (raw_ftruncate(node->handle, change->length_before)) fail("a length cannot be set back", node->path);
        off_t within = change->length_before - change->offset;
        if (within < 0) within = 0;
        if ((size_t)within < bytes) bytes = (size_t)within;
    }
    write_all(node, change->old, bytes, change->offset);
}

/* The newest first. */
static void undo_all(const struct node *node) {
    size_t count = 0;
    for (const struct change *change = node->first; change; change = change->next) count++;
    const struct change **changes = allocate(count * sizeof *changes);
    size_t at = 0;
    for (const struct change *change = node->first; change; change = change->next) changes[at++] = change;
    while (at--) undo(node, changes[at]);
    free(changes);
}

void undo_files(void) {
    for (int i = 0; i < BUCKETS; i++)
        for (struct node *node = nodes[i]; node; node = node->next) {
            if (!node->first) continue;
            checked_length(node, node->handle);
            undo_all(node);
        }
}

/* Writes a part of what was written: up to some byte, or some of its sectors. How much that is. */
static size_t redo_part(const struct node *node, const struct change *change) {
    if (node->class == CLASS_STATE || any() % 2) {
        size_t bytes = (size_t)(any() % change->bytes);
        write_all(node, change->new, bytes, change->offset);
        return bytes;
    }
    size_t written = 0;
    for (size_t at = 0, n; at < change->bytes; at += n) {
        n = SECTOR - (size_t)(change->offset + (off_t)at) % SECTOR;
        if (n > change->bytes - at) n = change->bytes - at;
        if (any() % 2) continue;
        write_all(node, change->new + at, n, change->offset + (off_t)at);
        written += n;
    }
    return written;
}

/* Whether all of it survives. */
static bool redo(struct node *node, const struct change *change, bool may) {
    size_t written = 0;
    bool kept = may && keeps(change->order) && !change->doomed;
    if (kept) {
        bool untorn = control->keeps != KEEPS_SOME || any() % 3 == 0;
        if (!change->new) {
            if (raw_ftruncate(node->handle, change->length_after)) fail("a length cannot be set again", node->path);
        } else if (untorn || !change->bytes) {
            write_all(node, change->new, written = change->bytes, change->offset);
        } else {
            written = redo_part(node, change);
        }
    }
    bool whole = kept && (!change->new || written == change->bytes);
    if (!change->new || node->is_diary) return whole;
    control->kept_writes += written > 0;
    control->torn_writes += written > 0 && written < change->bytes;
    control->lost_writes[node->class] += written < change->bytes;
    control->lost_bytes[node->class] += change->bytes - written;
    return whole;
}

void redo_files(void) {
    for (int i = 0; i < BUCKETS; i++)
        for (struct node *node = nodes[i]; node; node = node->next) {
            /* RocksDB appends, and relies on a file system that has no bytes behind ones that are missing (ext4 with ordered data): a manifest
             * with a hole in its unflushed end is one that it does not open. The commit log does without. */
            bool ordered = node->class == CLASS_STATE, whole = true;
            for (struct change *change = node->first; change; change = change->next)
                whole &= redo(node, change, !ordered || whole);
            /* A file system may know of a length before it has the bytes: they read as zeros. */
            struct stat stat;
            if (node->first && !ordered && control->keeps == KEEPS_SOME && any() % 4 == 0 && !fstat(node->handle, &stat) &&
                stat.st_size < node->length && raw_ftruncate(node->handle, node->length))
                fail("a length cannot be set again", node->path);
        }
}
