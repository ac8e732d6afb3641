/* Start a program in a session of its own, which the kernel ends with the thread that starts it. */

#include "native.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/prctl.h>
#include <sys/syscall.h>

#define STREAMS 3

extern char **environ;

struct program {
    char **candidates, **words, **environment;
    const char *directory;
    int fds[STREAMS + 1], end_signal; /* the last one is kept as it is; -1: none */
    pid_t parent;
    sigset_t mask;
};

static void
reset_signals(void)
{
    struct sigaction action;
    for (int number = 1; number < NSIG; number++) {
        if (sigaction(number, NULL, &action) != 0 || action.sa_handler == SIG_DFL)
            continue;
        /* Python ignores these two; a program expects to be ended by them. */
        if (action.sa_handler != SIG_IGN || number == SIGPIPE || number == SIGXFSZ)
            signal(number, SIG_DFL);
    }
}

/* Where the kernel lacks the call, those remain that are not closed by execve. */
static void
close_others(int kept)
{
#ifdef SYS_close_range
    if (kept > STREAMS)
        syscall(SYS_close_range, STREAMS, (unsigned)kept - 1, 0);
    syscall(SYS_close_range, kept < STREAMS ? STREAMS : (unsigned)kept + 1, ~0U, 0);
#else
    (void)kept;
#endif
}

/* Runs in the new process, which shares our memory until it executes: system calls only. Returns
 * the error that kept it from executing. */
static int
become(const struct program *program)
{
    int fds[STREAMS], kept = program->fds[STREAMS], error = ENOENT;
    if (program->end_signal && prctl(PR_SET_PDEATHSIG, program->end_signal) != 0)
        return errno;
    if (getppid() != program->parent)
        return ESRCH; /* the parent was killed before the request */
    if (setsid() < 0)
        return errno;
    for (int i = 0; i < STREAMS; i++)
        if ((fds[i] = fcntl(program->fds[i], F_DUPFD, STREAMS)) < 0)
            return errno;
    for (int i = 0; i < STREAMS; i++)
        if (dup2(fds[i], i) < 0)
            return errno;
    if (kept >= STREAMS && fcntl(kept, F_SETFD, 0) != 0)
        return errno;
    close_others(kept);
    if (chdir(program->directory) != 0)
        return errno;
    reset_signals();
    sigprocmask(SIG_SETMASK, &program->mask, NULL);
    for (char **path = program->candidates; *path; path++) {
        execve(*path, program->words, program->environment);
        if (errno != ENOENT && errno != ENOTDIR)
            error = errno;
    }
    return error;
}

static char **
strings(PyObject *list)
{
    if (!native_is_list(list))
        return NULL;
    Py_ssize_t count = PyList_Size(list);
    char **found = calloc((size_t)count + 1, sizeof *found);
    if (!found) {
        PyErr_NoMemory();
        return NULL;
    }
    for (Py_ssize_t i = 0; i < count; i++)
        if (PyBytes_AsStringAndSize(PyList_GetItem(list, i), &found[i], NULL) != 0) {
            free(found);
            return NULL;
        }
    return found;
}

static int
descriptors(PyObject *list, struct program *program)
{
    if (!native_is_list(list))
        return 0;
    if (!native_has_arguments(PyList_Size(list), STREAMS + 1))
        return 0;
    for (int i = 0; i <= STREAMS; i++) {
        program->fds[i] = native_descriptor(PyList_GetItem(list, i));
        if (program->fds[i] == -1 && PyErr_Occurred())
            return 0;
    }
    return 1;
}

static long
start(struct program *program)
{
    volatile int error = 0;
    sigset_t all;
    program->parent = getpid();
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &program->mask);
    pid_t pid = vfork();
    if (pid == 0) {
        error = become(program);
        _exit(127);
    }
    if (pid < 0)
        error = errno;
    pthread_sigmask(SIG_SETMASK, &program->mask, NULL);
    if (!error)
        return pid;
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return -(long)error;
}

PyObject *
native_spawn(PyObject *self, PyObject *const *args, Py_ssize_t found)
{
    (void)self;
    struct program program = {0};
    long pid = 0;
    if (!native_has_arguments(found, 6))
        return NULL;
    char *directory;
    if (PyBytes_AsStringAndSize(args[3], &directory, NULL) != 0)
        return NULL;
    program.directory = directory;
    program.end_signal = (int)PyLong_AsLong(args[5]);
    if (PyErr_Occurred() || !descriptors(args[4], &program))
        return NULL;
    if ((program.candidates = strings(args[0])) && (program.words = strings(args[1])) &&
        (args[2] == Py_None || (program.environment = strings(args[2])))) {
        char **own = program.environment;
        if (!own)
            program.environment = environ;
        pid = start(&program);
        program.environment = own;
    }
    free(program.candidates);
    free(program.words);
    free(program.environment);
    return PyErr_Occurred() ? NULL : PyLong_FromLong(pid);
}
#else
PyObject *
native_spawn(PyObject *self, PyObject *const *args, Py_ssize_t found)
{
    (void)self, (void)args, (void)found;
    return PyLong_FromLong(-(long)ENOSYS);
}
#endif
