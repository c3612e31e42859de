# A histogram of durations by powers of ten, 10 ns to 1000 s and above: the buckets of client-go's work queue metrics.
from libc.stdint cimport int64_t

cdef enum:
    BUCKETS = 13


cdef struct Counts:
    int64_t counts[13]
    double sum_ns       # a double: 64 bits of nanoseconds end after 292 years of waiting, summed over all keys


cdef inline void counts_add(Counts* histogram, int64_t ns) noexcept nogil:
    cdef int64_t bound = 10
    cdef int i = 0
    while i < BUCKETS - 1 and ns > bound:
        bound *= 10
        i += 1
    histogram.counts[i] += 1
    histogram.sum_ns += <double>ns
