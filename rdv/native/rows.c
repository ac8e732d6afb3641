/* Read the rows of a batch, JSON objects or arrays of plain numbers, into a matrix of doubles.
 *
 * Anything unusual (a missing column, a value that is no number, an escape, nested values) ends the
 * reading, and Python parses the batch instead. What is read here equals what Python makes of it. */

#include "native.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define CAPSULE "rdv.native.columns"

/* No name of a column, and a key that only Python can read. */
#define UNKNOWN -1
#define UNUSUAL -2

/* Digits that always fit into 64 bits, and bytes of a number that is read by Python's own strtod. */
#define DIGITS_MAX 19
#define NUMBER_BYTES_MAX 400

typedef struct {
    const char *text;
    Py_ssize_t size;
} Name;

typedef struct {
    Py_ssize_t count;
    int has_names;
    size_t mask;
    Name *names;
    int32_t *slots; /* by hash: the number of a column plus one, or 0 */
} Columns;

typedef struct {
    const char *at, *end;
} Text;

static size_t
hash_of(const char *text, Py_ssize_t size)
{
    uint64_t hash = 0xCBF29CE484222325u;
    for (Py_ssize_t i = 0; i < size; i++)
        hash = (hash ^ (unsigned char)text[i]) * 0x100000001B3u;
    return (size_t)(hash ^ hash >> 32);
}

/* Returns the number of the column with this name, or UNKNOWN; stores its slot, or a free one. */
static Py_ssize_t
find(const Columns *columns, const char *text, Py_ssize_t size, size_t *slot)
{
    for (*slot = hash_of(text, size) & columns->mask;; *slot = (*slot + 1) & columns->mask) {
        Py_ssize_t number = (Py_ssize_t)columns->slots[*slot] - 1;
        if (number < 0)
            return UNKNOWN;
        const Name *name = columns->names + number;
        if (name->size == size && memcmp(name->text, text, (size_t)size) == 0)
            return number;
    }
}

/* Returns whether a name is the same in JSON, without an escape. */
static int
is_plain_name(const char *text, Py_ssize_t size)
{
    for (Py_ssize_t i = 0; i < size; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == '"' || text[i] == '\\')
            return 0;
    return 1;
}

/* Fills in the names. Returns 0 when one occurs twice, or cannot be compared byte by byte. */
static int
take_names(Columns *columns, PyObject *names, char *texts)
{
    for (Py_ssize_t i = 0; i < columns->count; i++) {
        Py_ssize_t size;
        size_t slot;
        const char *text = PyUnicode_AsUTF8AndSize(PyList_GetItem(names, i), &size);
        if (!is_plain_name(text, size) || find(columns, text, size, &slot) >= 0)
            return 0;
        memcpy(texts, text, (size_t)size);
        columns->names[i] = (Name){texts, size};
        columns->slots[slot] = (int32_t)i + 1;
        texts += size;
    }
    return 1;
}

static void
free_columns(PyObject *capsule)
{
    PyMem_Free(PyCapsule_GetPointer(capsule, CAPSULE));
}

/* columns(names, count): what `rows` needs to know. The names are a list, or None where only arrays
 * are read. Returns None when names cannot be compared byte by byte. */
