"""diff, patches and fingerprints on a Kubernetes-like document of 32 KB, beside `a == b`, the twins and jsonpatch."""

import copy
import json
from typing import Any

import pytest
from benchmarks.conftest import per_call

from fastcore._ext import diff as ext_diff
from fastcore._ext import fingerprint as ext_fingerprint
from fastcore._ext import patch as ext_patch
from fastcore._py import diff as py_diff
from fastcore._py import fingerprint as py_fingerprint
from fastcore._py import patch as py_patch

EQUAL = "diff, 32 KB equal"
CHANGED = "diff, 32 KB, one deep change"
MADE = "JSON patch made, one deep change"
APPLIED = "JSON patch applied, one operation"
COVERED = "covers, 32 KB"
PRINTED = "fingerprint, 32 KB"


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


@pytest.mark.subject(EQUAL, "fastcore", target="<= 1.3 x a == b")
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


@pytest.mark.subject(CHANGED, "fastcore")
def test_changed_ext(benchmark: Any) -> None:
    one, other = document(), changed()
    per_call(benchmark, lambda: ext_diff.diff(one, other), calls=1, rounds=300)


@pytest.mark.subject(CHANGED, "twin")
def test_changed_py(benchmark: Any) -> None:
    one, other = document(), changed()
    per_call(benchmark, lambda: py_diff.diff(one, other), calls=1, rounds=20)


@pytest.mark.subject(MADE, "fastcore", target="2 x faster than fastjsonpatch, 50 x than jsonpatch")
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
