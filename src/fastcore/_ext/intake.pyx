# cython: freethreading_compatible=True
"""Takes objects in: checks the text, finds whose it is and leaves out what nobody reads, in one pass.

Also takes lists and events of watches apart. No user code runs here: everything is bytes.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.string cimport memcmp, memcpy, memset

from typing import NamedTuple

from fastcore._ext.frozen cimport decode_slice
from fastcore._ext.jsonscan cimport (
    MAX_LEVELS, Place, PyBytes_FromStringAndSize, Scan, complain, fail, next_byte, pass_space, pass_value, scan_end,
    scan_more, scan_name, scan_over, scan_value,
)
from fastcore._ext.paths cimport find, member_at, string_at
from fastcore.errors import ObjectError


class Head(NamedTuple):
    """Whose object it is: what `metadata` says, "" where it says nothing."""

    namespace: str
    name: str
    uid: str
    revision: str


class ListPage(NamedTuple):
    """A list as a server sends it, taken apart: `items` are the objects as they stand in it."""

    revision: str
    continue_token: str
    remaining: int
    api_version: str
    kind: str
    items: list


class WatchEvent(NamedTuple):
    """An event of a watch, taken apart: its type, the object as it stands in it, and its resourceVersion."""

    type: str
    object: bytes
    revision: str


cdef struct Cut:
    Place begin
    Place end

cdef struct Run:                # of members that are left out
    Place after                 # the last one that stays, or the opening bracket
    Place comma
    bint any                    # whether one has stayed
    bint open                   # whether one has gone since

cdef struct Intake:
    Scan scan
    Identity *who
    const Rule *rules
    const char *manager
    Py_ssize_t manager_length
    Cut *cuts
    Py_ssize_t count
    Py_ssize_t room

cdef enum:
    ROOT = 0
    METADATA = 1
    ELSEWHERE = 2


@cython.final
@cython.no_gc
cdef class Rules:
    """What of an object stays: paths as tuples of names, compiled."""

    def __cinit__(self, tuple drop, object keep, str manager, str api_version, str kind):
        cdef dict tree = {"strict": keep is not None, "drops": False, "inner": {}}
        for path in keep or ():
            plant(tree, path)
        for path in drop:
            prune(tree, path)
        self.manager = manager.encode() if manager else None
        if self.manager is not None:
            ours = tree["inner"].setdefault("metadata", {"strict": False, "drops": False, "inner": {}})
            ours["inner"]["managedFields"] = {"strict": False, "drops": False, "inner": {}, "ours": True}
        self.version = b'"apiVersion":"%s",' % api_version.encode() if api_version else b""
        self.kind = b'"kind":"%s",' % kind.encode() if kind else b""
        self.compile(tree)

    def __dealloc__(self):
        PyMem_Free(self.rules)

    cdef int compile(self, dict tree) except -1:
        """Lay the tree out breadth first, so that the inner rules of each rule are neighbours."""
        cdef list nodes = [(b"", tree)]
        cdef Py_ssize_t i = 0
        cdef Rule *rule
        while i < len(nodes):
            nodes += [(name.encode(), inner) for name, inner in nodes[i][1]["inner"].items()]
            i += 1
        self.names = [name for name, _ in nodes]
        self.rules = <Rule *>PyMem_Malloc(len(nodes) * sizeof(Rule))
        if self.rules == NULL:
            raise MemoryError
        cdef int first = 1
        for i in range(len(nodes)):
            rule = &self.rules[i]
            name, node = nodes[i]
            rule.name, rule.length = PyBytes_AS_STRING(self.names[i]), len(name)
            rule.first, rule.count = first, len(node["inner"])
            rule.drops, rule.strict, rule.ours = node["drops"], node["strict"], node.get("ours", False)
            first += rule.count
        return 0


cdef int plant(dict tree, tuple path) except -1:
    """Keep what is at `path`, whole."""
    cdef dict node = tree
    for name in path:
        if not node["strict"]:
            return 0
        node = node["inner"].setdefault(name, {"strict": True, "drops": False, "inner": {}})
    node["strict"], node["inner"] = False, {}
    return 0


cdef int prune(dict tree, tuple path) except -1:
    """Drop what is at `path`, of what is kept."""
    cdef dict node = tree
    for name in path:
        if name not in node["inner"]:
            if node["strict"]:
                return 0
            node["inner"][name] = {"strict": False, "drops": False, "inner": {}}
        node = node["inner"][name]
    node["drops"] = True
    return 0


cdef int cut(Intake *intake, Place begin, Place end) except -1:
    cdef Cut *grown
    if intake.count == intake.room:
        grown = <Cut *>PyMem_Realloc(intake.cuts, (2 * intake.room + 8) * sizeof(Cut))
        if grown == NULL:
            raise MemoryError
        intake.cuts, intake.room = grown, 2 * intake.room + 8
    intake.cuts[intake.count].begin, intake.cuts[intake.count].end = begin, end
    intake.count += 1
    return 0


cdef inline int stays(Intake *intake, Run *run, Place begin) except -1:
    """The member that begins here stays: close the run before it, but leave one comma."""
    if run.open:
        cut(intake, run.after, run.comma if run.any else begin)
        run.open = False
    run.any = True
    return 0


cdef inline const Rule *rule_for(const Rule *rules, const Rule *rule, Place name, Py_ssize_t length) noexcept:
    cdef const Rule *inner = rules + rule.first
    cdef int i
    for i in range(rule.count):
        if inner[i].length == length and memcmp(inner[i].name, name, length) == 0:
            return inner + i
    return NULL


cdef inline bint named(Place name, Py_ssize_t length, const char *wanted, Py_ssize_t size) noexcept:
    return length == size and memcmp(name, wanted, size) == 0


cdef Place *noted(Identity *who, int where, Place name, Py_ssize_t length) noexcept:
    """Where to note the value of this member, NULL if nobody asks."""
    if where == ROOT:
        if named(name, length, b"metadata", 8):
            return &who.metadata
        if named(name, length, b"kind", 4):
            return &who.kind
        return &who.version if named(name, length, b"apiVersion", 10) else NULL
    if named(name, length, b"name", 4):
        return &who.name
    if named(name, length, b"namespace", 9):
        return &who.namespace
    if named(name, length, b"uid", 3):
        return &who.uid
    return &who.revision if named(name, length, b"resourceVersion", 15) else NULL


cdef bint walk(Intake *intake, const Rule *rule, int level, int where) except *:
    """Past a value that rules or the identity concern; False if it is wrong."""
    cdef Scan *scan = &intake.scan
    cdef unsigned char c = next_byte(scan)
    if rule.ours:
        return walk_ours(intake, level)
    if c == c"{" and level < MAX_LEVELS and (rule.count or rule.strict or where != ELSEWHERE):
        return walk_members(intake, rule, level, where)
    if c == c"[" and level < MAX_LEVELS and rule.count:
        return walk_items(intake, rule, level)
    return scan_value(scan, level)


cdef bint walk_members(Intake *intake, const Rule *rule, int level, int where) except *:
    cdef Scan *scan = &intake.scan
    cdef Run run
    cdef const Rule *inner
    cdef Place begin
    cdef Place *note
    cdef Py_ssize_t length
    cdef int flags = 0, more = 1
    run.any = run.open = False
    scan.at += 1
    run.after = run.comma = scan.at
    if next_byte(scan) == c"}":
        scan.at += 1
        return True
    while more > 0:
        next_byte(scan)
        begin = scan.at
        if not scan_name(scan, &flags):
            return False
        length = scan.named - begin - 2
        next_byte(scan)
        note = noted(intake.who, where, begin + 1, length) if where != ELSEWHERE else NULL
        if note != NULL:
            if note[0] != NULL:
                return fail(scan, begin, b"this member is there twice")
            note[0] = scan.at
        inner = rule_for(intake.rules, rule, begin + 1, length)
        if inner == NULL and not rule.strict and note != &intake.who.metadata:
            stays(intake, &run, begin)
            if not scan_value(scan, level + 1):
                return False
        elif inner == NULL and not rule.strict:
            stays(intake, &run, begin)
            if not walk_plain(intake, level + 1):
                return False
        elif inner == NULL or inner.drops or (inner.ours and not has_ours(intake, level + 1)):
            if scan.wrong != NULL or not scan_value(scan, level + 1):
                return False
            run.open = True
        else:
            stays(intake, &run, begin)
            if not walk(intake, inner, level + 1, METADATA if note == &intake.who.metadata else ELSEWHERE):
                return False
        if not run.open:
            run.after = scan.at
        next_byte(scan)
        run.comma = scan.at
        more = scan_more(scan, c"}")
    if more == 0 and run.open:
        cut(intake, run.after, scan.at - 1)
    return more == 0


cdef bint walk_plain(Intake *intake, int level) except *:
    """Past metadata without rules of its own."""
    cdef Rule none
    memset(&none, 0, sizeof(Rule))
    return walk(intake, &none, level, METADATA)


cdef bint walk_items(Intake *intake, const Rule *rule, int level) except *:
    """A list on the way of a path stands for each of its items."""
    cdef Scan *scan = &intake.scan
    cdef int more = 1
    scan.at += 1
    if next_byte(scan) == c"]":
        scan.at += 1
        return True
    while more > 0:
        if not walk(intake, rule, level + 1, ELSEWHERE):
            return False
        more = scan_more(scan, c"]")
    return more == 0


cdef bint is_ours(Intake *intake, Place at) noexcept:
    """Whether the entry here, which has been checked, is what our manager applied."""
    cdef Place manager = member_at(at, intake.scan.end, b"manager", 7)
    cdef Place operation = member_at(at, intake.scan.end, b"operation", 9)
    if manager == NULL or operation == NULL or intake.scan.end - operation < 7:
        return False
    return (manager[0] == c'"' and intake.scan.end - manager > intake.manager_length + 1
            and memcmp(manager + 1, intake.manager, intake.manager_length) == 0
            and manager[intake.manager_length + 1] == c'"' and memcmp(operation, b'"Apply"', 7) == 0)


cdef bint has_ours(Intake *intake, int level) noexcept:
    """Whether the list here has an entry of ours; moves nothing, but notes what is wrong."""
    cdef Scan *scan = &intake.scan
    cdef Place begin = scan.at, at
    cdef bint found = False
    if not scan_value(scan, level):
        return False
    scan.at = begin
    if begin[0] != c"[":
        return False
    at = pass_space(begin + 1)
    while at[0] != c"]" and not found:
        found = is_ours(intake, at)
        at = pass_space(pass_value(at, scan.end))
        if at[0] == c",":
            at = pass_space(at + 1)
    return found


cdef bint walk_ours(Intake *intake, int level) except *:
    """Cut the entries of others out of a list that `has_ours` has checked."""
    cdef Scan *scan = &intake.scan
    cdef Place at = scan.at + 1, begin
    cdef Run run
    run.any = run.open = False
    run.after = run.comma = at
    at = pass_space(at)
    while at[0] != c"]":
        begin = at
        if is_ours(intake, at):
            stays(intake, &run, begin)
        else:
            run.open = True
        at = pass_value(at, scan.end)
        if not run.open:
            run.after = at
        at = pass_space(at)
        run.comma = at
        if at[0] == c",":
            at = pass_space(at + 1)
    if run.open:
        cut(intake, run.after, at)
    scan.at = at + 1
    return True


cdef bytes take(bytes text, Rules rules, Identity *who):
    """The object in `text`, or as much of it as the rules keep; ObjectError if it is none."""
    cdef Intake intake
    cdef bytes manager = rules.manager
    cdef Place begin
    memset(&intake, 0, sizeof(Intake))
    memset(who, 0, sizeof(Identity))
    intake.scan, intake.who, intake.rules = scan_over(text), who, rules.rules
    if manager is not None:
        intake.manager, intake.manager_length = PyBytes_AS_STRING(manager), PyBytes_GET_SIZE(manager)
    try:
        if next_byte(&intake.scan) != c"{":
            if not scan_value(&intake.scan, 0) or not scan_end(&intake.scan):
                complain(&intake.scan)
            raise ObjectError("this is JSON, but no object")
        begin = intake.scan.at
        if not walk(&intake, rules.rules, 0, ROOT) or not scan_end(&intake.scan):
            complain(&intake.scan)
        if who.name == NULL or who.name[0] != c'"' or who.name[1] == c'"':
            raise ObjectError("the object has no metadata.name")
        return assembled(text, rules, &intake, begin)
    finally:
        PyMem_Free(intake.cuts)


cdef bytes assembled(bytes text, Rules rules, Intake *intake, Place begin):
    cdef bytes version = rules.version if intake.who.version == NULL else b""
    cdef bytes kind = rules.kind if intake.who.kind == NULL else b""
    cdef Py_ssize_t length = intake.scan.end - begin + len(version) + len(kind), i
    cdef Place at = begin + 1
    cdef char *out
    cdef bytes result
    if not intake.count and length == len(text):
        return text
    for i in range(intake.count):
        length -= intake.cuts[i].end - intake.cuts[i].begin
    result = PyBytes_FromStringAndSize(NULL, length)
    out = PyBytes_AS_STRING(result)
    out[0] = c"{"
    out += 1
    memcpy(out, PyBytes_AS_STRING(version), len(version))
    out += len(version)
    memcpy(out, PyBytes_AS_STRING(kind), len(kind))
    out += len(kind)
    for i in range(intake.count):
        memcpy(out, at, intake.cuts[i].begin - at)
        out += intake.cuts[i].begin - at
        at = intake.cuts[i].end
    memcpy(out, at, intake.scan.end - at)
    return result


cdef str key_of(Place end, Identity *who):
    """The key of an object as text, "namespace/name"."""
    cdef object namespace = string_at(who.namespace, end)
    return f"{namespace or ''}/{string_at(who.name, end)}"


cdef int identify(bytes text, Identity *who) except -1:
    """Find what `take` notes, in text that it returned."""
    cdef Place begin = <Place>PyBytes_AS_STRING(text), end = begin + PyBytes_GET_SIZE(text)
    memset(who, 0, sizeof(Identity))
    who.metadata = member_at(begin, end, b"metadata", 8)
    if who.metadata != NULL:
        who.name = member_at(who.metadata, end, b"name", 4)
        who.namespace = member_at(who.metadata, end, b"namespace", 9)
        who.uid = member_at(who.metadata, end, b"uid", 3)
        who.revision = member_at(who.metadata, end, b"resourceVersion", 15)
    return 0


cdef bytes checked(object text):
    if type(text) is not bytes:
        raise TypeError(f"JSON is given as bytes, not {type(text).__qualname__}")
    return text


cdef str text_or_none(Place at, Place end):
    return string_at(at, end) or ""


def head(text, /):
    """The `Head(namespace, name, uid, revision)` of an object.

    Args:
        text: JSON as UTF-8 bytes.

    Raises:
        ObjectError: it is no JSON, or no object with a name.

    Complexity: O(size).

    Example:
        >>> from fastcore.objects import head
        >>> head(b'{"metadata": {"name": "a", "uid": "u1"}}')
        Head(namespace='', name='a', uid='u1', revision='')
    """
    cdef Identity who
    cdef bytes body = checked(text)
    cdef Place end = <Place>PyBytes_AS_STRING(body) + PyBytes_GET_SIZE(body)
    take(body, NOTHING, &who)
    return Head(
        text_or_none(who.namespace, end), text_or_none(who.name, end), text_or_none(who.uid, end),
        text_or_none(who.revision, end),
    )


cdef Rules NOTHING = Rules((), None, "", "", "")


def split_list(body, /):
    """Take a list apart, without decoding its items: a `ListPage`.

    Args:
        body: what the server answered, JSON as UTF-8 bytes. A list whose items are null, as Go writes it, is empty.

    Raises:
        ObjectError: it is no JSON, or no list.

    Complexity: O(size); the items are copies of their part of `body`.

    Example:
        >>> from fastcore.objects import split_list
        >>> page = split_list(b'{"kind":"PodList","metadata":{"resourceVersion":"7"},"items":[{"a":1},{"b":2}]}')
        >>> page.revision, page.items
        ('7', [b'{"a":1}', b'{"b":2}'])
    """
    cdef bytes text = checked(body)
    cdef Scan scan = scan_over(text)
    cdef Place begin = scan.at, at, end, stop
    cdef list items = []
    cdef object remaining = 0
    if not scan_value(&scan, 0) or not scan_end(&scan):
        complain(&scan)
    end = scan.end
    at = member_at(begin, end, b"items", 5)
    if at == NULL or (at[0] != c"[" and at[0] != c"n"):
        raise ObjectError("this is JSON, but no list: it has no items")
    if at[0] == c"[":
        at = pass_space(at + 1)
        while at[0] != c"]":
            stop = pass_value(at, end)
            items.append(PyBytes_FromStringAndSize(<const char *>at, stop - at))
            at = pass_space(stop)
            if at[0] == c",":
                at = pass_space(at + 1)
    at = find(begin, end, (b"metadata", b"remainingItemCount"))
    if at != NULL:
        remaining = decode_slice(at, end)
    return ListPage(
        text_or_none(find(begin, end, (b"metadata", b"resourceVersion")), end),
        text_or_none(find(begin, end, (b"metadata", b"continue")), end),
        remaining if type(remaining) is int else 0,
        text_or_none(member_at(begin, end, b"apiVersion", 10), end),
        text_or_none(member_at(begin, end, b"kind", 4), end),
        items,
    )


def split_event(line, /):
    """Take an event of a watch apart, without decoding its object: a `WatchEvent`.

    Args:
        line: as the server sent it, JSON as UTF-8 bytes.

    Raises:
        ObjectError: it is no JSON, or no event.

    Complexity: O(size).

    Example:
        >>> from fastcore.objects import split_event
        >>> split_event(b'{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"7"}}}').revision
        '7'
    """
    cdef bytes text = checked(line)
    cdef Scan scan = scan_over(text)
    cdef Place begin = scan.at, kind, value
    if not scan_value(&scan, 0) or not scan_end(&scan):
        complain(&scan)
    kind = member_at(begin, scan.end, b"type", 4)
    value = member_at(begin, scan.end, b"object", 6)
    if kind == NULL or kind[0] != c'"' or value == NULL or value[0] != c"{":
        raise ObjectError("this is JSON, but no event: it has no type or no object")
    return WatchEvent(
        string_at(kind, scan.end),
        PyBytes_FromStringAndSize(<const char *>value, pass_value(value, scan.end) - value),
        text_or_none(find(value, scan.end, (b"metadata", b"resourceVersion")), scan.end),
    )
