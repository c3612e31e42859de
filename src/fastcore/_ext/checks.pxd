# Checks of arguments that several settings share; each names the argument, its value and the limit.


cdef inline double positive(str name, object value) except -1.0:
    cdef double number = value
    if not number > 0.0:
        raise ValueError(f"{name} must be > 0 seconds, not {value!r}")
    return number


cdef inline double share(str name, object value) except -1.0:
    cdef double number = value
    if not 0.0 < number <= 1.0:
        raise ValueError(f"{name} must be > 0 and <= 1, not {value!r}")
    return number


cdef inline Py_ssize_t at_least_one(str name, object value) except -1:
    cdef Py_ssize_t number = value
    if number < 1:
        raise ValueError(f"{name} must be >= 1, not {value!r}")
    return number


cdef inline tuple matchers(str name, object given):
    """Exception types, and predicates of an exception, from what was given for `name`."""
    cdef list types = []
    cdef list predicates = []
    for item in given if isinstance(given, (tuple, list, set, frozenset)) else (given,):
        if isinstance(item, type) and issubclass(item, BaseException):
            types.append(item)
        elif callable(item) and not isinstance(item, type):
            predicates.append(item)
        else:
            raise TypeError(f"{name} takes exception types and predicates, not {item!r}")
    return tuple(types), tuple(predicates)


cdef inline bint matches(object error, tuple types_and_predicates) except -1:
    """Whether one of the types or predicates takes the exception."""
    if isinstance(error, types_and_predicates[0]):
        return True
    for predicate in types_and_predicates[1]:
        if predicate(error):
            return True
    return False