PyObject *
native_columns(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    if (!native_has_arguments(nargs, 2))
        return NULL;
    Py_ssize_t count = PyLong_AsSsize_t(args[1]), bytes = 0;
    if (count == -1 && PyErr_Occurred())
        return NULL;
    int has_names = args[0] != Py_None;
    if (has_names && !native_is_list(args[0]))
        return NULL;
    if (count < 0 || count > INT32_MAX / 4 || (has_names && PyList_Size(args[0]) != count))
        return PyErr_Format(PyExc_ValueError, "%zd is not the number of columns", count);
    for (Py_ssize_t i = 0; has_names && i < count; i++) {
        Py_ssize_t size;
        if (PyUnicode_AsUTF8AndSize(PyList_GetItem(args[0], i), &size) == NULL) {
            if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
                return NULL;
            PyErr_Clear();
            Py_RETURN_NONE;
        }
        bytes += size;
    }
    size_t slots = 4;
    while (slots < (size_t)count * 2)
        slots *= 2;
    size_t size = sizeof(Columns) + (size_t)count * sizeof(Name) + slots * sizeof(int32_t) + bytes;
    Columns *columns = PyMem_Calloc(1, size);
    if (columns == NULL)
        return PyErr_NoMemory();
    columns->count = count;
    columns->has_names = has_names;
    columns->mask = slots - 1;
    columns->names = (Name *)(columns + 1);
    columns->slots = (int32_t *)(columns->names + count);
    if (has_names && !take_names(columns, args[0], (char *)(columns->slots + slots))) {
        PyMem_Free(columns);
        Py_RETURN_NONE;
    }
    PyObject *capsule = PyCapsule_New(columns, CAPSULE, free_columns);
    if (capsule == NULL)
        PyMem_Free(columns);
    return capsule;
}

static int
is_digit(const Text *text)
{
    return text->at < text->end && *text->at >= '0' && *text->at <= '9';
}

static void
pass_space(Text *text)
{
    while (text->at < text->end
           && (*text->at == ' ' || *text->at == '\n' || *text->at == '\r' || *text->at == '\t'))
        text->at++;
}

static int
take(Text *text, char wanted)
{
    if (text->at == text->end || *text->at != wanted)
        return 0;
    text->at++;
    return 1;
}

/* Rounds as strtod does, from the text itself. */
static int
convert_slowly(const char *text, Py_ssize_t size, double *value)
{
    char copy[NUMBER_BYTES_MAX + 1];
    if (size > NUMBER_BYTES_MAX)
        return 0;
    memcpy(copy, text, (size_t)size);
    copy[size] = 0;
    *value = PyOS_string_to_double(copy, NULL, NULL);
    if (*value == -1.0 && PyErr_Occurred()) {
        PyErr_Clear();
        return 0;
    }
    /* Beyond the doubles of full precision, Python says whether JSON allows it, and what it is. */
    return fabs(*value) >= DBL_MIN && fabs(*value) <= DBL_MAX;
}

static const double TENS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                              1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
#if LDBL_MANT_DIG == 64
static const long double WIDE_TENS[]
    = {1e0L,  1e1L,  1e2L,  1e3L,  1e4L,  1e5L,  1e6L,  1e7L,  1e8L,  1e9L,
       1e10L, 1e11L, 1e12L, 1e13L, 1e14L, 1e15L, 1e16L, 1e17L, 1e18L, 1e19L,
       1e20L, 1e21L, 1e22L, 1e23L, 1e24L, 1e25L, 1e26L, 1e27L};
#endif

/* Stores mantissa * 10^exponent where one operation rounds it correctly; returns 0 elsewhere. */
static int
convert(uint64_t mantissa, long exponent, double *value)
{
#if FLT_EVAL_METHOD == 0
    if (exponent == 0) {
        *value = (double)mantissa;
        return 1;
    }
    /* Both are doubles without a rounding (Clinger). */
    if (mantissa <= (uint64_t)1 << 53 && exponent >= -22 && exponent <= 22) {
        *value = exponent < 0 ? (double)mantissa / TENS[-exponent]
                              : (double)mantissa * TENS[exponent];
        return 1;
    }
#endif
#if LDBL_MANT_DIG == 64
    /* The same with 64 bits. Rounding these to 53 gives the right double, except where they lie in
     * the middle of two: the exact value may be on either side of it. */
    if (mantissa && exponent >= -27 && exponent <= 27) {
        long double wide = exponent < 0 ? (long double)mantissa / WIDE_TENS[-exponent]
                                        : (long double)mantissa * WIDE_TENS[exponent];
        uint64_t bits;
        memcpy(&bits, &wide, sizeof bits);
        *value = (double)wide;
        return (bits & 0x7FF) != 0x400;
    }
#endif
    return 0;
}

