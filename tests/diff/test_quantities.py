"""Quantities: the same amount in other words is no difference, exactly where Kubernetes has quantities."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diff.generate_kinds import Schemas, download, kinds_of, quantities, target
from diff.test_oracle import ask as ask  # a fixture
from diff.test_oracle import often
from fastcore.testing.kube import KubeServer

SAME = [
    ("500m", "0.5"),
    ("1Gi", "1024Mi"),
    ("1", 1),
    ("0.5", 0.5),
    ("1k", "1e3"),
    ("1E", "1000P"),
    ("1E3", 1000),
    ("+1", "1"),
    (".5", "0.50"),
    ("5.", "5"),
    ("-0", "0"),
    ("1.5Ki", "1536"),
    ("1e-3", "1m"),
    ("0.1n", "1n"),  # Kubernetes rounds up to billionths
    ("100000000000000000001n", "100000000000.000000001"),
    (1e22, "10000E"),
]
OTHER = [
    ("500m", "0.501"),
    ("1G", "1Gi"),
    ("0.1", "0.10000001"),
    ("1", "-1"),
    ("1e99", "1e98"),
    ("1", True),
    ("1", None),
    ("1", "1 "),
    ("1", "1K"),
    ("1", "1e"),
    ("", "0"),
    (".", "0"),
    ("٣", "3"),
    ("1", "1\n"),
    ("1", ["1"]),
    ("1e9999", "1e9998"),
    ("9" * 65, "9" * 64 + "8"),
    (10**50, "1e50"),
    (float("inf"), "inf"),
]


def pod(cpu):
    container = {"name": "web", "resources": {"limits": {"cpu": cpu}}, "env": [{"name": "A", "value": cpu}]}
    return {"kind": "Pod", "spec": {"containers": [container]}}


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_amount(impl, one, other):
    """At the path of a quantity no difference, anywhere else one; by diff, covers and plan alike."""
    for a, b in ((one, other), (other, one)):
        live, desired = pod(a), pod(b)
        assert [change.where for change in impl.diff.diff(live, desired)] == [
            "spec.containers[name=web].env[name=A].value"
        ]
        assert not impl.diff.covers(live, desired)
        outside = ["spec.containers.*.env"]
        assert impl.diff.diff(live, desired, ignore=outside) == []
        assert impl.diff.covers(live, desired, ignore=outside)
        for exact in (False, True):
            assert impl.plan.plan({"k": live}, {"k": desired}, exact=exact, ignore=outside).unchanged == ["k"]
        assert not impl.diff.covers(live, desired, ignore=outside, quantities={})
        assert len(impl.diff.diff(live, desired, ignore=outside, quantities={})) == 1


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_another_amount_or_none(impl, one, other):
    for a, b in ((one, other), (other, one)):
        live, desired = {"spec": {"hard": {"x": a}}, "kind": "ResourceQuota"}, {"spec": {"hard": {"x": b}}}
        assert len(impl.diff.diff(live, desired, ignore=["kind"])) == 1
        assert impl.diff.covers(live, desired) == (a is not None and b is None and a is None)


def test_where_quantities_stand(impl):
    """By kind and pattern: whole paths, or the end of one; a part of a document counts as any kind."""
    assert impl.diff.covers({"resources": {"limits": {"cpu": "1"}}}, {"resources": {"limits": {"cpu": "1000m"}}})
    assert not impl.diff.covers({"limits": {"cpu": "1"}}, {"limits": {"cpu": "1000m"}})
    quota = {"kind": "ResourceQuota", "spec": {"hard": {"pods": "1"}}}
    assert impl.diff.covers(quota, {"spec": {"hard": {"pods": "1000m"}}})
    assert not impl.diff.covers({**quota, "kind": "WebApp"}, {"spec": {"hard": {"pods": "1000m"}}})
    mine = {**impl.diff.QUANTITIES, "WebApp": ("spec.hard.*", ("spec", "per.node", "*", "**"))}
    assert impl.diff.covers({**quota, "kind": "WebApp"}, {"spec": {"hard": {"pods": "1000m"}}}, quantities=mine)
    nodes = {"kind": "WebApp", "spec": {"per.node": [{"**": "1"}]}}
    assert impl.diff.diff(nodes, {"kind": "WebApp", "spec": {"per.node": [{"**": "1e0"}]}}, quantities=mine) == []
    with pytest.raises(TypeError, match="quantities maps kinds to patterns of paths, not list"):
        impl.diff.diff({}, {}, quantities=[])


def test_a_real_difference_behind_a_quantity_is_found(impl):
    live = {"spec": {"resources": {"limits": {"cpu": "1"}}, "z": "1"}}
    desired = {"spec": {"resources": {"limits": {"cpu": "1000m"}}, "z": "1000m"}}
    assert [change.where for change in impl.diff.diff(live, desired)] == ["spec.z"]
    assert not impl.diff.covers(live, desired)


def leaves(schemas: Schemas) -> set[tuple[str, str]]:
    """(kind, path) of every scalar that is a string or a number."""
    found: set[tuple[str, str]] = set()

    def visit(kind: str, path: tuple[str, ...], schema: dict, inside: frozenset[str]) -> None:
        name = target(schema)
        if name and name not in inside:
            schema, inside = schemas[name], inside | {name}
        elif name:
            return
        if schema.get("type") in ("string", "integer", "number"):
            found.add((kind, ".".join(path)))
        for member, value in schema.get("properties", {}).items():
            visit(kind, (*path, member), value, inside)
        for element in (schema.get("items"), schema.get("additionalProperties")):
            if isinstance(element, dict):
                visit(kind, (*path, "*"), element, inside)

    for name, schema in schemas.items():
        for kind in kinds_of(name, schema):
            visit(kind.partition(" ")[2], (), schema, frozenset({name}))
    return found


@pytest.mark.kube
def test_the_table_is_that_of_a_real_server(kube_server: KubeServer) -> None:
    """Every quantity of the built-in kinds is known by its path, and nothing else is taken for one."""
    from fastcore._py.diff import QUANTITIES
    from fastcore._py.quantity import is_quantity

    _, schemas = download(kube_server)
    real = quantities(schemas)
    assert len(real) > 200
    assert {place for place in real if not is_quantity(QUANTITIES, place[0], place[1].split("."))} == set()
    assert {p for p in leaves(schemas) - real if is_quantity(QUANTITIES, p[0], p[1].split("."))} == set()


# Up to 2**63: beyond it Kubernetes takes some amounts for the largest, and others not.
texts = st.one_of(
    st.from_regex(r"[+-]?[0-9]{1,6}(\.[0-9]{0,4})?([numkMGT]|[KMGT]i|[eE][+-]?[0-9])?", fullmatch=True),
    st.sampled_from([text for pair in SAME[:-2] for text in pair if isinstance(text, str)]),
    st.integers(-(10**18), 10**18),
)


@pytest.mark.slow
@often
@given(one=texts, other=texts)
def test_amounts_as_kubernetes_compares_them(impl, ask, one, other):
    same = ask("quantity", one, other)
    path = ({"resources": {"limits": {"cpu": value}}} for value in (one, other))
    assert impl.diff.covers(*path) == (one == other if "error" in same else same["is"])
