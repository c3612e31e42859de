"""Label and field selectors."""

import pytest

from apiserver.conftest import MAPS, Local, brief, config_map
from fastcore.testing.apiserver.selectors import EVERYTHING, Selector, parse, parse_fields, parse_labels
from fastcore.testing.apiserver.shards import fnv1a
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
    assert parse({}, ()) is EVERYTHING


LOW, HIGH = (
    f"shardRange(object.metadata.uid, '{low}', '{high}')"
    for low, high in (("0x0", "0x8000000000000000"), ("0x8000000000000000", "0x10000000000000000"))
)


def test_shards_share_the_objects(local: Local) -> None:
    """Group 6: every object is in one of two halves, and in their union."""
    names = [f"m{index}" for index in range(40)]
    for name in names:
        local.post(MAPS, config_map(name))
    low, high = (local.get(MAPS, shardSelector=half) for half in (LOW, HIGH))
    assert low.names
    assert high.names
    assert sorted(low.names + high.names) == sorted(names)
    assert low.meta["shardInfo"] == {"selector": LOW}
    assert local.get(MAPS, shardSelector=f"{LOW} || {HIGH}").names == sorted(names)
    stream = local.stream(MAPS, shardSelector=LOW)
    assert [name for _, name in brief(stream)] == low.names
    local.delete(f"{MAPS}/{high.names[0]}")
    local.delete(f"{MAPS}/{low.names[0]}")
    assert brief(stream) == [("DELETED", low.names[0])]


def test_shard_by_namespace(local: Local) -> None:
    local.post(MAPS, config_map("a"))
    hashed = fnv1a("default")
    here = f"shardRange(object.metadata.namespace, '{hashed:#x}', '{hashed + 1:#x}')"
    assert local.get(MAPS, shardSelector=here).names == ["a"]
    assert (
        local.get(MAPS, shardSelector=here.replace(f"{hashed:#x}'", "0x0'", 1).replace(f"{hashed + 1:#x}", "0x1")).names
        == []
    )


@pytest.mark.parametrize(
    "text",
    [
        "nope",
        "shardRange(object.metadata.name, '0x0', '0x1')",
        "shardRange(object.metadata.uid, '0x1', '0x1')",
        "shardRange(object.metadata.uid, '0x0', '0x10000000000000001')",
        "shardRange(object.metadata.uid, '0x0', '0x1') || shardRange(object.metadata.namespace, '0x0', '0x1')",
        "shardRange(object.metadata.uid, '0x0', '0x1') ||",
    ],
)
def test_malformed_shards(local: Local, text: str) -> None:
    assert local.get(MAPS, shardSelector=text).code == 400
