/* What is not flushed yet: every change of a file (files.c) or of a name (names.c), and what undoes it.
 *
 * The model is POSIX without its favours. Bytes and lengths are durable when fsync or fdatasync of their file has ended that began after
 * them; names when fsync of their folder has, and a file's own fsync does nothing for its name. sync_file_range promises nothing.
 *
 * Everything here is called with the lock held: one change at a time, so that their order is known.
 */
#ifndef JOURNAL_H
#define JOURNAL_H

#include "control.h"
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* files.c */

/* A file or folder under the root. */
struct node {
    dev_t dev;
    ino_t ino;
    bool is_folder;
    /* A diary of RocksDB, which nobody reads back: never flushed, and never missed. */
    bool is_diary;
    enum class_of_file class;
    char *path;
    /* A handle of the shim's own while something is unflushed, to read and write whatever the program's can. */
    int handle;
    /* The length that the journal expects to find. */
    off_t length;
    struct change *first, *last;
    struct node *next;
};

/* A change of a file: bytes written, or a length set. */
struct change {
    uint64_t order;
    off_t offset;
    size_t bytes;
    /* What was there before, zeros beyond the end; what is there now, or NULL where only the length changed. */
    unsigned char *old, *new;
    off_t length_before, length_after;
    /* A flush that was to cover it has failed. */
    bool doomed;
    struct change *next;
};

enum class_of_file class_of(const char *path);
struct node *node_of(int fd, const char *path);
/* Before a write: a change that holds what will be replaced. Give it to one of the next two. */
struct change *write_begins(struct node *node, int fd, off_t offset, size_t bytes);
void write_failed(struct change *change);
void write_done(struct node *node, struct change *change, const void *data, size_t bytes);
/* Sets the length, which may cut off what is kept here. */
int set_length(struct node *node, int fd, off_t length);
/* The length has grown, with zeros. */
void grown(struct node *node, int fd, off_t length);
void file_flushed(struct node *node, uint64_t upto);
void file_given_up(struct node *node);

/* names.c */

/* A name of a file was made by opening, binding or linking. */
void name_made(const char *path);
int rename_name(const char *path, const char *to);
int remove_name(const char *path);
int make_folder(const char *path, mode_t mode);
int remove_folder(const char *path);
void folder_flushed(const struct node *folder, uint64_t upto);

/* cut.c */

/* Takes back everything that is not flushed, but for what `control->keeps` leaves. */
void cut_power(const char *during);
bool keeps(uint64_t order);
uint64_t any(void);
void undo_files(void);
void redo_files(void);
void undo_names(void);
void redo_names(void);
uint64_t first_unflushed_name(void);
uint64_t first_unflushed_write(void);

/* calls.c */

/* The number of the next change, and of the last. */
uint64_t next_order(void);
uint64_t last_order(void);
/* Ends the process with a sentence about the shim: what it does not understand, it can prove nothing about. */
_Noreturn void fail(const char *what, const char *path);
extern const char *stash_folder;

#endif
