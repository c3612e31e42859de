"""Group 6: lists, pages, revisions and selectors."""

import base64
from typing import Any
from urllib.parse import quote

import pytest

from apiserver.http_client import Client
from apiserver.objects import config_map, demo

PARTIAL = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
PARTIAL_ONE = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


@pytest.fixture
def five(server: Client, maps: str) -> str:
    """Five ConfigMaps, a to e."""
    for index, name in enumerate("abcde"):
        labels = {"parity": "odd" if index % 2 else "even", "name": name}
        server.post(maps, config_map(name, {"k": name}, labels=labels))
    return maps


def test_list(server: Client, five: str) -> None:
    """Group 6: sorted by name, without kind and apiVersion in the items, at a revision."""
    answer = server.get(five)
    assert (answer["kind"], answer["apiVersion"]) == ("ConfigMapList", "v1")
    assert answer.names == list("abcde")
    assert all("kind" not in item and "apiVersion" not in item for item in answer["items"])
    assert int(answer.revision) >= max(int(item["metadata"]["resourceVersion"]) for item in answer["items"])
    assert set(answer.meta) == {"resourceVersion"}


def test_items_of_custom_kinds_carry_their_kind(server: Client, demos: str) -> None:
    """Group 6: custom kinds keep kind and apiVersion in the items."""
    server.post(demos, demo("a"))
    answer = server.get(demos)
    assert answer["kind"] == "DemoList"
    assert answer["items"][0]["kind"] == "Demo"


def test_empty_list(server: Client, maps: str) -> None:
    """Group 6: items is an empty list, not null; so it is in a namespace that does not exist."""
    assert server.get(maps)["items"] == []
    assert server.get("/api/v1/namespaces/absent/configmaps")["items"] == []


def test_all_namespaces(server: Client, five: str, namespace: str) -> None:
    """Group 6: the path without a namespace spans them all."""
    server.post("/api/v1/namespaces", {"metadata": {"name": f"{namespace}-b"}})
    server.post(f"/api/v1/namespaces/{namespace}-b/configmaps", config_map("z", labels={"where": namespace}))
    found = server.get("/api/v1/configmaps", labelSelector=f"where={namespace}")
    assert [item["metadata"]["namespace"] for item in found["items"]] == [f"{namespace}-b"]


def test_pages(server: Client, five: str) -> None:
    """Group 6: limit and continue, at the revision of the first page."""
    first = server.get(five, limit=2)
    assert (first.names, first.meta["remainingItemCount"]) == (["a", "b"], 3)
    server.post(five, config_map("bb"))
    server.delete(f"{five}/e")
    second = server.get(five, limit=2, **{"continue": first.meta["continue"]})
    assert (second.names, second.meta["remainingItemCount"]) == (["c", "d"], 1)
    assert second.revision == first.revision
    third = server.get(five, limit=2, **{"continue": second.meta["continue"]})
    assert third.names == ["e"]
    assert "continue" not in third.meta
    assert "remainingItemCount" not in third.meta


def test_pages_of_a_selection(server: Client, five: str) -> None:
    """Group 6: with a selector nobody counts what remains."""
    first = server.get(five, limit=2, labelSelector="parity=even")
    assert first.names == ["a", "c"]
    assert "remainingItemCount" not in first.meta
    rest = server.get(five, limit=2, labelSelector="parity=even", **{"continue": first.meta["continue"]})
    assert rest.names == ["e"]


def test_bad_continue_tokens(server: Client, five: str) -> None:
    """Group 6: 400 for what is no token, and for a token with a resourceVersion."""
    token = server.get(five, limit=2).meta["continue"]
    for query in (
        {"continue": "nonsense"},
        {"continue": base64.b64encode(b"{}").decode()},
        {"continue": token, "resourceVersion": "1"},
    ):
        answer = server.get(five, limit=2, **query)
        assert (answer.code, answer.reason) == (400, "BadRequest")


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("parity=even", "ace"),
        ("parity==odd", "bd"),
        ("parity!=odd", "ace"),
        ("parity in (odd,none)", "bd"),
        ("name notin (a, b)", "cde"),
        ("parity", "abcde"),
        ("!parity", ""),
        ("parity=even,name!=a", "ce"),
        ("absent!=x", "abcde"),
        ("name in (a),parity=odd", ""),
    ],
)
def test_label_selectors(server: Client, five: str, selector: str, names: str) -> None:
    """Group 6: equality and sets."""
    assert server.get(five, labelSelector=selector).names == list(names)


@pytest.mark.parametrize("selector", ["a in b", "===", "a=b c", "a in (b"])
def test_bad_label_selectors(server: Client, maps: str, selector: str) -> None:
    """Group 6: 400."""
    answer = server.get(maps, labelSelector=selector)
    assert (answer.code, answer.reason) == (400, "BadRequest")


def test_numeric_label_selectors(server: Client, maps: str) -> None:
    """Group 6: > and < compare integers."""
    for name, size in (("a", "1"), ("b", "20"), ("c", "x")):
        server.post(maps, config_map(name, labels={"size": size}))
    assert server.get(maps, labelSelector="size>5").names == ["b"]
    assert server.get(maps, labelSelector="size<5").names == ["a"]


