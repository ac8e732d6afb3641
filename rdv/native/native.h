/* Declarations that the parts of rdv.native share. */

#ifndef RDV_NATIVE_H
#define RDV_NATIVE_H

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>

/* Otherwise returns false, with TypeError set. */
int native_has_arguments(Py_ssize_t found, Py_ssize_t wanted);

/* Returns a descriptor; with OverflowError set when it is no C int. */
int native_descriptor(PyObject *value);

/* Otherwise returns false, with TypeError set. */
int native_is_list(PyObject *value);

PyObject *native_append(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *native_read(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *native_announce(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *native_guard(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *native_unguard(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *native_remap(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *native_lines(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *native_score_lines(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *native_json_look(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *native_columns(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *native_rows(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *native_spawn(PyObject *module, PyObject *const *args, Py_ssize_t nargs);

#endif
