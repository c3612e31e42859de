# Rings of C links. A link is part of a Python object that something else keeps alive; the ring borrows it.


cdef struct Link:
    Link* prev          # NULL while the link is in no ring
    Link* next
    void* owner         # the object that contains the link


cdef inline void ring_init(Link* root) noexcept nogil:
    root.prev = root
    root.next = root
    root.owner = NULL


cdef inline bint ring_empty(Link* root) noexcept nogil:
    return root.next == root


cdef inline void ring_append(Link* root, Link* link) noexcept nogil:
    link.prev = root.prev
    link.next = root
    root.prev.next = link
    root.prev = link


cdef inline void ring_remove(Link* link) noexcept nogil:
    """Idempotent: a link that is in no ring stays so."""
    if link.next == NULL:
        return
    link.prev.next = link.next
    link.next.prev = link.prev
    link.prev = NULL
    link.next = NULL
