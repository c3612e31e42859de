"""diff, patches and fingerprints on a Kubernetes-like document of 32 KB, beside `a == b`, the twins and jsonpatch."""

import copy
import json
from typing import Any

import pytest
from benchmarks.conftest import per_call

from fastcore._ext import diff as ext_diff
from fastcore._ext import fingerprint as ext_fingerprint
from fastcore._ext import patch as ext_patch
from fastcore._ext import plan as ext_plan
from fastcore._ext import strategic as ext_strategic
from fastcore._py import diff as py_diff
from fastcore._py import fingerprint as py_fingerprint
from fastcore._py import patch as py_patch
from fastcore._py import plan as py_plan
from fastcore._py import strategic as py_strategic

EQUAL = "diff, 32 KB equal"
CHANGED = "diff, 32 KB, one deep change"
MADE = "JSON patch made, one deep change"
APPLIED = "JSON patch applied, one operation"
COVERED = "covers, 32 KB"
PRINTED = "fingerprint, 32 KB"
STRATEGIC = "strategic merge patch made, 32 KB, one deep change"
PLANNED = "plan of 100,000, an object"
REPLACED = "plan of 100,000, 500 of them new"
OBJECTS = 100_000


def document() -> dict[str, Any]:
    """A list of pods as it comes from a decoder: nothing is shared."""

    def container(i: int) -> dict[str, Any]:
        return {
            "name": f"container-{i}",
            "image": f"registry.example.com/team/component:{i}",
            "ports": [{"containerPort": 8000 + n, "name": f"port-{n}", "protocol": "TCP"} for n in range(3)],
            "env": [{"name": f"SETTING_{n}", "value": f"the value of setting {n}"} for n in range(12)],
            "resources": {"limits": {"cpu": "500m", "memory": "512Mi"}, "requests": {"cpu": "100m"}},
            "volumeMounts": [{"mountPath": f"/data/{n}", "name": f"volume-{n}", "readOnly": n > 1} for n in range(3)],
        }

    def pod(i: int) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"web-{i}", "namespace": "shop", "generation": 1000 + i, "labels": {"app": "web"}},
            "spec": {"containers": [container(n) for n in range(3)], "nodeName": f"node-{i}"},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        }

    return json.loads(json.dumps({"items": [pod(i) for i in range(8)]}))


def changed() -> dict[str, Any]:
    other = document()
    other["items"][6]["spec"]["containers"][1]["env"][7]["value"] = "another value"
    return other


@pytest.mark.subject(EQUAL, "a == b")
def test_equal_operator(benchmark: Any) -> None:
    one, other = document(), document()
    assert 32_000 < len(json.dumps(one)) < 36_000
    per_call(benchmark, lambda: one == other, calls=1, rounds=300)


@pytest.mark.subject(EQUAL, "fastcore")
def test_equal_ext(benchmark: Any) -> None:
    one, other = document(), document()
    per_call(benchmark, lambda: ext_diff.diff(one, other), calls=1, rounds=300)


@pytest.mark.subject(EQUAL, "twin")
def test_equal_py(benchmark: Any) -> None:
    one, other = document(), document()
    per_call(benchmark, lambda: py_diff.diff(one, other), calls=1, rounds=20)


@pytest.mark.subject(EQUAL, "jsonpatch")
def test_equal_jsonpatch(benchmark: Any) -> None:
    jsonpatch = pytest.importorskip("jsonpatch")
    one, other = document(), document()
    per_call(benchmark, lambda: jsonpatch.make_patch(one, other), calls=1, rounds=20)


@pytest.mark.subject(EQUAL, "deepdiff")
def test_equal_deepdiff(benchmark: Any) -> None:
    deepdiff = pytest.importorskip("deepdiff")
    one, other = document(), document()
    per_call(benchmark, lambda: deepdiff.DeepDiff(one, other), calls=1, rounds=5)


@pytest.mark.subject(EQUAL, "dictdiffer")
def test_equal_dictdiffer(benchmark: Any) -> None:
    dictdiffer = pytest.importorskip("dictdiffer")
    one, other = document(), document()
    per_call(benchmark, lambda: list(dictdiffer.diff(one, other)), calls=1, rounds=20)


