"""Profiles of this process in pprof's format, which `go tool pprof` and speedscope read."""

from fastcore.observe.profiles.model import Line, Profile, ValueType
from fastcore.observe.profiles.pages import PREFIX, profile_pages
from fastcore.observe.profiles.proto import encode

__all__ = ["PREFIX", "Line", "Profile", "ValueType", "encode", "profile_pages"]
