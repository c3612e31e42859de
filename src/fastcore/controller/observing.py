"""What a controller makes of the answer to a write of its own: the next read sees it, and its event is known."""

from fastcore.controller.detector import Detector
from fastcore.controller.handlers import Object
from fastcore.controller.model import Kind, key_of, parse_revision
from fastcore.controller.own_events import changes, is_ours
from fastcore.controller.turn import Turn, Written
from fastcore.diff import Change


def take(turn: Turn, write: Written, detector: Detector, *, mute: bool) -> None:
    """Put an answer into the cache, and note what the write changed (WR-8, WR-9).

    Answers of other servers, of kinds that are not watched, and of subresources with a kind of their own are ignored.
    """
    kind, answer = write.kind, write.answer
    informer = turn.scope.informers.get(kind)
    if informer is None or answer.get("kind", kind.kind) != kind.kind or "metadata" not in answer:
        return
    if not write.client.reaches(turn.scope.workspace.client):
        return
    key, version = key_of(answer), answer["metadata"].get("resourceVersion")
    known, old = _before(turn, kind, key, version, informer.get(*key))
    if known:
        changed: list[Change] = [] if old is None else changes(old, answer)
        if mute and version and is_ours(old, answer, write.sent, write.method, changed):
            turn.own[kind, *key, version] = None if old is None else old["metadata"].get("resourceVersion")
        if version:
            detector.wrote(turn.request, kind, key, version, changed, turn.clock())
    if write.observe:
        informer.observe(answer, write.text)


def _before(
    turn: Turn, kind: Kind, key: tuple[str, str], version: str | None, cached: Object | None
) -> tuple[bool, Object | None]:
    """Whether it is known which version was shown before `version`, and that version, None if there was none."""
    for held in turn.held:  # the watch was faster than the answer
        shown = held.shown
        if shown.kind == kind and shown.new is not None and shown.key() == key and shown.versions()[1] == version:
            return True, shown.old
    if cached is None:
        return True, None
    seen, ours = parse_revision(cached["metadata"].get("resourceVersion")), parse_revision(version)
    return seen is not None and ours is not None and seen < ours, cached
