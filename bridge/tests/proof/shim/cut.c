/* The power cut: everything unflushed is taken back, the newest first; then what is to survive is done again, the oldest first. */
#define _GNU_SOURCE
#include "journal.h"
#include <stdio.h>

/* Everything up to here survives, where that is how much does. */
static uint64_t prefix;
/* Of eight changes so many survive, where each does so on its own. */
static uint64_t eighths;

/* A number that only the seed decides (splitmix64). */
uint64_t any(void) {
    uint64_t z = control->seed += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

bool keeps(uint64_t order) {
    switch (control->keeps) {
    case KEEPS_SOME:
        return any() % 8 < eighths;
    case KEEPS_PREFIX:
        return order <= prefix;
    default:
        return false;
    }
}

void cut_power(const char *during) {
    uint64_t write = first_unflushed_write(), name = first_unflushed_name();
    uint64_t from = write < name ? write : name, to = last_order();
    prefix = from <= to ? from - 1 + any() % (to - from + 2) : 0;
    eighths = 1 + any() % 7;
    /* Names and what is in files do not depend on each other: the journal has handles of its own. */
    undo_names();
    undo_files();
    redo_names();
    redo_files();
    control->cut = 1;
    dprintf(2, "power cut during %s, call %llu: %llu, %llu and %llu writes to the log, the state and others are gone in whole or in part, "
               "%llu have survived, %llu of them in part; %llu names are as they were\n",
            during, (unsigned long long)control->calls[CLASSES], (unsigned long long)control->lost_writes[CLASS_LOG],
            (unsigned long long)control->lost_writes[CLASS_STATE], (unsigned long long)control->lost_writes[CLASS_OTHER],
            (unsigned long long)control->kept_writes, (unsigned long long)control->torn_writes,
            (unsigned long long)control->lost_names);
}