def test_field_selectors(server: Client, five: str, namespace: str) -> None:
    """Group 6: metadata.name and metadata.namespace for every kind."""
    assert server.get(five, fieldSelector="metadata.name=b").names == ["b"]
    assert server.get(five, fieldSelector="metadata.name!=b").names == list("acde")
    assert server.get(five, fieldSelector=f"metadata.namespace={namespace},metadata.name=c").names == ["c"]
    answer = server.get(five, fieldSelector="data.k=a")
    assert (answer.code, answer.reason) == (400, "BadRequest")


def test_selectable_fields(server: Client, demos: str) -> None:
    """Group 6: a CRD names further fields."""
    server.post(demos, demo("a", {"image": "one"}))
    server.post(demos, demo("b", {"image": "two"}))
    assert server.get(demos, fieldSelector="spec.image=two").names == ["b"]
    assert server.get(demos, fieldSelector="spec.mode=x").code == 400


def test_fields_of_built_in_kinds(server: Client, namespace: str) -> None:
    """Group 6: such as the type of a Secret."""
    path = f"/api/v1/namespaces/{namespace}/secrets"
    server.post(path, {"metadata": {"name": "a"}})
    server.post(path, {"metadata": {"name": "b"}, "type": "x.dev/custom"})
    assert server.get(path, fieldSelector="type=x.dev/custom").names == ["b"]
    assert server.get(path, fieldSelector="type=Opaque").names == ["a"]


def test_revisions_of_a_list(server: Client, five: str) -> None:
    """Group 6: Exact is the past, NotOlderThan and "0" may be newer."""
    then = server.get(five).revision
    server.post(five, config_map("f"))
    assert server.get(five, resourceVersion=then, resourceVersionMatch="Exact").names == list("abcde")
    assert server.get(five, resourceVersion=then, resourceVersionMatch="Exact").revision == then
    assert server.get(five, resourceVersion=then, resourceVersionMatch="NotOlderThan").names == list("abcdef")
    assert server.get(five, resourceVersion=then).names == list("abcdef")
    assert set("abcde") <= set(server.get(five, resourceVersion="0").names)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"resourceVersion": "x"}, 400),
        ({"limit": "x"}, 400),
        ({"resourceVersionMatch": "Exact"}, 422),
        ({"resourceVersion": "0", "resourceVersionMatch": "Exact"}, 422),
        ({"resourceVersion": "1", "resourceVersionMatch": "Nonsense"}, 422),
        ({"sendInitialEvents": "true"}, 422),
    ],
)
def test_bad_queries(server: Client, maps: str, query: dict[str, str], code: int) -> None:
    """Group 6: what cannot be meant is refused."""
    assert server.get(maps, **query).code == code


def test_revision_of_the_future(server: Client, maps: str) -> None:
    """Group 7: "Too large resource version", 504, try again in a second."""
    future = str(int(server.get(maps).revision) + 100_000)
    answer = server.get(maps, resourceVersion=future)
    assert (answer.code, answer.reason) == (504, "Timeout")
    assert answer.message.startswith(f"Timeout: Too large resource version: {future}, current: ")
    assert answer["details"]["retryAfterSeconds"] == 1
    assert answer.causes == [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]


def test_metadata_only(server: Client, five: str) -> None:
    """Group 6: PartialObjectMetadata for a list and for one object."""
    answer = server.call("GET", five, accept=PARTIAL)
    assert (answer["kind"], answer["apiVersion"]) == ("PartialObjectMetadataList", "meta.k8s.io/v1")
    assert answer.names == list("abcde")
    for item in answer["items"]:
        assert set(item) <= {"metadata", "kind", "apiVersion"}
        assert item["metadata"]["labels"]
    one = server.call("GET", f"{five}/a", accept=PARTIAL_ONE)
    assert (one["kind"], one["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
    assert one.meta == server.get(f"{five}/a").meta
    assert set(one.body) == {"kind", "apiVersion", "metadata"}


def rows_of(answer: Any) -> list[dict[str, Any]]:
    assert (answer["kind"], answer["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    names = [column["name"] for column in answer["columnDefinitions"]]
    return [dict(zip(names, row["cells"], strict=True)) for row in answer["rows"]]


def test_tables(server: Client, five: str, demos: str) -> None:
    """Group 6: what `kubectl get` prints; a CRD's own columns replace the age."""
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    table = server.call("GET", five, accept=accept)
    assert [(row["Name"], row["Data"]) for row in rows_of(table)] == [(name, 1) for name in "abcde"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    server.post(demos, demo("a"))
    (row,) = rows_of(server.call("GET", demos, accept=accept))
    assert row == {"Name": "a", "Image": "nginx"}


def test_quoting(server: Client, five: str) -> None:
    """Group 6: selectors are percent-encoded as clients do."""
    answer = server.call("GET", f"{five}?labelSelector={quote('parity in (even)')}&limit=500")
    assert answer.names == list("ace")
