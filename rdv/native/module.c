/* rdv.native._native: the hot path of the log in C. Each function handles the usual case and
 * reports any other one, which its Python counterpart then handles. See __init__.py. */

#include "native.h"

#include <limits.h>

#include "crc.h"

int
native_has_arguments(Py_ssize_t found, Py_ssize_t wanted)
{
    if (found == wanted)
        return 1;
    PyErr_Format(PyExc_TypeError, "%zd arguments instead of %zd", found, wanted);
    return 0;
}

int
native_descriptor(PyObject *value)
{
    long fd = PyLong_AsLong(value);
    if (fd >= INT_MIN && fd <= INT_MAX)
        return (int)fd;
    PyErr_SetString(PyExc_OverflowError, "this is no descriptor");
    return -1;
}

int
native_is_list(PyObject *value)
{
    if (PyList_Check(value))
        return 1;
    PyErr_SetString(PyExc_TypeError, "this is no list");
    return 0;
}

#define FAST(name) {#name, (PyCFunction)(void (*)(void))native_##name, METH_FASTCALL, NULL}

static PyMethodDef methods[] = {
    FAST(append),
    FAST(read),
    FAST(announce),
    FAST(guard),
    FAST(unguard),
    FAST(remap),
    FAST(lines),
    FAST(score_lines),
    FAST(json_look),
    FAST(columns),
    FAST(rows),
    FAST(spawn),
    {NULL, NULL, 0, NULL},
};

/* The same as in __init__.py. */
#define VERSION 6

static int
prepare(PyObject *module)
{
    crc_prepare();
    return PyModule_AddIntConstant(module, "version", VERSION);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, prepare},
    {0, NULL},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "rdv.native._native",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
