/* A check of a JSON text: how deep it nests and how large its numbers are. */

#include "native.h"

#include <string.h>

#define PLAIN 0
#define LARGE_FLOAT 1
#define WIDE_INTEGER 2
#define TOO_DEEP 3

/* 2^64 and -2^63 - 1 in digits, and the number of integer digits from which a number without an
 * exponent may not be finite. */
static const char ABOVE_POSITIVE[] = "18446744073709551616";
static const char ABOVE_NEGATIVE[] = "9223372036854775809";
#define FINITE_DIGITS 300

/* Returns whether `size` digits without a leading zero are a smaller number than `above`. */
static int
is_below(const char *digits, Py_ssize_t size, const char *above)
{
    Py_ssize_t length = (Py_ssize_t)strlen(above);
    return size < length || (size == length && memcmp(digits, above, (size_t)size) < 0);
}

static int
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Returns the position after the number that begins at `at`, and stores its kind in `kind`. */
static const char *
pass_number(const char *at, const char *end, int *kind)
{
    int is_negative = *at == '-';
    const char *digits = at + is_negative, *stop = digits;
    while (stop < end && is_digit(*stop))
        stop++;
    Py_ssize_t size = stop - digits;
    int is_integer = 1;
    *kind = PLAIN;
    if (stop < end && *stop == '.') {
        is_integer = 0;
        for (stop++; stop < end && is_digit(*stop);)
            stop++;
    }
    if (stop < end && (*stop == 'e' || *stop == 'E')) {
        *kind = LARGE_FLOAT;
        for (stop++; stop < end && (is_digit(*stop) || *stop == '+' || *stop == '-');)
            stop++;
        return stop;
    }
    if (is_integer && !is_below(digits, size, is_negative ? ABOVE_NEGATIVE : ABOVE_POSITIVE))
        *kind = WIDE_INTEGER;
    else if (size >= FINITE_DIGITS)
        *kind = LARGE_FLOAT;
    return stop;
}

/* Returns the position after the string whose first quote is before `at`. */
static const char *
pass_string(const char *at, const char *end)
{
    while (at < end && *at != '"')
        at += *at == '\\' ? 2 : 1;
    return at + 1;
}

PyObject *
native_json_look(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    char *text;
    Py_ssize_t size;
    if (!native_has_arguments(nargs, 2) || PyBytes_AsStringAndSize(args[0], &text, &size) < 0)
        return NULL;
    long depth = 0, depth_max = PyLong_AsLong(args[1]);
    if (depth_max == -1 && PyErr_Occurred())
        return NULL;
    const char *at = text, *end = text + size;
    int found = PLAIN, kind;
    while (at < end) {
        char c = *at;
        if (c == '"') {
            at = pass_string(at + 1, end);
        } else if (is_digit(c) || c == '-') {
            const char *begin = at;
            at = pass_number(at, end, &kind);
            if (kind == WIDE_INTEGER)
                return PyLong_FromSsize_t((begin - text) << 2 | WIDE_INTEGER);
            found |= kind;
        } else {
            if ((c == '[' || c == '{') && ++depth > depth_max)
                return PyLong_FromSsize_t((at - text) << 2 | TOO_DEEP);
            depth -= c == ']' || c == '}';
            at++;
        }
    }
    return PyLong_FromLong(found);
}
