"""Quantities of Kubernetes, such as `500m` and `1Gi`: header only, for diff and covers.

Asked only about values that differ. User code can run in a mapping given as `quantities`, and in its patterns.
"""


cdef inline object amount(object value):
    """A quantity in billionths, rounded up as Kubernetes does it; None for what is no quantity."""
    import re
    cdef object ten = 10, number, places  # Python's integers: C's would overflow
    if type(value) is float or (type(value) is int and value.bit_length() <= 128):
        value = repr(value)
    if not isinstance(value, str) or len(value) > 64:
        return None
    found = re.fullmatch(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:([eE])([+-]?[0-9]{1,3})|([numkMGTPE]|[KMGTPE]i|))", value)
    if found is None:
        return None
    sign, whole, fraction, _, exponent, suffix = found.groups("")
    if not whole + fraction:
        return None
    number, places = int(whole + fraction), len(fraction)
    if exponent:
        places -= int(exponent) + 9
    else:
        number *= scale(suffix)
    number = -(-number // ten**places) if places > 0 else number * ten**-places
    return -number if sign == "-" else number


cdef inline object scale(str suffix):
    """What a suffix makes of a number, in billionths."""
    cdef object ten = 10, two = 2, power
    if len(suffix) == 2:
        power = "KMGTPE".index(suffix[0]) + 1
        return ten**9 * two ** (10 * power)
    power = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"].index(suffix)
    return ten ** (3 * power)


cdef inline bint same_amount(object a, object b) except -1:
    """Whether two values would be equal if they were quantities."""
    mine = amount(a)
    return mine is not None and mine == amount(b)


cdef inline bint is_quantity(dict quantities, object kind, list path) except -1:
    """Whether a quantity stands at the path in a document of the kind."""
    cdef list parts
    cdef Py_ssize_t i, above
    cdef bint anywhere
    for name in (kind, "*"):
        for pattern in quantities.get(name, ()) if isinstance(name, str) else ():
            parts = pattern.split(".") if isinstance(pattern, str) else list(pattern)
            anywhere = parts[:1] == ["**"]
            if anywhere:
                del parts[0]
            above = len(path) - len(parts)
            if above < 0 or (above and not anywhere):
                continue
            for i in range(len(parts)):
                if parts[i] != "*" and parts[i] != path[above + i]:
                    break
            else:
                return True
    return False
