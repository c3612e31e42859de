"""Profiles of this process in pprof's format, which `go tool pprof` and speedscope read."""

from fastcore.observe.profiles.model import Line, Profile, ValueType
from fastcore.observe.profiles.pages import PREFIX, profile_pages
from fastcore.observe.profiles.proto import encode
from fastcore.observe.profiles.waits import ProfiledLock, profiled_locks, set_block_rate, set_mutex_fraction

__all__ = [
    "PREFIX",
    "Line",
    "Profile",
    "ProfiledLock",
    "ValueType",
    "encode",
    "profile_pages",
    "profiled_locks",
    "set_block_rate",
    "set_mutex_fraction",
]
