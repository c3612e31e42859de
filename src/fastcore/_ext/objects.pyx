# cython: freethreading_compatible=True
"""Objects as bytes, by key and by index, that the cyclic collector has nothing to walk for.

`objects` maps "namespace/name" to the JSON text, so it holds str and bytes alone. Points where user code may run: index
functions, and mappings that are given as objects. Both run before the store changes, in no critical section.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.tuple cimport PyTuple_CheckExact, PyTuple_GET_SIZE
from cpython.unicode cimport PyUnicode_CheckExact

from typing import NamedTuple

from fastcore._ext.frozen cimport decode, decode_slice
from fastcore._ext.intake cimport Identity, Rules, identify, key_of, take
from fastcore._ext.intake import split_event, split_list
from fastcore._ext.jsonscan cimport Place
from fastcore._ext.objectindex cimport Index
from fastcore._ext.paths cimport find, same_value
from fastcore._objecttext import change_of, dropped, kept, key_text, plain_value, steps_of, text_from
from fastcore.errors import ReentrancyError

cdef enum:
    TRIES = 64          # to change what others change at the same time, before it is an error
    SAME = 0
    UPDATED = 1
    REPLACED = 2        # another object of the same name


cdef inline str where_of(object key):
    """A key as the store has it; most are pairs of plain str, which takes no call."""
    if PyTuple_CheckExact(key) and PyTuple_GET_SIZE(key) == 2:
        space, name = <tuple>key
        if PyUnicode_CheckExact(space) and PyUnicode_CheckExact(name):
            return f"{<str>space}/{<str>name}"
    return key_text(key)


class ObjectStats(NamedTuple):
    """A reading of a store's counters: objects and their bytes now; reads served hot and by decoding, so far."""

    objects: int
    bytes: int
    hot: int
    decoded: int


@cython.final
cdef class Change:
    """One step of one key: `old` is None for an addition, `new` is None for a deletion.

    The views are made when they are first read. It unpacks as `old, new = change` and equals such a pair.

    Attributes:
        key: (namespace, name).
        old_raw: the object before, as bytes.
        new_raw: the object after, as bytes.

    Thread safety: reading it from several threads is safe.
    """

    cdef ObjectStore store
    cdef str where
    cdef readonly bytes old_raw
    cdef readonly bytes new_raw
    cdef object was
    cdef object now

    @property
    def key(self):
        """(namespace, name)."""
        return pair_of(self.where)

    @property
    def old(self):
        """The view of the object before, None if there was none."""
        if self.was is None and self.old_raw is not None:
            with cython.critical_section(self):
                self.was = decode(self.old_raw)
        return self.was

    @property
    def new(self):
        """The view of the object after, None if there is none."""
        if self.now is None and self.new_raw is not None:
            found = self.store.view_of(self.where, self.new_raw, True)
            with cython.critical_section(self):
                self.now = found
        return self.now

    def __iter__(self):
        return iter((self.old, self.new))

    def __eq__(self, other):
        if not isinstance(other, (Change, tuple)):
            return NotImplemented
        return (self.old, self.new) == tuple(other)

    def __hash__(self):
        return hash((self.where, self.old_raw, self.new_raw))

    def __repr__(self):
        return f"Change(key={self.key!r}, old={self.old!r}, new={self.new!r})"