/* Reads digits into the mantissa, which wraps beyond DIGITS_MAX; returns how many there are. */
static Py_ssize_t
read_digits(Text *text, uint64_t *mantissa)
{
    const char *begin = text->at;
    for (; is_digit(text); text->at++)
        *mantissa = *mantissa * 10 + (uint64_t)(*text->at - '0');
    return text->at - begin;
}

/* Returns 0 unless there is an exponent, as JSON has it. */
static int
read_exponent(Text *text, long *exponent)
{
    int is_negative = take(text, '-');
    if (!is_negative)
        take(text, '+');
    long shown = 0;
    const char *begin = text->at;
    for (; is_digit(text); text->at++)
        if (shown < 100000)
            shown = shown * 10 + (*text->at - '0');
    *exponent += is_negative ? -shown : shown;
    return text->at > begin;
}

static int
read_number(Text *text, double *value)
{
    const char *begin = text->at;
    int is_negative = take(text, '-'), is_integer = 1;
    const char *digits = text->at;
    uint64_t mantissa = 0;
    long exponent = 0;
    Py_ssize_t count = read_digits(text, &mantissa);
    if (count == 0 || (count > 1 && *digits == '0'))
        return 0;
    if (take(text, '.')) {
        is_integer = 0;
        Py_ssize_t places = read_digits(text, &mantissa);
        if (places == 0)
            return 0;
        count += places;
        exponent = -(long)places;
    }
    if (take(text, 'e') || take(text, 'E')) {
        is_integer = 0;
        if (!read_exponent(text, &exponent))
            return 0;
    }
    if (text->at - begin > NUMBER_BYTES_MAX)
        return 0;
    for (; count > DIGITS_MAX && (*digits == '0' || *digits == '.'); digits++)
        count -= *digits == '0';
    if (count > DIGITS_MAX)
        return convert_slowly(begin, text->at - begin, value);
    if (mantissa == 0)
        *value = 0;
    else if (!convert(mantissa, exponent, value))
        return convert_slowly(begin, text->at - begin, value);
    if (is_negative && !(is_integer && mantissa == 0)) /* the whole number -0 is 0 */
        *value = -*value;
    return 1;
}

static int
take_word(Text *text, const char *word, size_t size)
{
    if ((size_t)(text->end - text->at) < size || memcmp(text->at, word, size) != 0)
        return 0;
    text->at += size;
    return 1;
}

/* Reads a number, true, false, or null, which is NaN. */
static int
read_value(Text *text, double *value)
{
    if (text->at == text->end)
        return 0;
    switch (*text->at) {
    case 't':
        *value = 1;
        return take_word(text, "true", 4);
    case 'f':
        *value = 0;
        return take_word(text, "false", 5);
    case 'n':
        *value = NAN;
        return take_word(text, "null", 4);
    default:
        return read_number(text, value);
    }
}

/* Passes the rest of a string that is ASCII without escapes. */
static int
pass_string(Text *text)
{
    for (; text->at < text->end; text->at++) {
        unsigned char c = (unsigned char)*text->at;
        if (c == '"') {
            text->at++;
            return 1;
        }
        if (c < 0x20 || c >= 0x80 || c == '\\')
            return 0;
    }
    return 0;
}

/* Reads the rest of a key. Returns its column, UNKNOWN or UNUSUAL; `expected` is tried first. */
static Py_ssize_t
read_key(const Columns *columns, Text *text, Py_ssize_t expected)
{
    const Name *name = columns->names + expected;
    if (text->end - text->at > name->size && text->at[name->size] == '"'
        && memcmp(text->at, name->text, (size_t)name->size) == 0) {
        text->at += name->size + 1;
        return expected;
    }
    const char *begin = text->at;
    const char *quote = memchr(begin, '"', (size_t)(text->end - begin));
    if (quote == NULL)
        return UNUSUAL;
    size_t slot;
    Py_ssize_t column = find(columns, begin, quote - begin, &slot);
    if (column >= 0)
        text->at = quote + 1;
    else if (!pass_string(text))
        return UNUSUAL;
    return column;
}

