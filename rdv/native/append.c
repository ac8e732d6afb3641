/* The usual append to a partition: one batch after an end that is sound. All other cases (damage, a
 * full disk, a segment to be sealed) are left to rdv/stream/file/tail.py, which handles every case;
 * the order of the steps is that of FORMAT.md. */

#include "native.h"

#include <errno.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/uio.h>
#include <unistd.h>

#include "entry.h"

/* IOV_MAX, the maximum that one pwritev takes. */
#define VALUES_MAX 1024
/* The maximum number of attempts: a holder is done within microseconds, see SPINS in lock.py. */
#define SPINS 100
/* AHEAD_MAX_NS in rdv/stream/times.py. */
#define AHEAD_MAX_NS 60000000000

enum outcome { COMMITTED, LEFT_ALONE, FAILED };

struct batch {
    int lock_fd, values_fd, index_fd;
    struct iovec values[VALUES_MAX];
    struct entry entries[VALUES_MAX];
    int count;
    size_t size;
    /* The tag of the segment's first entry. */
    uint32_t first_word;
    /* Where the batch goes, as far as this process knows; and where it went. */
    int64_t index_size;
    uint64_t end;
    uint32_t crc;
    int64_t time_ns, wall_ns, now_ns;
    /* The limits from which on the segment must be sealed instead. */
    uint64_t end_max;
    int64_t index_size_max, roll_at_ns;
};

static int
take_lock(int fd)
{
    for (int spin = 0; spin < SPINS; spin++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return 1;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return 0;
        sched_yield();
    }
    return 0;
}

/* A lock file without a name does not exclude later processes: they lock another file. */
static int
is_named(int fd)
{
    struct stat stat;
    return fstat(fd, &stat) == 0 && stat.st_nlink > 0;
}

/* Other processes have appended since: continue after them, if their last entry is a plain one. An
 * index that has become smaller is damage. */
static int
catch_up(struct batch *batch, int64_t index_size)
{
    struct entry last;
    if (index_size < batch->index_size || index_size < ENTRY_BYTES || index_size % ENTRY_BYTES)
        return 0;
    if (pread(batch->index_fd, &last, ENTRY_BYTES, index_size - ENTRY_BYTES) != ENTRY_BYTES)
        return 0;
    if (!entries_intact(&last, 1)
        || last.flags != entry_word(batch->first_word, index_size / ENTRY_BYTES - 1))
        return 0;
    if (lseek(batch->values_fd, 0, SEEK_END) != (off_t)last.end)
        return 0;
    batch->index_size = index_size;
    batch->end = last.end;
    batch->crc = last.crc;
    if (last.time_ns > batch->time_ns)
        batch->time_ns = last.time_ns;
    return 1;
}

static void
fill_entries(struct batch *batch)
{
    uint64_t end = batch->end;
    uint32_t crc = batch->crc;
    int64_t number = batch->index_size / ENTRY_BYTES;
    batch->now_ns = batch->wall_ns < batch->time_ns ? batch->time_ns : batch->wall_ns;
    for (int i = 0; i < batch->count; i++) {
        const struct iovec *value = &batch->values[i];
        end += value->iov_len;
        crc = crc_of(crc, value->iov_base, value->iov_len);
        batch->entries[i] = (struct entry){
            .end = end, .time_ns = batch->now_ns, .length = (uint32_t)value->iov_len, .crc = crc,
            .flags = entry_word(batch->first_word, number + i)};
        entry_close(&batch->entries[i]);
    }
}

