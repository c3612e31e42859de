# Passing a call on as it came. A Cython method with *args and **kwargs packs a tuple and a dict only for the callee to
# unpack them; here the arguments stay in the caller's array (the vectorcall protocol), which is three quarters of the
# cost of a guard.
from cpython.object cimport PyObject, PyTypeObject

ctypedef object (*VectorCall)(object self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
ctypedef object (*Forwarder)(object self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)

cdef extern from *:
    """
    /* Gives `type` a method that takes its arguments as an array. For the initialisation of a module only. */
    static int fastcore_add_method(PyTypeObject *type, PyMethodDef *method, const char *name, const char *doc,
                                   PyObject *(*forwarder)(PyObject *, PyObject *const *, Py_ssize_t, PyObject *)) {
        method->ml_name = name;
        method->ml_meth = (PyCFunction)(void (*)(void))forwarder;
        method->ml_flags = METH_FASTCALL | METH_KEYWORDS;
        method->ml_doc = doc;
        PyObject *descriptor = PyDescr_NewMethod(type, method);
        if (descriptor == NULL)
            return -1;
        int result = PyDict_SetItemString(type->tp_dict, name, descriptor);
        Py_DECREF(descriptor);
        PyType_Modified(type);
        return result;
    }

    /* Makes calls of `type`'s instances go to the function that each keeps at `offset`, and methods out of them in
       classes. For the initialisation of a module only, before there are instances. */
    static void fastcore_call_by_vector(PyTypeObject *type, Py_ssize_t offset) {
        type->tp_vectorcall_offset = offset;
        type->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR;
        PyType_Modified(type);
    }
    """
    void call_by_vector "fastcore_call_by_vector"(PyTypeObject *type, Py_ssize_t offset)
    Py_ssize_t PyVectorcall_NARGS(size_t nargsf)
    ctypedef struct PyMethodDef:
        pass
    int add_method "fastcore_add_method"(
        PyTypeObject *type, PyMethodDef *method, const char *name, const char *doc, Forwarder forwarder
    ) except -1
    object PyObject_Vectorcall(object callable, PyObject *const *args, size_t nargs, PyObject *kwnames)
