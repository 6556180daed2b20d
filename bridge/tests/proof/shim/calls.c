/* Cuts the power under a process: a library to be preloaded that stands between a program and the C library's calls for files.
 *
 *   POWER_ROOT     the folder that loses what is not flushed; absolute, and there before the program starts
 *   POWER_STASH    an empty folder on the same file system, for the shim's own use
 *   POWER_CONTROL  a file of the size of `struct control`
 *
 * Files on a real disk show what a program wrote, whether or not it was flushed. So the shim keeps a journal of what was not (journal.h),
 * and when the power is to be cut it takes that back, in the process itself, while no other thread can change a file; then it kills the
 * process. Nothing is really flushed: the machine goes on, so the journal alone decides what is durable, and a flush costs no more than
 * the time that `control->flush_micros` and `control->fault_millis` ask for.
 *
 * What it does not understand (writing through a mapping, into a pipe, without a name) ends the process with a sentence, if it is done to
 * a file under the root. Calls that go to the system directly are not seen; the journal notices when a length is not the one it knows.
 */
#define _GNU_SOURCE
#include "calls.h"
#include "journal.h"
#include "raw.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define FILES 65536

struct control *control;
const char *stash_folder;
static const char *root;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t order;
/* The node of each open file that is under the root. */
static struct node *by_fd[FILES];

_Noreturn void fail(const char *what, const char *path) {
    dprintf(2, "the power-cut shim: %s: %s (%s)\n", path, what, strerror(errno));
    abort();
}

uint64_t next_order(void) { return ++order; }
uint64_t last_order(void) { return order; }

__attribute__((constructor)) static void begin(void) {
    root = getenv("POWER_ROOT");
    stash_folder = getenv("POWER_STASH");
    const char *path = getenv("POWER_CONTROL");
    if (!root || !stash_folder || !path) return;
    int fd = raw_open(path, O_RDWR | O_CLOEXEC, 0);
    struct stat stat;
    if (fd < 0 || fstat(fd, &stat) || (size_t)stat.st_size != sizeof *control) fail("is no control file", path);
    void *mapped = (void *)syscall(SYS_mmap, NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) fail("cannot be mapped", path);
    raw_close(fd);
    control = mapped;
}

/* The power fails when the process has ended, too: whoever ends in good order has flushed what has to stay. */
__attribute__((destructor)) static void end(void) {
    if (!control || !control->cut_at_end) return;
    calls_lock();
    cut_power("the end");
    /* Held for ever: other threads may still run. */
}

void calls_lock(void) { pthread_mutex_lock(&lock); }
void calls_unlock(void) { pthread_mutex_unlock(&lock); }

void cut_if_due(const char *call) {
    if (!control->cut_at || control->calls[control->cut_class] < control->cut_at) return;
    cut_power(call);
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

void point(const char *call, enum class_of_file class) {
    control->calls[class]++;
    control->calls[CLASSES]++;
    cut_if_due(call);
}

bool fault_hits(enum fault fault, enum class_of_file class) {
    if (control->fault != fault) return false;
    if (control->fault_class != CLASSES && control->fault_class != class) return false;
    if (control->fault_after) {
        control->fault_after--;
        return false;
    }
    if (control->fault_times && control->faults >= control->fault_times) return false;
    control->faults++;
    errno = (int)control->fault_errno;
    return true;
}

void went_well(enum class_of_file class) {
    bool concerned = control->fault_class == CLASSES || control->fault_class == class;
    control->good_after_fault += control->faults > 0 && concerned;
}

struct node *node_at(int fd) { return control && fd >= 0 && fd < FILES ? by_fd[fd] : NULL; }

void set_node(int fd, struct node *node) {
    if (fd >= FILES) fail("has too high a number", node ? node->path : "a file");
    by_fd[fd] = node;
}

static bool under_root(const char *path) {
    size_t length = strlen(root);
    /* The root itself is one: its flush makes the names in it durable. */
    return !strncmp(path, root, length) && (path[length] == '/' || !path[length]);
}

const char *path_under_root(int folder, const char *path, char *buffer) {
    if (!control) return NULL;
    if (path[0] != '/') {
        char of[64], name[PATH_BYTES / 2];
        ssize_t length;
        if (folder == AT_FDCWD) snprintf(of, sizeof of, "/proc/self/cwd");
        else snprintf(of, sizeof of, "/proc/self/fd/%d", folder);
        if ((length = readlink(of, name, sizeof name - 1)) < 0) return NULL;
        name[length] = 0;
        snprintf(buffer, PATH_BYTES, "%s/%s", name, path);
        path = buffer;
    }
    return under_root(path) ? path : NULL;
}