static enum outcome
write_locked(struct batch *batch)
{
    off_t index_size = lseek(batch->index_fd, 0, SEEK_END);
    if (index_size != batch->index_size) {
        if (!catch_up(batch, index_size))
            return LEFT_ALONE;
        fill_entries(batch);
    }
    /* The first condition: the last entry is from the future, so a new segment may have to
     * begin. */
    if ((uint64_t)batch->now_ns - (uint64_t)batch->wall_ns > AHEAD_MAX_NS
        || batch->now_ns > batch->roll_at_ns || batch->end >= batch->end_max
        || batch->index_size >= batch->index_size_max)
        return LEFT_ALONE;
    ssize_t written = batch->count == 1
        ? pwrite(batch->values_fd, batch->values[0].iov_base, batch->size, batch->end)
        : pwritev(batch->values_fd, batch->values, batch->count, batch->end);
    if (written < 0 || (size_t)written != batch->size)
        return LEFT_ALONE; /* nothing is committed: it can be written again */
    const char *entries = (const char *)batch->entries;
    ssize_t left = (ssize_t)batch->count * ENTRY_BYTES;
    off_t at = batch->index_size;
    while (left) {
        written = pwrite(batch->index_fd, entries, left, at);
        if (written <= 0) {
            errno = written ? errno : EIO;
            return FAILED; /* a leading part may be committed */
        }
        entries += written, at += written, left -= written;
    }
    return COMMITTED;
}

static enum outcome
commit(struct batch *batch)
{
    fill_entries(batch);
    if (!take_lock(batch->lock_fd))
        return LEFT_ALONE;
    enum outcome outcome = is_named(batch->lock_fd) ? write_locked(batch) : LEFT_ALONE;
    int error = errno;
    flock(batch->lock_fd, LOCK_UN);
    errno = error;
    return outcome;
}

/* Returns false when there are too many values for one call; -1 with an exception set. */
static int
take_values(struct batch *batch, PyObject *values)
{
    int is_list = PyList_Check(values);
    if (!is_list && !PyTuple_Check(values)) {
        PyErr_SetString(PyExc_TypeError, "the values are neither a list nor a tuple");
        return -1;
    }
    Py_ssize_t count = is_list ? PyList_Size(values) : PyTuple_Size(values);
    if (count < 0)
        return -1;
    if (count == 0 || count > VALUES_MAX)
        return 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *value = is_list ? PyList_GetItem(values, i) : PyTuple_GetItem(values, i);
        char *data;
        Py_ssize_t size;
        if (value == NULL || PyBytes_AsStringAndSize(value, &data, &size) < 0)
            return -1;
        batch->values[i] = (struct iovec){data, size};
        batch->size += size;
    }
    batch->count = (int)count;
    return 1;
}

PyObject *
native_append(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    struct batch batch;
    if (!native_has_arguments(nargs, 13))
        return NULL;
    batch.lock_fd = native_descriptor(args[0]);
    batch.values_fd = native_descriptor(args[1]);
    batch.index_fd = native_descriptor(args[2]);
    batch.index_size = PyLong_AsLongLong(args[4]);
    batch.end = PyLong_AsUnsignedLongLong(args[5]);
    batch.crc = (uint32_t)PyLong_AsUnsignedLong(args[6]);
    batch.time_ns = PyLong_AsLongLong(args[7]);
    batch.wall_ns = PyLong_AsLongLong(args[8]);
    batch.end_max = PyLong_AsUnsignedLongLong(args[9]);
    batch.index_size_max = PyLong_AsLongLong(args[10]);
    batch.roll_at_ns = PyLong_AsLongLong(args[11]);
    batch.first_word = (uint32_t)PyLong_AsUnsignedLong(args[12]);
    batch.size = 0;
    if (PyErr_Occurred())
        return NULL;
    int is_ours = take_values(&batch, args[3]);
    if (is_ours < 0)
        return NULL;
    if (!is_ours)
        Py_RETURN_NONE;
    enum outcome outcome;
    int error;
    Py_BEGIN_ALLOW_THREADS
    outcome = commit(&batch);
    error = errno;
    Py_END_ALLOW_THREADS
    if (outcome == LEFT_ALONE)
        Py_RETURN_NONE;
    if (outcome == FAILED) {
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return Py_BuildValue("LKkL", (long long)batch.index_size,
        (unsigned long long)(batch.end + batch.size),
        (unsigned long)batch.entries[batch.count - 1].crc, (long long)batch.now_ns);
}
