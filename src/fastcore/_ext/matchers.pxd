# Which exceptions a circuit breaker's `exclude` and `only` name. Predicates are user code: never under a lock.


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