@pytest.mark.subject(CHANGED, "fastcore")
def test_changed_ext(benchmark: Any) -> None:
    one, other = document(), changed()
    per_call(benchmark, lambda: ext_diff.diff(one, other), calls=1, rounds=300)


@pytest.mark.subject(CHANGED, "twin")
def test_changed_py(benchmark: Any) -> None:
    one, other = document(), changed()
    per_call(benchmark, lambda: py_diff.diff(one, other), calls=1, rounds=20)


@pytest.mark.subject(CHANGED, "deepdiff")
def test_changed_deepdiff(benchmark: Any) -> None:
    deepdiff = pytest.importorskip("deepdiff")
    one, other = document(), changed()
    per_call(benchmark, lambda: deepdiff.DeepDiff(one, other), calls=1, rounds=5)


@pytest.mark.subject(CHANGED, "dictdiffer")
def test_changed_dictdiffer(benchmark: Any) -> None:
    dictdiffer = pytest.importorskip("dictdiffer")
    one, other = document(), changed()
    per_call(benchmark, lambda: list(dictdiffer.diff(one, other)), calls=1, rounds=20)


@pytest.mark.subject(MADE, "fastcore")
def test_made_ext(benchmark: Any) -> None:
    one, other = document(), changed()
    assert len(ext_patch.json_patch(one, other)) == 1
    per_call(benchmark, lambda: ext_patch.json_patch(one, other), calls=1, rounds=300)


@pytest.mark.subject(MADE, "twin")
def test_made_py(benchmark: Any) -> None:
    one, other = document(), changed()
    per_call(benchmark, lambda: py_patch.json_patch(one, other), calls=1, rounds=20)


@pytest.mark.subject(MADE, "jsonpatch")
def test_made_jsonpatch(benchmark: Any) -> None:
    jsonpatch = pytest.importorskip("jsonpatch")
    one, other = document(), changed()
    per_call(benchmark, lambda: jsonpatch.make_patch(one, other).patch, calls=1, rounds=20)


@pytest.mark.subject(MADE, "fastjsonpatch")
def test_made_fastjsonpatch(benchmark: Any) -> None:
    fastjsonpatch = pytest.importorskip("fastjsonpatch", reason="fastjsonpatch needs CPython 3.12")
    one, other = document(), changed()
    per_call(benchmark, lambda: fastjsonpatch.make_patch(one, other).patch, calls=1, rounds=300)


@pytest.mark.subject(APPLIED, "fastcore")
def test_applied_ext(benchmark: Any) -> None:
    one, patch = document(), ext_patch.json_patch(document(), changed())
    per_call(benchmark, lambda: ext_patch.apply_json_patch(one, patch), calls=1, rounds=300)


@pytest.mark.subject(APPLIED, "twin")
def test_applied_py(benchmark: Any) -> None:
    one, patch = document(), ext_patch.json_patch(document(), changed())
    per_call(benchmark, lambda: py_patch.apply_json_patch(one, patch), calls=1, rounds=20)


@pytest.mark.subject(APPLIED, "jsonpatch")
def test_applied_jsonpatch(benchmark: Any) -> None:
    jsonpatch = pytest.importorskip("jsonpatch")
    one, patch = document(), ext_patch.json_patch(document(), changed())
    per_call(benchmark, lambda: jsonpatch.apply_patch(one, patch), calls=1, rounds=50)


@pytest.mark.subject(APPLIED, "copy.deepcopy alone")
def test_applied_deepcopy(benchmark: Any) -> None:
    one = document()
    per_call(benchmark, lambda: copy.deepcopy(one), calls=1, rounds=50)


@pytest.mark.subject(COVERED, "fastcore")
def test_covers_ext(benchmark: Any) -> None:
    one, other = document(), document()
    assert ext_diff.covers(one, other)
    per_call(benchmark, lambda: ext_diff.covers(one, other), calls=1, rounds=300)


@pytest.mark.subject(COVERED, "twin")
def test_covers_py(benchmark: Any) -> None:
    one, other = document(), document()
    per_call(benchmark, lambda: py_diff.covers(one, other), calls=1, rounds=20)


@pytest.mark.subject(PRINTED, "fastcore")
def test_fingerprint_ext(benchmark: Any) -> None:
    one = document()
    per_call(benchmark, lambda: ext_fingerprint.fingerprint(one), calls=1, rounds=300)


