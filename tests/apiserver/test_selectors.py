"""Label and field selectors."""

import pytest

from fastcore.testing.apiserver.selectors import EVERYTHING, Selector, parse, parse_fields, parse_labels
from fastcore.testing.apiserver.status import StatusError

LABELS = {"app": "web", "tier": "front", "replicas": "3", "empty": ""}


def selected(text: str, labels: dict[str, str] | None = None) -> bool:
    return Selector(parse_labels(text)).matches(LABELS if labels is None else labels, {})


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("app=web", True),
        ("app==web", True),
        ("app = web , tier=front", True),
        ("app=web,tier=back", False),
        ("app!=web", False),
        ("nope!=web", True),
        ("app in (api, web)", True),
        ("app in (api)", False),
        ("app notin (api)", True),
        ("nope notin (api)", True),
        ("app", True),
        ("!app", False),
        ("! nope", True),
        ("empty=", True),
        ("app=", False),
        ("app in ()", False),
        ("empty in (a,)", True),
        ("replicas>2", True),
        ("replicas<3", False),
        ("app>2", False),
        ("nope>2", False),
        ("in=notin", False),
    ],
)
def test_labels(text: str, matches: bool) -> None:
    """Group 6: set-based label selectors."""
    assert selected(text) is matches


def test_no_labels_at_all() -> None:
    assert not Selector(parse_labels("app")).matches(None, {})
    assert Selector(parse_labels("!app")).matches(None, {})


@pytest.mark.parametrize(
    "text", ["a b", "=b", "a in b", "a in (b", "a in (b c)", "a=b,", ",", "a=b c", "a==,(", "-a", "a=-", "!"]
)
def test_malformed_labels(text: str) -> None:
    with pytest.raises(StatusError) as caught:
        parse_labels(text)
    assert caught.value.code == 400


def test_fields() -> None:
    """Group 6: equality and inequality, escaped commas."""
    terms = parse_fields(r"metadata.name=a\,b,type!=x,", ("metadata.name", "type"))
    assert terms == (("metadata.name", True, "a,b"), ("type", False, "x"))
    selector = Selector(fields=terms)
    assert selector.matches(None, {"metadata.name": "a,b", "type": "y"})
    assert not selector.matches(None, {"metadata.name": "a,b", "type": "x"})


@pytest.mark.parametrize("text", ["nope=a", "metadata.name", "metadata.name,type=x"])
def test_malformed_fields(text: str) -> None:
    with pytest.raises(StatusError) as caught:
        parse_fields(text, ("metadata.name", "type"))
    assert caught.value.code == 400


def test_nothing_asked() -> None:
    assert parse("", "", ()) is EVERYTHING