@cython.final
cdef class ObjectStore:
    """ObjectStore(*, drop=("metadata.managedFields",), keep=None, metadata_only=False, field_manager="",
api_version="", kind="", hot=256)
--

    Kubernetes objects by (namespace, name), each as one bytes object, and views of them on demand.

    An object is checked and cut to what is kept when it comes in, and decoded when it is read; the views of the last
    `hot` objects that were read are remembered. The cyclic collector has no part in what is stored. A key is
    (namespace, name), or as text "namespace/name"; "name" alone is one without a namespace.

    Args:
        drop: paths to leave out. A list on the way of a path stands for each of its items.
        keep: paths to keep, and nothing else; apiVersion, kind and what names the object always stay, as do its whole
            metadata if no path goes into them. None keeps everything. `drop` applies to what is kept.
        metadata_only: the same as `keep=("metadata",)`.
        field_manager: keep what this manager applied in `metadata.managedFields`.
        api_version: put into objects that do not say theirs, as items of lists of built-in kinds do not.
        kind: likewise.
        hot: views to remember, >= 0.

    A path is names with dots between them, `\\.` for a dot in a name, or a tuple of names.

    Raises:
        ValueError: `hot` is negative, a path is empty, or would leave out what names an object.

    Complexity: put, remove and get O(size of the object); a hot `get` O(1); path O(bytes before the value).
    Memory: the text, and about 200 bytes for it and its key.
    Thread safety: every method is atomic; index functions run before anything changes, and outside any section.

    Example:
        >>> from fastcore.objects import ObjectStore
        >>> store = ObjectStore()
        >>> changes = store.put({"metadata": {"namespace": "shop", "name": "web"}, "spec": {"replicas": 3}})
        >>> store.path("shop/web", "spec.replicas")
        3
        >>> store.get("shop/web")["metadata"]["name"]
        'web'

    Source: the store of client-go's informers, which keeps decoded objects.
    """

    cdef Rules rules
    cdef dict objects
    cdef dict warm              # key to (raw, view), the longest unread first
    cdef dict indexes
    cdef Py_ssize_t limit
    cdef Py_ssize_t size
    cdef unsigned long long writes
    cdef unsigned long long hits
    cdef unsigned long long decodes

    def __cinit__(self, *, drop=("metadata.managedFields",), keep=None, metadata_only=False, field_manager="",
                  api_version="", kind="", hot=256):
        if hot < 0:
            raise ValueError(f"hot must be >= 0, got {hot!r}")
        if metadata_only:
            if keep is not None:
                raise ValueError("give either keep or metadata_only")
            keep = ("metadata",)
        self.rules = Rules(
            dropped(drop), None if keep is None else kept(keep), field_manager, api_version, kind
        )
        self.objects, self.warm, self.indexes = {}, {}, {}
        self.limit = hot

    def replace(self, items, /):
        """Hold exactly `items`; what changed, as a list of `Change`: deletions first (RF-9).

        An object of the version that is held changes nothing; one of another uid is a deletion and an addition.

        Args:
            items: objects as JSON bytes or as mappings; or a whole list as the server sent it, as bytes.

        Raises:
            ObjectError: something is no object; nothing has changed.
            ReentrancyError: an index function writes to the store.

        Complexity: O(bytes of the items).
        """
        cdef dict new = {}, indexes, found
        cdef str key
        cdef bytes raw, old
        cdef unsigned long long writes
        cdef int _
        if isinstance(items, (bytes, bytearray, memoryview)):
            items = split_list(bytes(items)).items
        for item in items:
            key, raw = self.admitted(item)
            new[key] = raw
        for _ in range(TRIES):
            with cython.critical_section(self):
                writes, indexes = self.writes, self.indexes
            found = {}
            if indexes:
                for key, raw in new.items():
                    old = self.objects.get(key)
                    if old is None or step_of(old, raw) != SAME:
                        found[key] = self.found_by(indexes, raw)
            with cython.critical_section(self):
                if self.writes == writes and self.indexes is indexes:
                    return self.swap(new, found)
        raise self.contended()

    def put(self, item, /):
        """Add or update an object; what changed, as `replace` says.

        Args:
            item: JSON bytes or a mapping.

        Raises:
            ObjectError: it is no object; nothing has changed.
        """
        cdef str key
        cdef bytes raw
        key, raw = self.admitted(item)
        return self.put_text(key, raw)

    def remove(self, key, /):
        """Delete an object, if it is there; what changed."""
        cdef str where = where_of(key)
        cdef bytes old
        cdef list changes = []
        with cython.critical_section(self):
            old = self.objects.pop(where, None)
            if old is not None:
                self.forget(where, old, changes)
        return changes

    def apply(self, event, /):
        """Do what an event of a watch says; what changed.

        A deletion's `Change` carries the object as the event has it. A bookmark changes nothing.

        Args:
            event: a line of a watch as bytes, its mapping, or (type, object).

        Raises:
            ObjectError: it is no event, of an unknown type, or its object is none; nothing has changed.
        """
        cdef str key
        cdef bytes raw, old
        cdef list changes = []
        kind, item = change_of(event, split_event)
        if kind == "BOOKMARK":
            return changes
        key, raw = self.admitted(item)
        if kind != "DELETED":
            return self.put_text(key, raw)
        with cython.critical_section(self):
            old = self.objects.pop(key, None)
            if old is not None:
                self.forget(key, old, changes)
        if changes:
            changes = [self.change(key, raw, None)]
        return changes

    def get(self, key, default=None, /):
        """The view of an object, or `default`: the same one until the object changes or others are read instead."""
        cdef str where = where_of(key)
        cdef bytes raw
        with cython.critical_section(self):
            raw = self.objects.get(where)
        return default if raw is None else self.view_of(where, raw, True)

    def raw(self, key, default=None, /):
        """The JSON text of an object, or `default`."""
        return self.objects.get(where_of(key), default)

    def path(self, key, path, default=None, /):
        """What stands at `path` in an object, or `default`; of a list, a decimal name picks an item.

        Only what comes before it is read, and only it is decoded.

        Example:
            >>> from fastcore.objects import ObjectStore
            >>> store = ObjectStore()
            >>> changes = store.put({"metadata": {"name": "a", "labels": {"example.com/app": "web"}}})
            >>> store.path("a", ("metadata", "labels", "example.com/app"))
            'web'
        """
        cdef bytes raw = self.objects.get(where_of(key))
        cdef tuple steps = steps_of(path)
        cdef Place begin, end, found
        if raw is None:
            return default
        begin = <Place>PyBytes_AS_STRING(raw)
        end = begin + PyBytes_GET_SIZE(raw)
        found = find(begin, end, steps)
        return default if found == NULL else decode_slice(found, end)

    def index(self, name, by, /):
        """Find objects, present and future, by what `by` gives for them (IN-3, IN-4).

        Args:
            name: not used before.
            by: a path, whose lists stand for each of their items and whose scalars count; or a function that takes
                a view and gives values: str, int, float, bool, bytes, None, and tuples of them. What it raises stops
                what was going on, and changes nothing.

        Raises:
            ValueError: there is an index of this name.

        Complexity: O(bytes of all objects).
        """
        cdef Index index = Index.__new__(Index)
        cdef dict indexes, found
        cdef str key
        cdef unsigned long long writes
        cdef int _
        index.function = by if callable(by) else None
        index.steps = None if index.function is not None else steps_of(by)
        index.entries, index.values = {}, {}
        for _ in range(TRIES):
            with cython.critical_section(self):
                writes, indexes, objects = self.writes, self.indexes, self.objects.copy()
            if name in indexes:
                raise ValueError(f"there is already an index {name!r}")
            found = {key: index.values_of(None if index.function is None else decode(raw), raw)
                     for key, raw in objects.items()}
            with cython.critical_section(self):
                if self.writes == writes and self.indexes is indexes:
                    for key, values in found.items():
                        index.put(key, None, values)
                    self.indexes = {**indexes, name: index}
                    return
        raise self.contended()

    def by_index(self, name, value, /):
        """The views of the objects that `value` finds.

        Raises:
            ValueError: there is no index of this name.
        """
        return [view for view in map(self.get, self.keys_by_index(name, value)) if view is not None]

    def keys_by_index(self, name, value, /):
        """The keys of the objects that `value` finds, decoding nothing.

        Raises:
            ValueError: there is no index of this name.
        """
        cdef Index index = self.indexes.get(name)
        cdef list where
        if index is None:
            raise ValueError(f"there is no index {name!r}, only {sorted(self.indexes)}")
        value = plain_value(value)
        with cython.critical_section(self):
            found = index.entries.get(value)
            where = [] if found is None else [found] if type(found) is str else list(found)
        return [pair_of(key) for key in where]

    def keys(self, namespace=None, /):
        """Every (namespace, name), or those in one namespace. Complexity: O(objects)."""
        cdef list where
        with cython.critical_section(self):
            where = list(self.objects)
        pairs = [pair_of(key) for key in where]
        return pairs if namespace is None else [pair for pair in pairs if pair[0] == namespace]

    def views(self, namespace=None, /):
        """The view of every object, or of those in one namespace; they are not remembered. Complexity: O(bytes)."""
        cdef list found
        cdef str start = "" if namespace is None else f"{namespace}/"
        with cython.critical_section(self):
            found = list(self.objects.items())
        return [self.view_of(key, raw, False) for key, raw in found if key.startswith(start)]

    def stats(self):
        """A reading of the counters."""
        with cython.critical_section(self):
            numbers = (len(self.objects), self.size, self.hits, self.decodes)
        return ObjectStats(*numbers)

    def __len__(self):
        return len(self.objects)

    def __contains__(self, key):
        return where_of(key) in self.objects

    def __iter__(self):
        return iter(self.keys())

    cdef tuple admitted(self, object item):
        """The key and the text of an object that comes in."""
        cdef Identity who
        cdef bytes text = item if type(item) is bytes else text_from(item)
        cdef bytes raw = take(text, self.rules, &who)
        return key_of(<Place>PyBytes_AS_STRING(text) + PyBytes_GET_SIZE(text), &who), raw

    cdef object view_of(self, str key, bytes raw, bint remember):
        """The view of `raw`; a remembered one if it is what the store has."""
        cdef object view = None
        with cython.critical_section(self):
            if self.objects.get(key) is raw:
                view = self.warm.get(key)
                if view is not None:
                    self.hits += 1
                    del self.warm[key]
                    self.warm[key] = view
                    return view
        view = decode(raw)
        with cython.critical_section(self):
            self.decodes += 1
            if remember and self.objects.get(key) is raw:
                view = self.warm.setdefault(key, view)
                if len(self.warm) > self.limit:
                    del self.warm[next(iter(self.warm))]
        return view

    cdef dict found_by(self, dict indexes, bytes raw):
        """The values of an object in each index. Index functions are user code."""
        cdef Index index
        cdef dict found = {}
        cdef object view = None
        for name, index in indexes.items():
            if index.function is not None and view is None:
                view = decode(raw)
            found[name] = index.values_of(view, raw)
        return found

    cdef list put_text(self, str key, bytes raw):
        cdef dict indexes, found
        cdef list changes = []
        cdef int _
        for _ in range(TRIES):
            indexes = self.indexes
            found = self.found_by(indexes, raw)
            with cython.critical_section(self):
                if self.indexes is indexes:
                    self.set(key, raw, found, changes)
                    return changes
        raise self.contended()

    cdef int set(self, str key, bytes raw, dict found, list changes) except -1:
        """Put an object in and note what that changed; the caller holds the section."""
        cdef Index index
        cdef bytes old = self.objects.get(key)
        cdef int step = UPDATED if old is None else step_of(old, raw)
        if step == SAME:
            return 0
        self.objects[key] = raw
        self.size += len(raw) - (0 if old is None else len(old))
        self.writes += 1
        self.warm.pop(key, None)
        for name, index in self.indexes.items():
            index.put(key, old, found[name])
        if step == REPLACED:
            changes.append(self.change(key, old, None))
            changes.append(self.change(key, None, raw))
        else:
            changes.append(self.change(key, old, raw))
        return 0

    cdef int forget(self, str key, bytes old, list changes) except -1:
        """Note that an object has gone; the caller holds the section."""
        cdef Index index
        self.size -= len(old)
        self.writes += 1
        self.warm.pop(key, None)
        for index in self.indexes.values():
            index.remove(key, old)
        changes.append(self.change(key, old, None))
        return 0

    cdef list swap(self, dict new, dict found):
        """Hold what `new` has; the caller holds the section."""
        cdef list changes = []
        cdef str key
        cdef bytes raw
        for key in [key for key in self.objects if key not in new]:
            self.forget(key, self.objects.pop(key), changes)
        for key, raw in new.items():
            self.set(key, raw, found.get(key), changes)
        return changes

    cdef Change change(self, str key, bytes old, bytes new):
        cdef Change change = Change.__new__(Change)
        change.store, change.where, change.old_raw, change.new_raw = self, key, old, new
        return change

    cdef object contended(self):
        return ReentrancyError(
            "the store was written to each time its index functions were asked: they must not write to it"
        )


cdef tuple pair_of(str key):
    namespace, _, name = key.partition("/")
    return namespace, name


cdef int step_of(bytes old, bytes new) except -1:
    """From one version to the next: nothing for the same, another object for another uid (IN-7), else an update."""
    cdef Identity was, now
    cdef Place was_end = <Place>PyBytes_AS_STRING(old) + PyBytes_GET_SIZE(old)
    cdef Place now_end = <Place>PyBytes_AS_STRING(new) + PyBytes_GET_SIZE(new)
    identify(old, &was)
    identify(new, &now)
    if not same_value(was.uid, was_end, now.uid, now_end):
        return REPLACED
    if now.revision == NULL:
        return SAME if old == new else UPDATED
    return SAME if same_value(was.revision, was_end, now.revision, now_end) else UPDATED
