"""Stacks of threads and tasks, noted cheaply and named later."""

from types import CodeType, FrameType

from fastcore.observe.profiles.model import Line, Stack

MOST_FRAMES = 128

Key = tuple[int, ...]


class Names:
    """Turns frames into keys of plain numbers, and the keys into lines when the profile is written.

    A code object is known by its address, and kept, so that the address stays its own. Comparing code objects instead
    would compare what is in them.
    """

    def __init__(self) -> None:
        self._codes: dict[int, tuple[CodeType, str]] = {}

    def key(self, frame: FrameType | None) -> Key:
        """The stack above `frame`, the innermost first: address of the code, and line, in turn."""
        found: list[int] = []
        codes = self._codes
        while frame is not None and len(found) < 2 * MOST_FRAMES:
            code = frame.f_code
            address = id(code)
            if address not in codes:
                codes[address] = code, str(frame.f_globals.get("__name__", "?"))
            found.append(address)
            found.append(frame.f_lineno or 0)
            frame = frame.f_back
        return tuple(found)

    def stack(self, key: Key) -> Stack:
        """The lines that a key stands for."""
        return tuple(map(self._line, key[::2], key[1::2]))

    def _line(self, address: int, number: int) -> Line:
        code, module = self._codes[address]
        return Line(f"{module}.{code.co_qualname}", code.co_filename, number, code.co_firstlineno)


def line_of(frame: FrameType) -> Line:
    """Where `frame` is."""
    code = frame.f_code
    module = frame.f_globals.get("__name__", "?")
    return Line(f"{module}.{code.co_qualname}", code.co_filename, frame.f_lineno or 0, code.co_firstlineno)


def stack_of(frame: FrameType | None) -> Stack:
    """The lines from `frame` outwards."""
    found: list[Line] = []
    while frame is not None and len(found) < MOST_FRAMES:
        found.append(line_of(frame))
        frame = frame.f_back
    return tuple(found)
