/* The hot path of the board, see rdv/stream/file/board.py: publish that there are new records, and
 * notify the waiting readers. */

#include "native.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define SLOTS 1024
#define WAITING_MAX 64
#define EVERYTHING UINT64_MAX

static int
has_waiting(const unsigned char *states)
{
    uint64_t word;
    for (int slot = 0; slot < SLOTS; slot += 8) {
        memcpy(&word, states + slot, 8);
        if (word)
            return 1;
    }
    return 0;
}

struct waiter {
    int slot, fd, is_notified;
    unsigned char order;
};

/* Finds the readers that wait for one of the partitions in `mask`, ordered by their priorities; -1
 * when they are too many. */
static int
find_waiting(struct waiter *waiters, const unsigned char *states, const unsigned char *masks,
    uint64_t wanted)
{
    int count = 0;
    for (int slot = 0; slot < SLOTS; slot++) {
        uint64_t mask;
        if (states[slot] == 0)
            continue;
        memcpy(&mask, masks + (size_t)slot * 8, 8);
        if (wanted != EVERYTHING && !(mask & wanted))
            continue;
        if (count == WAITING_MAX)
            return -1;
        int place = count++;
        for (; place && waiters[place - 1].order > states[slot]; place--)
            waiters[place] = waiters[place - 1];
        waiters[place] = (struct waiter){.slot = slot, .fd = -1, .order = states[slot]};
    }
    return count;
}

/* The state is cleared first: a reader that waits anew in between is notified once too often; in
 * the other order it would be forgotten. */
static int
notify_one(const struct waiter *waiter, int board_fd, off_t states_at)
{
    if (pwrite(board_fd, "\0", 1, states_at + waiter->slot) != 1)
        return 0;
    return write(waiter->fd, "\1", 1) == 1 || errno == EAGAIN; /* full: it is notified already */
}

static int
find_fifos(struct waiter *waiters, int count, PyObject *fifos)
{
    for (int i = 0; i < count; i++) {
        PyObject *slot = PyLong_FromLong(waiters[i].slot);
        if (slot == NULL)
            return -1;
        PyObject *fd = PyDict_GetItemWithError(fifos, slot);
        Py_DECREF(slot);
        if (fd != NULL)
            waiters[i].fd = native_descriptor(fd);
        if (PyErr_Occurred())
            return -1;
    }
    return 0;
}

static PyObject *
not_notified(const struct waiter *waiters, int count)
{
    PyObject *slots = PyList_New(0);
    for (int i = 0; slots != NULL && i < count; i++) {
        if (waiters[i].is_notified)
            continue;
        PyObject *slot = PyLong_FromLong(waiters[i].slot);
        if (slot == NULL || PyList_Append(slots, slot) < 0)
            Py_CLEAR(slots);
        Py_XDECREF(slot);
    }
    return slots;
}

/* The mapped board, and where its parts are. */
struct board {
    Py_buffer map;
    int fd;
    Py_ssize_t states_at, masks_at;
};

static int
open_board(struct board *board, PyObject *const *args)
{
    board->fd = native_descriptor(args[1]);
    board->states_at = PyLong_AsSsize_t(args[2]);
    board->masks_at = PyLong_AsSsize_t(args[3]);
    if (PyErr_Occurred() || PyObject_GetBuffer(args[0], &board->map, PyBUF_SIMPLE) < 0)
        return -1;
    if (board->states_at >= 0 && board->states_at <= board->map.len - SLOTS
        && board->masks_at >= 0 && board->masks_at <= board->map.len - SLOTS * 8)
        return 0;
    PyBuffer_Release(&board->map);
    PyErr_SetString(PyExc_ValueError, "the board is too small");
    return -1;
}

static PyObject *
notify_waiting(struct board *board, uint64_t mask, PyObject *fifos)
{
    struct waiter waiters[WAITING_MAX];
    const unsigned char *map = board->map.buf;
    int count = find_waiting(waiters, map + board->states_at, map + board->masks_at, mask);
    if (count < 0)
        Py_RETURN_NONE;
    if (find_fifos(waiters, count, fifos) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    /* Stop at the first reader whose FIFO is not open yet: no other reader may overtake it. */
    for (int i = 0; i < count && waiters[i].fd >= 0; i++)
        waiters[i].is_notified = notify_one(&waiters[i], board->fd, board->states_at);
    Py_END_ALLOW_THREADS
    return not_notified(waiters, count);
}

PyObject *
native_announce(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    struct board board;
    if (!native_has_arguments(nargs, 8))
        return NULL;
    uint64_t mask = PyLong_AsUnsignedLongLong(args[4]);
    off_t tick_at = PyLong_AsLong(args[6]);
    uint64_t tick = PyLong_AsUnsignedLongLong(args[7]);
    if (PyErr_Occurred())
        return NULL;
    if (!PyDict_Check(args[5]))
        return PyErr_Format(PyExc_TypeError, "the FIFOs are no dictionary");
    if (open_board(&board, args) < 0)
        return NULL;
    int is_waited_for;
    Py_BEGIN_ALLOW_THREADS
    /* Errors are ignored: the records are committed, and readers look periodically all the same. */
    (void)!pwrite(board.fd, &tick, sizeof tick, tick_at);
    is_waited_for = has_waiting((const unsigned char *)board.map.buf + board.states_at);
    Py_END_ALLOW_THREADS
    PyObject *left = is_waited_for ? notify_waiting(&board, mask, args[5]) : PyList_New(0);
    PyBuffer_Release(&board.map);
    return left;
}
