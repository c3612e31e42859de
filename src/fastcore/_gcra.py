"""A token bucket in one number: the time at which it is full again, counted in whole picoseconds.

    tokens there = (full - ahead) * rate       ahead = time at which it is full again, less now
    n tokens cost n / rate of time, the burst is `full` = burst / rate of it

The number is kept in Redis by a script, whose numbers are doubles: whole only up to 2**53. So a time is two of them,
microseconds (the server's clock; until the year 2255 a double holds them) and the picoseconds of the last one, and
adding and comparing them never rounds. Here, times are Python's integers.
"""

import hashlib
import math
import struct
from collections.abc import Sequence
from typing import NamedTuple

from fastcore._impl import quota

Quota = quota.Quota

PS = 10**12
FASTEST = 1e12  # tokens a second: one a picosecond
LONGEST_PS = 100 * 31_557_600 * PS  # a century: no bucket takes longer to fill, so that all sums stay below 2**53 us

# KEYS[1]: the bucket. ARGV[1]: the cost of the request and the whole bucket, each as microseconds and picoseconds.
# Answers whether the request passed, and how far from full the bucket is then. A request of 0 writes nothing.
# Further from full than empty is a bucket that was written under other settings, or before the server's clock went
# back: it counts as empty and is written so, for otherwise it would be refused for as long as the clock went back.
SCRIPT = """\
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local cost_us, cost_ps, full_us, full_ps = struct.unpack('<I8I4I8I4', ARGV[1])
local us, ps, beyond = 0, 0, false
local found = redis.call('GET', KEYS[1])
if found then
  local a, b = string.match(found, '^(%d+):(%d+)$')
  if not a then return redis.error_reply('ERR not a bucket of fastcore') end
  us, ps = tonumber(a) - now, tonumber(b)
  if us < 0 then us, ps = 0, 0 end
  beyond = us > full_us or (us == full_us and ps > full_ps)
  if beyond then us, ps = full_us, full_ps end
end
local asked = cost_us > 0 or cost_ps > 0
local next_us, next_ps = us + cost_us, ps + cost_ps
if next_ps >= 1000000 then next_us, next_ps = next_us + 1, next_ps - 1000000 end
local passes = next_us < full_us or (next_us == full_us and next_ps <= full_ps)
if passes then us, ps = next_us, next_ps end
if asked and (passes or beyond) then
  local seconds = math.max(1, math.ceil((us + (ps > 0 and 1 or 0)) / 1000000))
  redis.call('SET', KEYS[1], string.format('%.0f:%.0f', now + us, ps), 'EX', string.format('%.0f', seconds))
end
return {passes and 1 or 0, us, ps}
"""


packer = struct.Struct("<QIQI")
SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()


def packed(cost: int, full: int) -> bytes:
    """Two times for the script."""
    return packer.pack(*divmod(cost, 10**6), *divmod(full, 10**6))


class Scale(NamedTuple):
    """What a rate and a burst are in time.

    A token takes `den / num` picoseconds; costs are rounded down and the burst up, so that a burst passes as a whole.
    The error is less than a picosecond a request.
    """

    num: int
    den: int
    burst: float
    full: int

    def cost(self, n: float) -> int:
        """Picoseconds of `n` tokens; at least one for more than none."""
        a, b = n.as_integer_ratio()
        return 0 if a == 0 else max(1, a * self.den // (b * self.num))

    def tokens(self, left: int) -> int:
        """Whole tokens that a request could take while `left` picoseconds are there."""
        # The largest k with cost(k) <= left, that is with k / rate < left + 1.
        return min(-(-(left + 1) * self.num // self.den) - 1, math.floor(self.burst))

    def argument(self, n: float) -> bytes:
        """What the script is told of a request of `n` tokens; one that can never pass only asks."""
        return packed(self.cost(n) if n <= self.burst else 0, self.full)

    def quota(self, reply: Sequence[int], n: float, taken: bool) -> Quota:
        """What the script's answer says of a request of `n` tokens; `taken`: it asked for them."""
        passed, us, ps = reply
        ahead = us * 10**6 + ps
        left = self.full - ahead
        lacks = 0 if taken and passed else self.cost(n) - left
        retry_after: float | None = 0.0
        if n > self.burst:
            retry_after = None
        elif lacks > 0:  # in the microseconds of the server's clock
            retry_after = -(-lacks // 10**6) / 1e6
        limited = retry_after is None or retry_after > 0.0
        return Quota(limited, self.burst, self.tokens(left), ahead / PS, retry_after)


def scale(rate: float, burst: float) -> Scale:
    """How `rate` tokens a second (finite, > 0) and `burst` (finite, >= 0) are counted in time."""
    p, q = rate.as_integer_ratio()
    a, b = burst.as_integer_ratio()
    num, den = p, q * PS
    if a * den > LONGEST_PS * b * num:  # so slow that nobody will see it full: as if it took a century
        num, den = a, LONGEST_PS * b
    return Scale(num, den, burst, -(-a * den // (b * num)))
