"""Faults over HTTP, for tests of other processes: `/fastcore/faults`, served only where it was switched on."""

from typing import Any, ClassVar

import msgspec

from fastcore.testing.apiserver.faults import Faults
from fastcore.testing.apiserver.message import JSON, Request, Response, error_response, json_response
from fastcore.testing.apiserver.status import StatusError, bad_request, method_not_allowed, unsupported_media_type

PATH = "/fastcore/faults"


class _Once(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, tag_field="fault"):
    """Something that happens once; its tag is the method of `Faults`, its members are the arguments."""


class _Compact(_Once, tag="compact"):
    revision: int | None = None


class _Watches(_Once):
    kind: str = ""
    workspace: str = ""


class _Expire(_Watches, tag="expire_watches"):
    pass


class _Cut(_Watches, tag="cut_watches"):
    pass


class _Clock(_Once, tag="shift_clock"):
    seconds: float


class _Lasting(_Once, kw_only=True):
    """A fault that stays, with the members of `Scope`."""

    verbs: tuple[str, ...] = ()
    kind: str = ""
    workspace: str = ""
    namespace: str = ""
    name: str = ""
    after: int = 0
    count: int | None = None
    probability: float = 1.0
    seed: int = 0


class _Latency(_Lasting, tag="latency", kw_only=True):
    seconds: float
    answer: bool = False


class _Lag(_Lasting, tag="lag", kw_only=True):
    verbs: tuple[str, ...] = ("watch",)
    seconds: float


class _Error(_Lasting, tag="error", kw_only=True):
    code: int
    retry_after: int | None = None
    message: str = ""


class _Reset(_Lasting, tag="reset"):
    answer: bool = False


class _Stale(_Lasting, tag="stale"):
    revision: int | None = None


class _Bookmarks(_Lasting, tag="bookmarks", kw_only=True):
    copies: int


_Order = _Compact | _Expire | _Cut | _Clock | _Latency | _Lag | _Error | _Reset | _Stale | _Bookmarks


class FaultsAdmin:
    """Answers the requests below `/fastcore/faults`.

    `GET` shows the faults in force, `POST` adds one or does something once, `DELETE` clears them all, or one of them
    (`/fastcore/faults/ID`). None of these requests is ever hit by a fault.
    """

    _decoder: ClassVar[msgspec.json.Decoder[_Order]] = msgspec.json.Decoder(_Order)

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def handle(self, request: Request) -> Response:
        """Answer one request; what is wrong with it is said in a `Status`, and nothing has happened then."""
        try:
            return self._route(request, request.path[len(PATH) :].strip("/"))
        except StatusError as error:
            return error_response(error)

    def _route(self, request: Request, number: str) -> Response:
        faults = self._faults
        match request.method, number:
            case "GET", "":
                return json_response(
                    {"faults": [fault.describe() for fault in faults.active], "clock_offset": faults.clock_offset}
                )
            case "POST", "":
                return self._add(request)
            case "DELETE", "":
                faults.clear()
                return json_response({})
            case "DELETE", number:
                if not number.isdecimal() or not faults.remove(int(number)):
                    raise StatusError(404, "NotFound", f"no fault {number!r} is in force; GET {PATH} lists them")
                return json_response({})
        raise method_not_allowed()

    def _add(self, request: Request) -> Response:
        # Only this content type makes a browser ask first, so no web page can break things here.
        if request.headers.get("content-type", "").partition(";")[0].strip() != JSON:
            raise unsupported_media_type(f"faults are added as {JSON}")
        try:
            order = self._decoder.decode(request.body)
            method = getattr(self._faults, str(order.__struct_config__.tag))
            done: Any = method(**msgspec.structs.asdict(order))
        except (msgspec.DecodeError, ValueError) as error:
            raise bad_request(f"no such fault: {error}") from None
        if isinstance(order, _Lasting):
            return json_response(done.describe(), 201)
        return json_response({"watches": done} if isinstance(order, _Watches) else {})