/* Reads an object. `seen` has `stamp` for each column that it has got. */
static int
read_object(
    const Columns *columns, Text *text, double *row, uint32_t *seen, uint32_t stamp, int fills)
{
    Py_ssize_t expected = 0, found = 0;
    if (!columns->has_names || columns->count == 0)
        return 0;
    for (Py_ssize_t i = 0; fills && i < columns->count; i++)
        row[i] = NAN;
    pass_space(text);
    if (take(text, '}'))
        return fills;
    do {
        pass_space(text);
        if (!take(text, '"'))
            return 0;
        Py_ssize_t column = read_key(columns, text, expected);
        pass_space(text);
        if (column == UNUSUAL || !take(text, ':'))
            return 0;
        pass_space(text);
        double ignored;
        if (column == UNKNOWN) {
            if (take(text, '"') ? !pass_string(text) : !read_value(text, &ignored))
                return 0;
        } else {
            if (!read_value(text, row + column))
                return 0;
            found += seen[column] != stamp;
            seen[column] = stamp;
            expected = column + 1 < columns->count ? column + 1 : 0;
        }
        pass_space(text);
    } while (take(text, ','));
    return take(text, '}') && (fills || found == columns->count);
}

static int
read_array(const Columns *columns, Text *text, double *row)
{
    for (Py_ssize_t i = 0; i < columns->count; i++) {
        if (i && !take(text, ','))
            return 0;
        pass_space(text);
        if (!read_value(text, row + i))
            return 0;
        pass_space(text);
    }
    return columns->count && take(text, ']');
}

/* Reads all rows, which are of the same kind; returns 0 when Python has to. */
static int
read_rows(const Columns *columns, PyObject *rows, double *matrix, uint32_t *seen, int fills)
{
    char kind = 0;
    Py_ssize_t count = PyList_Size(rows);
    for (Py_ssize_t i = 0; i < count; i++, matrix += columns->count) {
        Py_buffer view;
        if (PyObject_GetBuffer(PyList_GetItem(rows, i), &view, PyBUF_SIMPLE) < 0)
            return 0;
        Text text = {view.buf, (const char *)view.buf + view.len};
        pass_space(&text);
        char first = text.at < text.end ? *text.at++ : 0;
        int is_read = 0;
        if (first == '{' && kind != '[')
            is_read = read_object(columns, &text, matrix, seen, (uint32_t)i + 1, fills);
        else if (first == '[' && kind != '{')
            is_read = read_array(columns, &text, matrix);
        kind = first;
        pass_space(&text);
        is_read = is_read && text.at == text.end;
        PyBuffer_Release(&view);
        if (!is_read)
            return 0;
    }
    return 1;
}

/* rows(columns, rows, matrix, fills): see __init__.py. */
PyObject *
native_rows(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    if (!native_has_arguments(nargs, 4) || !native_is_list(args[1]))
        return NULL;
    const Columns *columns = PyCapsule_GetPointer(args[0], CAPSULE);
    int fills = PyObject_IsTrue(args[3]), is_read = 0;
    Py_buffer view;
    if (columns == NULL || fills < 0
        || PyObject_GetBuffer(args[2], &view, PyBUF_WRITABLE) < 0)
        return NULL;
    Py_ssize_t wanted = PyList_Size(args[1]) * columns->count * (Py_ssize_t)sizeof(double);
    uint32_t *seen = PyMem_Calloc((size_t)columns->count + 1, sizeof *seen);
    if (view.len != wanted)
        PyErr_Format(PyExc_ValueError, "a matrix of %zd bytes instead of %zd", view.len, wanted);
    else if (seen == NULL)
        PyErr_NoMemory();
    else
        is_read = read_rows(columns, args[1], view.buf, seen, fills);
    PyMem_Free(seen);
    PyBuffer_Release(&view);
    return PyErr_Occurred() ? NULL : PyBool_FromLong(is_read);
}
