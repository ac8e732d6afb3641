/* Work on many lines at once: check whether each value of a block is a line, and make the score
 * lines of a batch. */

#include "native.h"

#include <string.h>

#define NO_LINES 0
#define ASCII_LINES 1
#define OTHER_LINES 2

static int
is_ascii(const char *data, size_t size)
{
    uint64_t word, seen = 0;
    for (; size >= 8; size -= 8, data += 8) {
        memcpy(&word, data, 8);
        seen |= word;
    }
    for (; size; size--, data++)
        seen |= (uint64_t)(unsigned char)*data << 56 | (unsigned char)*data;
    return !(seen & 0x8080808080808080u);
}

PyObject *
native_lines(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    char *data;
    Py_ssize_t size, start = 0;
    if (!native_has_arguments(nargs, 2) || PyBytes_AsStringAndSize(args[0], &data, &size) < 0
        || !native_is_list(args[1]))
        return NULL;
    Py_ssize_t count = PyList_Size(args[1]);
    for (Py_ssize_t i = 0; i < count; i++) {
        Py_ssize_t stop = PyLong_AsSsize_t(PyList_GetItem(args[1], i));
        if (stop == -1 && PyErr_Occurred())
            return NULL;
        if (stop <= start || stop > size
            || memchr(data + start, '\n', stop - start) != data + stop - 1)
            return PyLong_FromLong(NO_LINES);
        start = stop;
    }
    if (start != size)
        return PyLong_FromLong(NO_LINES);
    return PyLong_FromLong(is_ascii(data, size) ? ASCII_LINES : OTHER_LINES);
}

static const char HEAD[] = "{\"v\":1,\"id\":\"";
static const char TAIL[] = "}\n";

/* Returns whether the text needs no escaping in JSON. */
static int
is_plain(const char *text, Py_ssize_t size)
{
    for (Py_ssize_t i = 0; i < size; i++) {
        unsigned char c = text[i];
        if (c < 0x20 || c >= 0x7F || c == '"' || c == '\\')
            return 0;
    }
    return 1;
}

static char *
put(char *to, const char *from, size_t size)
{
    memcpy(to, from, size);
    return to + size;
}

/* Returns one line; NULL with no exception set when its id needs escaping in JSON. */
static PyObject *
score_line(PyObject *id, PyObject *middle, PyObject *result)
{
    Py_ssize_t id_size, middle_size, result_size;
    char *middle_text, *result_text;
    const char *id_text = PyUnicode_AsUTF8AndSize(id, &id_size);
    if (id_text == NULL || PyBytes_AsStringAndSize(middle, &middle_text, &middle_size) < 0
        || PyBytes_AsStringAndSize(result, &result_text, &result_size) < 0
        || !is_plain(id_text, id_size))
        return NULL;
    size_t size = sizeof HEAD - 1 + id_size + 1 + middle_size + result_size + sizeof TAIL - 1;
    PyObject *line = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (line == NULL)
        return NULL;
    char *to = put(PyBytes_AsString(line), HEAD, sizeof HEAD - 1);
    to = put(to, id_text, id_size);
    to = put(to, "\"", 1);
    to = put(to, middle_text, middle_size);
    to = put(to, result_text, result_size);
    put(to, TAIL, sizeof TAIL - 1);
    return line;
}

PyObject *
native_score_lines(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    if (!native_has_arguments(nargs, 3) || !native_is_list(args[0]) || !native_is_list(args[1])
        || !native_is_list(args[2]))
        return NULL;
    Py_ssize_t count = PyList_Size(args[0]);
    if (PyList_Size(args[1]) != count || PyList_Size(args[2]) != count)
        return PyErr_Format(PyExc_ValueError, "lists of different lengths");
    PyObject *lines = PyList_New(count);
    for (Py_ssize_t i = 0; lines != NULL && i < count; i++) {
        PyObject *line = score_line(
            PyList_GetItem(args[0], i), PyList_GetItem(args[1], i), PyList_GetItem(args[2], i));
        if (line == NULL)
            Py_CLEAR(lines);
        else
            PyList_SetItem(lines, i, line);
    }
    if (lines == NULL && !PyErr_Occurred())
        Py_RETURN_NONE;
    return lines;
}
