/* Unflushed changes of names.
 *
 * A file that loses a name before its folder is flushed may have it again after a power cut. So every file that such a change is about
 * has another name, its number, in the stash: a folder beside the root, on the same file system.
 */
#define _GNU_SOURCE
#include "journal.h"
#include "raw.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum kind { MADE, RENAMED, REMOVED, FOLDER_MADE, FOLDER_REMOVED };

/* A folder that has to be flushed before a change of a name in it is durable. */
struct within {
    dev_t dev;
    ino_t ino;
    bool flushed;
};

struct name_change {
    uint64_t order;
    enum kind kind;
    char *path, *to;
    struct within in, into;
    /* The file, and the one that had the new name before; 0 for none, and for folders. */
    ino_t file, replaced;
    mode_t mode;
    struct name_change *before, *after;
};

static struct name_change *first, *last;

static struct within folder_of(const char *path) {
    char folder[4096];
    snprintf(folder, sizeof folder, "%s", path);
    char *end = strrchr(folder, '/');
    while (end > folder && end[-1] == '/') end--;
    *end = 0;
    struct stat stat;
    if (lstat(folder, &stat)) fail("the folder of a name is not there", path);
    return (struct within){.dev = stat.st_dev, .ino = stat.st_ino};
}

static const char *stashed(ino_t file) {
    static char paths[2][4096];
    static int turn;
    char *path = paths[turn = !turn];
    snprintf(path, sizeof paths[0], "%s/%llu", stash_folder, (unsigned long long)file);
    return path;
}

/* Whether it has its name in the stash. */
static bool is_stashed(ino_t file) {
    struct stat stat;
    return !lstat(stashed(file), &stat);
}

/* Gives a file its name in the stash; its number. 0 for a folder, which cannot have two. */
static ino_t stash(const char *path) {
    struct stat stat;
    if (lstat(path, &stat)) fail("a name is not there", path);
    if (S_ISDIR(stat.st_mode)) return 0;
    if (!is_stashed(stat.st_ino) && raw_link(path, stashed(stat.st_ino))) fail("a file cannot be stashed", path);
    return stat.st_ino;
}

static struct name_change *record(enum kind kind, const char *path) {
    struct name_change *change = calloc(1, sizeof *change);
    if (!change) fail("there is no memory for the journal", path);
    change->order = next_order();
    change->kind = kind;
    change->path = strdup(path);
    change->in = folder_of(path);
    change->into.flushed = true;
    change->before = last;
    if (last) last->after = change;
    else first = change;
    return last = change;
}

void name_made(const char *path) { record(MADE, path)->file = stash(path); }

int rename_name(const char *path, const char *to) {
    struct stat stat;
    if (lstat(path, &stat)) return -1;
    ino_t replaced = lstat(to, &stat) ? 0 : stash(to);
    if (raw_rename(path, to)) return -1;
    struct name_change *change = record(RENAMED, path);
    change->to = strdup(to);
    change->file = stash(to);
    change->replaced = replaced;
    change->into = folder_of(to);
    return 0;
}

int remove_name(const char *path) {
    struct stat stat;
    if (lstat(path, &stat)) return -1;
    if (S_ISDIR(stat.st_mode)) {
        errno = EISDIR;
        return -1;
    }
    ino_t file = stash(path);
    if (raw_unlink(path)) return -1;
    record(REMOVED, path)->file = file;
    return 0;
}

int make_folder(const char *path, mode_t mode) {
    if (raw_mkdir(path, mode)) return -1;
    record(FOLDER_MADE, path)->mode = mode;
    return 0;
}

int remove_folder(const char *path) {
    struct stat stat;
    if (lstat(path, &stat) || raw_rmdir(path)) return -1;
    record(FOLDER_REMOVED, path)->mode = stat.st_mode & 07777;
    return 0;
}

static void forget(struct name_change *change) {
    if (change->before) change->before->after = change->after;
    else first = change->after;
    if (change->after) change->after->before = change->before;
    else last = change->before;
    free(change->path);
    free(change->to);
    free(change);
}

static void flush_within(struct within *within, const struct node *folder) {
    within->flushed |= within->ino == folder->ino && within->dev == folder->dev;
}

void folder_flushed(const struct node *folder, uint64_t upto) {
    for (struct name_change *change = first, *next; change && change->order <= upto; change = next) {
        next = change->after;
        flush_within(&change->in, folder);
        flush_within(&change->into, folder);
        if (change->in.flushed && change->into.flushed) forget(change);
    }
}

uint64_t first_unflushed_name(void) { return first ? first->order : UINT64_MAX; }

/* Where a folder lies that is gone with all that is in it, however durable that was within. */
static const char *gone_folder(const struct name_change *change) {
    static char path[4096];
    snprintf(path, sizeof path, "%s/folder-%llu", stash_folder, (unsigned long long)change->order);
    return path;
}

static void must(int failed, const char *what, const char *path) {
    if (failed) fail(what, path);
}

static void undo(const struct name_change *change) {
    const char *path = change->path;
    switch (change->kind) {
    case MADE:
        must(raw_unlink(path), "a new name cannot be taken back", path);
        break;
    case RENAMED:
        must(raw_rename(change->to, path), "a name cannot be changed back", path);
        if (change->replaced)
            must(raw_link(stashed(change->replaced), change->to), "a file cannot have its name again", change->to);
        break;
    case REMOVED:
        must(raw_link(stashed(change->file), path), "a file cannot have its name again", path);
        break;
    case FOLDER_MADE:
        must(raw_rename(path, gone_folder(change)), "a new folder cannot be taken back", path);
        break;
    case FOLDER_REMOVED:
        must(raw_mkdir(path, change->mode), "a folder cannot be made again", path);
        break;
    }
}

void undo_names(void) {
    for (const struct name_change *change = last; change; change = change->before) undo(change);
}

/* Gives a file a name, in place of one that has it. */
static void give(ino_t file, const char *path) {
    char beside[4096];
    snprintf(beside, sizeof beside, "%s/given", stash_folder);
    /* Where the folder was lost there is no place for it. */
    if (raw_link(stashed(file), beside)) fail("a stashed file is not there", path);
    if (raw_rename(beside, path)) raw_unlink(beside);
    /* Two names of one file are left as they are by a rename. */
    raw_unlink(beside);
}

static void redo(const struct name_change *change) {
    struct stat stat;
    switch (change->kind) {
    case MADE:
        give(change->file, change->path);
        break;
    case RENAMED:
        if (!change->file) {
            /* A folder that was not made cannot be renamed. */
            (void)raw_rename(change->path, change->to);
            break;
        }
        if (!lstat(change->path, &stat) && stat.st_ino == change->file) raw_unlink(change->path);
        give(change->file, change->to);
        break;
    case REMOVED:
        if (!lstat(change->path, &stat) && stat.st_ino == change->file) raw_unlink(change->path);
        break;
    case FOLDER_MADE:
        /* It may have no place any more. */
        (void)raw_rename(gone_folder(change), change->path);
        break;
    case FOLDER_REMOVED:
        (void)raw_rmdir(change->path);
        break;
    }
}

void redo_names(void) {
    for (const struct name_change *change = first; change; change = change->after) {
        if (keeps(change->order)) redo(change);
        else control->lost_names++;
    }
}
