/* Reading a mapped file that another process may truncate. The kernel then raises SIGBUS; the
 * handler replaces the map by zeros, so that the reader continues and finds that this is no board
 * any more (rdv/stream/file/board.py). Signals for any other address go to the previous handler. */

#include "native.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define GUARDED_MAX 64

static struct {
    char *volatile base;
    volatile size_t size;
} guarded[GUARDED_MAX];

static struct sigaction before;

static void
on_bus(int number, siginfo_t *info, void *context)
{
    char *at = info->si_addr;
    for (int i = 0; i < GUARDED_MAX; i++) {
        char *base = guarded[i].base;
        size_t size = guarded[i].size;
        if (base == NULL || at < base || at >= base + size)
            continue;
        if (mmap(base, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)
            != MAP_FAILED)
            return;
    }
    if (before.sa_flags & SA_SIGINFO)
        before.sa_sigaction(number, info, context);
    else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)
        before.sa_handler(number);
    else
        signal(SIGBUS, SIG_DFL); /* the access is tried again, and ends the process */
}

/* Installs the handler again if another library has replaced it by its own. */
static int
install(void)
{
    struct sigaction now, ours;
    if (sigaction(SIGBUS, NULL, &now) < 0)
        return -1;
    if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_bus)
        return 0;
    before = now;
    memset(&ours, 0, sizeof ours);
    ours.sa_sigaction = on_bus;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    sigemptyset(&ours.sa_mask);
    return sigaction(SIGBUS, &ours, NULL);
}

static size_t
whole_pages(Py_ssize_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return ((size_t)size + page - 1) / page * page;
}

/* Returns the address of the map that is the first of `wanted` arguments; NULL with an exception
 * set. No reference is held: its owner must not close it meanwhile. */
static char *
map_argument(PyObject *const *args, Py_ssize_t nargs, Py_ssize_t wanted, size_t *size)
{
    Py_buffer buffer;
    if (!native_has_arguments(nargs, wanted)
        || PyObject_GetBuffer(args[0], &buffer, PyBUF_SIMPLE) < 0)
        return NULL;
    char *base = buffer.buf;
    *size = whole_pages(buffer.len);
    PyBuffer_Release(&buffer);
    return base;
}

PyObject *
native_guard(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    size_t size;
    char *base = map_argument(args, nargs, 1, &size);
    if (base == NULL)
        return NULL;
    for (int i = 0; i < GUARDED_MAX; i++) {
        if (guarded[i].base != NULL)
            continue;
        if (install() < 0)
            break;
        guarded[i].size = size;
        guarded[i].base = base;
        Py_RETURN_TRUE;
    }
    Py_RETURN_FALSE;
}

PyObject *
native_unguard(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    size_t size;
    char *base = map_argument(args, nargs, 1, &size);
    if (base == NULL)
        return NULL;
    for (int i = 0; i < GUARDED_MAX; i++)
        if (guarded[i].base == base)
            guarded[i].base = NULL;
    Py_RETURN_NONE;
}

PyObject *
native_remap(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    size_t size;
    char *base = map_argument(args, nargs, 2, &size);
    if (base == NULL)
        return NULL;
    int fd = native_descriptor(args[1]);
    if (PyErr_Occurred())
        return NULL;
    if (mmap(base, size, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}
