/* What the test and the server's process share: a file that the test reads and writes at offsets, and the shim maps.
 *
 * Every field is an unsigned 64-bit integer in the machine's own order; `bridge/tests/proof/shim.rs` names the same ones in the same
 * order. The test writes the first group, the shim the second.
 */
#ifndef CONTROL_H
#define CONTROL_H

#include <stdint.h>

/* Which files a fault or a figure is about. */
enum class_of_file { CLASS_LOG, CLASS_STATE, CLASS_OTHER, CLASSES };

/* What is wrong with the disk. */
enum fault {
    FAULT_NONE,
    /* A write fails with `fault_errno`; the first one that does takes half of its bytes before. */
    FAULT_WRITE,
    /* fsync and fdatasync of a file fail with `fault_errno`, and what they were to flush stays unflushed for ever. */
    FAULT_FLUSH,
    /* fsync of a folder does. */
    FAULT_FLUSH_FOLDER,
    /* Making a file, or reserving space for one, fails with `fault_errno`. */
    FAULT_MAKE,
    /* A flush takes `fault_millis`. */
    FAULT_SLOW,
    /* A write takes a part of its bytes and says so. */
    FAULT_SHORT,
    /* A flush answers that it has been done, and does nothing. */
    FAULT_LIE,
};

/* What survives a power cut besides what was flushed. */
enum keeps {
    KEEPS_NOTHING,
    /* Any of the changes, each on its own, and of a write any part. */
    KEEPS_SOME,
    /* Everything up to some change, in the order they were made. */
    KEEPS_PREFIX,
};

struct control {
    /* The power is cut at this call for files of a class, or of all with CLASSES; 0 for never. */
    uint64_t cut_at, cut_class;
    /* And when the process ends by itself, if this is 1. */
    uint64_t cut_at_end;
    uint64_t seed;
    uint64_t keeps;
    /* A flush takes up to so many microseconds. */
    uint64_t flush_micros;
    uint64_t fault;
    /* The class of the files that have it; CLASSES for all. */
    uint64_t fault_class;
    /* So many calls that would fail go well before the first that does. */
    uint64_t fault_after;
    /* And so many fail; 0 for all. */
    uint64_t fault_times;
    uint64_t fault_errno;
    uint64_t fault_millis;

    /* Calls so far that change something or flush it, of each class and of all; a flush counts twice, before and after. */
    uint64_t calls[CLASSES + 1];
    /* The power has been cut. */
    uint64_t cut;
    /* How often the fault has been met. */
    uint64_t faults;
    /* Writes and flushes of files of the fault's class that went well after it had first been met. */
    uint64_t good_after_fault;
    /* Of each class, what the cut took: writes of which something is gone, and how many bytes are gone. */
    uint64_t lost_writes[CLASSES];
    uint64_t lost_bytes[CLASSES];
    /* Names made, changed or removed in vain. */
    uint64_t lost_names;
    /* Unflushed writes of which something survived; those of which only a part did. */
    uint64_t kept_writes;
    uint64_t torn_writes;
};

extern struct control *control;

#endif
