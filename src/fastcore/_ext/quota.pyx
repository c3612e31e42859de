# cython: freethreading_compatible=True
"""What a limiter says of a request beyond yes and no: `Quota`, the view that HTTP's rate limit headers need.

No user code runs in here, and nothing changes once it is made.
"""

import cython

from libc.math cimport INFINITY, ceil


@cython.final
@cython.trashcan(True)
cdef class Quota:
    """Quota(limited, limit, remaining, reset_after, retry_after)
--

    The answer of a limiter to a request, made by `request` and `peek`.

    Attributes:
        limited: whether the request is refused.
        limit: the burst, in tokens.
        remaining: whole tokens that are there now, after the request if it took some; `math.inf` at an infinite rate.
        reset_after: seconds until the bucket is full again; `math.inf` if it never will be.
        retry_after: seconds until such a request passes, 0.0 if it does now; None: never.

    Thread safety: never changes.
    Source: the result of a GCRA limiter as in throttled, on a token bucket.

    Example:
        >>> from fastcore.ratelimit import TokenBucket
        >>> bucket = TokenBucket(rate=1, burst=5)
        >>> bucket.request(5).remaining
        0.0
        >>> bucket.request().headers()
        {'RateLimit-Limit': '5', 'RateLimit-Remaining': '0', 'RateLimit-Reset': '5', 'Retry-After': '1'}
        >>> print(bucket.retry_after(6))
        None
    """
    def __cinit__(self, bint limited, double limit, double remaining, double reset_after, retry_after):
        self.limited = limited
        self.limit = limit
        self.remaining = remaining
        self.reset_after = reset_after
        self.retry_after = retry_after

    def headers(self):
        """Return HTTP headers: `RateLimit-Limit`, `-Remaining`, `-Reset`, and `Retry-After` for a refused request.

        Seconds are rounded up, tokens down; what is unlimited or never comes has no header.
        """
        cdef dict headers = {}
        if self.remaining < INFINITY:
            headers["RateLimit-Limit"] = str(int(self.limit))
            headers["RateLimit-Remaining"] = str(int(self.remaining))
        if self.remaining < INFINITY and self.reset_after < INFINITY:
            headers["RateLimit-Reset"] = str(int(ceil(self.reset_after)))
        if self.limited and self.retry_after is not None:
            headers["Retry-After"] = str(int(ceil(self.retry_after)))
        return headers

    def __repr__(self):
        return (
            f"Quota(limited={self.limited}, limit={self.limit!r}, remaining={self.remaining!r}, "
            f"reset_after={self.reset_after!r}, retry_after={self.retry_after!r})"
        )
