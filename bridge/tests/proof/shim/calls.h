/* What the shim's calls share. See calls.c; on_files.c and on_names.c are the calls. */
#ifndef CALLS_H
#define CALLS_H

#include "control.h"
#include <stdbool.h>

#define PATH_BYTES 8192

struct node;

void calls_lock(void);
void calls_unlock(void);
/* Cuts the power if it is time, and does not return then. With the lock held, as the next. */
void cut_if_due(const char *call);
/* Counts a call, which may be the last. */
void point(const char *call, enum class_of_file class);
/* Whether a call is to fail, or to do something else; errno is set. */
bool fault_hits(enum fault fault, enum class_of_file class);
/* A write or a flush went well. */
void went_well(enum class_of_file class);
/* The node of an open file; NULL where it is none of ours. */
struct node *node_at(int fd);
void set_node(int fd, struct node *node);
/* A path as a whole one, if it lies under the root; else NULL. */
const char *path_under_root(int folder, const char *path, char *buffer);

#endif
