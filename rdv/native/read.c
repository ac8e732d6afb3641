/* The usual read from a partition: the next records, all of them sound. All other cases (damage,
 * seals, records given up) are left to rdv/stream/file/reader.py, which handles every case. */

#include "native.h"

#include <errno.h>
#include <unistd.h>

#include "entry.h"

#define ENTRIES_MAX 2048

struct run {
    int index_fd, values_fd;
    int64_t number;
    uint64_t start;
    uint32_t crc, first_word;
    int64_t time_ns;
    int64_t records_max;
    uint64_t bytes_max;
    struct entry entries[ENTRIES_MAX];
    int count;
};

/* Returns how many entries follow; -1 when they are not plain ones, or the index has been cut before
 * the position. */
static int
read_entries(struct run *run)
{
    size_t wanted = (size_t)run->records_max * ENTRY_BYTES;
    ssize_t got = pread(run->index_fd, run->entries, wanted, run->number * ENTRY_BYTES);
    if (got < 0)
        return -1;
    int count = (int)(got / ENTRY_BYTES);
    if (count == 0)
        return lseek(run->index_fd, 0, SEEK_END) < run->number * ENTRY_BYTES ? -1 : 0;
    if (!entries_intact(run->entries, count))
        return -1;
    /* Each must be the entry that belongs there, and follow from the one before it. */
    uint64_t end = run->start;
    int64_t time_ns = run->time_ns;
    uint32_t word = entry_word(run->first_word, run->number);
    for (int i = 0; i < count; i++, word += TAG_STEP) {
        const struct entry *entry = &run->entries[i];
        end += entry->length;
        if (entry->flags != word || entry->end != end || entry->time_ns < time_ns)
            return -1;
        time_ns = entry->time_ns;
    }
    return end - run->start > run->bytes_max ? -1 : count;
}

/* Returns the values, or NULL: with an exception set, or because they are not sound. */
static PyObject *
read_values(const struct run *run)
{
    const struct entry *last = &run->entries[run->count - 1];
    size_t size = last->end - run->start, done = 0;
    PyObject *values = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (values == NULL)
        return NULL;
    unsigned char *data = (unsigned char *)PyBytes_AsString(values);
    int is_sound;
    Py_BEGIN_ALLOW_THREADS
    while (done < size) {
        ssize_t got = pread(run->values_fd, data + done, size - done, run->start + done);
        if (got <= 0)
            break;
        done += got;
    }
    is_sound = done == size && crc_of(run->crc, data, size) == last->crc;
    Py_END_ALLOW_THREADS
    if (!is_sound)
        Py_CLEAR(values);
    return values;
}

/* Returns the time of each append: records of one append have one time, and share one object. */
static PyObject *
times_of(const struct run *run)
{
    PyObject *times = PyList_New(run->count), *time = NULL;
    for (int i = 0; times != NULL && i < run->count; i++) {
        if (i && run->entries[i].time_ns == run->entries[i - 1].time_ns)
            Py_INCREF(time);
        else
            time = PyLong_FromLongLong(run->entries[i].time_ns);
        if (time == NULL)
            Py_CLEAR(times);
        else
            PyList_SetItem(times, i, time);
    }
    return times;
}

static PyObject *
stops_of(const struct run *run)
{
    PyObject *stops = PyList_New(run->count);
    for (int i = 0; stops != NULL && i < run->count; i++) {
        PyObject *stop = PyLong_FromUnsignedLongLong(run->entries[i].end - run->start);
        if (stop == NULL)
            Py_CLEAR(stops);
        else
            PyList_SetItem(stops, i, stop);
    }
    return stops;
}

PyObject *
native_read(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    struct run run;
    if (!native_has_arguments(nargs, 9))
        return NULL;
    run.index_fd = native_descriptor(args[0]);
    run.values_fd = native_descriptor(args[1]);
    run.number = PyLong_AsLongLong(args[2]);
    run.start = PyLong_AsUnsignedLongLong(args[3]);
    run.crc = (uint32_t)PyLong_AsUnsignedLong(args[4]);
    int is_beyond;
    run.records_max = PyLong_AsLongLongAndOverflow(args[5], &is_beyond);
    run.bytes_max = PyLong_AsUnsignedLongLong(args[6]);
    run.time_ns = PyLong_AsLongLong(args[7]);
    run.first_word = (uint32_t)PyLong_AsUnsignedLong(args[8]);
    if (PyErr_Occurred())
        return NULL;
    if (is_beyond > 0 || run.records_max > ENTRIES_MAX)
        run.records_max = ENTRIES_MAX;
    if (run.records_max < 0 || run.number < 0 || run.number > INT64_MAX / ENTRY_BYTES)
        return PyErr_Format(PyExc_ValueError, "there are no such entries");
    Py_BEGIN_ALLOW_THREADS
    run.count = read_entries(&run);
    Py_END_ALLOW_THREADS
    if (run.count == 0)
        Py_RETURN_NONE;
    if (run.count < 0)
        Py_RETURN_FALSE;
    PyObject *values = read_values(&run);
    if (values == NULL) {
        if (PyErr_Occurred())
            return NULL;
        Py_RETURN_FALSE;
    }
    const struct entry *last = &run.entries[run.count - 1];
    /* "N" takes the references in any case, and fails when one of them is NULL. */
    return Py_BuildValue("iNNNKkN", run.count, times_of(&run), stops_of(&run), values,
        (unsigned long long)last->end, (unsigned long)last->crc,
        PyBool_FromLong(run.count < run.records_max));
}