@pytest.mark.subject(PRINTED, "twin")
def test_fingerprint_py(benchmark: Any) -> None:
    one = document()
    per_call(benchmark, lambda: py_fingerprint.fingerprint(one), calls=1, rounds=5)


@pytest.mark.subject(PRINTED, "blake2b of sorted JSON")
def test_fingerprint_json(benchmark: Any) -> None:
    from hashlib import blake2b

    one = document()
    per_call(benchmark, lambda: blake2b(json.dumps(one, sort_keys=True).encode(), digest_size=8), calls=1, rounds=50)


def pods() -> tuple[dict[str, Any], dict[str, Any]]:
    """Two objects of a built-in kind of 32 KB, one of them changed in one place."""
    spec = {"containers": [c for pod in document()["items"] for c in pod["spec"]["containers"]]}
    for i, container in enumerate(spec["containers"]):
        container["name"] = f"container-{i}"
    one = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec}
    other = copy.deepcopy(one)
    other["spec"]["containers"][19]["env"][7]["value"] = "another value"
    return one, other


@pytest.mark.subject(STRATEGIC, "fastcore")
def test_strategic_ext(benchmark: Any) -> None:
    one, other = pods()
    assert len(json.dumps(ext_strategic.strategic_merge_patch(one, other))) < 1500
    per_call(benchmark, lambda: ext_strategic.strategic_merge_patch(one, other), calls=1, rounds=100)


@pytest.mark.subject(STRATEGIC, "twin")
def test_strategic_py(benchmark: Any) -> None:
    one, other = pods()
    per_call(benchmark, lambda: py_strategic.strategic_merge_patch(one, other), calls=1, rounds=10)


def many(gone: int = 0) -> tuple[dict[str, Any], dict[str, Any], tuple[Any, Any]]:
    """Current and desired objects, one in a hundred changed, `gone` replaced by new ones; their fingerprints."""
    current = {f"shop/web-{i}": {"n": i} for i in range(OBJECTS)}
    desired = {f"shop/web-{i}": {"n": i + (i % 100 == 0)} for i in range(gone, OBJECTS + gone)}
    prints = ext_fingerprint.fingerprints(current.values()), ext_fingerprint.fingerprints(desired.values())
    return current, desired, prints


@pytest.mark.subject(PLANNED, "fastcore")
def test_planned_ext(benchmark: Any) -> None:
    current, desired, prints = many()
    per_call(benchmark, lambda: ext_plan.plan(current, desired, fingerprints=prints), calls=OBJECTS, rounds=10)


@pytest.mark.subject(PLANNED, "twin")
def test_planned_py(benchmark: Any) -> None:
    current, desired, prints = many()
    per_call(benchmark, lambda: py_plan.plan(current, desired, fingerprints=prints), calls=OBJECTS, rounds=10)


def loop_over(current: Any, desired: Any, prints: Any) -> Any:
    """What one would write: dicts of fingerprints, key by key."""
    here = dict(zip(current, prints[0].tolist(), strict=True))
    wanted = dict(zip(desired, prints[1].tolist(), strict=True))

    def loop() -> tuple[list[str], list[str], list[str], list[str]]:
        create, update, delete, unchanged = [], [], [], []
        for key, number in wanted.items():
            if key not in here:
                create.append(key)
            elif here[key] == number:
                unchanged.append(key)
            else:
                update.append(key)
        delete.extend(key for key in here if key not in wanted)
        return create, update, delete, unchanged

    assert loop() == tuple(ext_plan.plan(current, desired, fingerprints=prints))
    return loop


@pytest.mark.subject(PLANNED, "a loop over dicts of fingerprints")
def test_planned_loop(benchmark: Any) -> None:
    per_call(benchmark, loop_over(*many()), calls=OBJECTS, rounds=10)


@pytest.mark.subject(REPLACED, "fastcore")
def test_replaced_ext(benchmark: Any) -> None:
    current, desired, prints = many(500)
    per_call(benchmark, lambda: ext_plan.plan(current, desired, fingerprints=prints), calls=OBJECTS, rounds=10)


@pytest.mark.subject(REPLACED, "a loop over dicts of fingerprints")
def test_replaced_loop(benchmark: Any) -> None:
    per_call(benchmark, loop_over(*many(500)), calls=OBJECTS, rounds=10)
