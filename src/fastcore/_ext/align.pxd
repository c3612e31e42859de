"""Which items of one array become which of another: the fewest items touched: header only, for patch.

An alignment is the pairs of indices of items that stay as they are or are changed where they stand; of the others,
those of the old array are removed and those of the new one added. A named object is not made of one with another name.

User code can run where document.pxd says.
"""

from cpython.bool cimport PyBool_Check
from cpython.unicode cimport PyUnicode_CheckExact

from fastcore._ext.document cimport Py_LeaveRecursiveCall, check_key, enter, held, is_dict, is_list, plain

cdef enum:
    # Up to this product of lengths the alignment is the best one; beyond it, only items that are there once are sought.
    MAX_CELLS = 40_000


cdef inline list aligned(list old, list new, int depth):
    """The pairs of indices, both increasing."""
    cdef dict ids = {}
    cdef list a = [], b = [], straight = [], best
    cdef Py_ssize_t i
    for item in old:
        a.append((ids.setdefault(frozen(item, depth), len(ids)), identity(item)))
    for item in new:
        b.append((ids.setdefault(frozen(item, depth), len(ids)), identity(item)))
    for i in range(min(len(a), len(b))):
        straight.append((i, i))
    best = fewest(a, b) if len(a) * len(b) <= MAX_CELLS else once(a, b)
    return best if cost(a, b, best) < cost(a, b, straight) else straight


cdef inline object identity(object item):
    """What a container is called, so that it is changed only into one that is called the same; None for a scalar."""
    item = plain(item)
    if is_dict(item):
        name = plain((<dict>item).get("name"))
        return ("named", name) if PyUnicode_CheckExact(name) else "object"
    return "array" if is_list(item) else None


cdef inline int change(tuple x, tuple y) except -1:
    """What it costs to make one item of another, where to remove or to add one costs 2."""
    if x[0] == y[0]:
        return 0
    if x[1] is None or y[1] is None:
        return 2
    return 3 if x[1] == y[1] else 5


cdef inline object frozen(object value, int depth):
    """Something to look up that is equal exactly for equal documents."""
    cdef list parts
    value = plain(value)
    if is_dict(value):
        parts = []
        enter(depth)
        try:
            for name, item in (<dict>value).items():
                check_key(name)
                parts.append((plain(name), frozen(item, depth + 1)))
        finally:
            Py_LeaveRecursiveCall()
        return frozenset(parts)
    if is_list(value):
        parts = []
        enter(depth)
        try:
            for item in held(<list>value):
                parts.append(frozen(item, depth + 1))
        finally:
            Py_LeaveRecursiveCall()
        return tuple(parts), "array"
    if PyBool_Check(value):
        return (value,)
    return value if value == value else (None,)


cdef inline Py_ssize_t cost(list a, list b, list pairs) except -1:
    cdef Py_ssize_t total = 2 * (len(a) + len(b)), i, j
    for i, j in pairs:
        total -= 4 - change(a[i], b[j])
    return total


cdef inline list fewest(list a, list b):
    """The best alignment: edit distance over whole items."""
    cdef list table = [list(range(0, 2 * len(b) + 2, 2))], above, row, pairs = []
    cdef Py_ssize_t i, j, least
    for i in range(len(a)):
        above, row = table[i], [2 * i + 2]
        for j in range(len(b)):
            least = <Py_ssize_t>above[j] + change(a[i], b[j])
            least = min(least, <Py_ssize_t>above[j + 1] + 2, <Py_ssize_t>row[j] + 2)
            row.append(least)
        table.append(row)
    i, j = len(a), len(b)
    while i and j:
        least = (<list>table[i])[j]
        if least == <Py_ssize_t>(<list>table[i - 1])[j - 1] + change(a[i - 1], b[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif least == <Py_ssize_t>(<list>table[i - 1])[j] + 2:
            i -= 1
        else:
            j -= 1
    pairs.reverse()
    return pairs


cdef inline list once(list a, list b):
    """Items that are once in each array keep their order as far as they can; what lies between is paired in order."""
    from bisect import bisect_left
    from collections import Counter
    cdef list ends = [], chain = [], tops = [], kept, pairs = []
    cdef Py_ssize_t i, j, x, y, at, link
    places = {token: j for j, (token, _) in enumerate(b)}
    mine, theirs = Counter([token for token, _ in a]), Counter([token for token, _ in b])
    for i, (token, _) in enumerate(a):
        if mine[token] != 1 or theirs[token] != 1:
            continue
        at = bisect_left(ends, places[token])
        chain.append((i, places[token], tops[at - 1] if at else -1))
        if at == len(ends):
            ends.append(places[token])
            tops.append(len(chain) - 1)
        else:
            ends[at], tops[at] = places[token], len(chain) - 1
    kept = [(len(a), len(b))]
    link = tops[-1] if tops else -1
    while link >= 0:
        i, j, link = chain[link]
        kept.append((i, j))
    i = j = 0
    for x, y in reversed(kept):
        pairs += zip(range(i, x), range(j, y))
        if x < len(a):
            pairs.append((x, y))
        i, j = x + 1, y + 1
    return pairs
