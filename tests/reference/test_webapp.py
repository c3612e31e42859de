"""What a WebApp asks for, and what its schema cannot refuse."""

from typing import Any

import pytest
import yaml

from fastcore.controller.model import CONFIG_MAP
from fastcore.reference import MANIFESTS, crd
from fastcore.reference.webapp import (
    CONFIG_HASH,
    WEBAPP,
    config_hash,
    config_map,
    deployment,
    is_leaving,
    is_owned,
    problems,
)


def webapp(name: str = "web", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps.fastcore.dev/v1",
        "kind": "WebApp",
        "metadata": {"name": name, "namespace": "default", "uid": "uid-1", "generation": 1},
        "spec": {"image": "nginx:1", "replicas": 2, **spec},
    }


OWNER = {
    "apiVersion": "apps.fastcore.dev/v1",
    "kind": "WebApp",
    "name": "web",
    "uid": "uid-1",
    "controller": True,
    "blockOwnerDeletion": True,
}


def test_the_children_carry_name_label_and_owner() -> None:
    for child in (config_map(webapp()), deployment(webapp())):
        assert child["metadata"] == {
            "name": "web",
            "namespace": "default",
            "labels": {"app.kubernetes.io/name": "web"},
            "ownerReferences": [OWNER],
        }


def test_the_config_map_holds_the_config() -> None:
    assert config_map(webapp(config={"A": "1"}))["data"] == {"A": "1"}
    assert "data" not in config_map(webapp(config={}))
    assert "data" not in config_map(webapp())


def test_the_deployment_runs_the_image() -> None:
    spec = deployment(webapp(config={"A": "1"}, ports=[{"name": "http", "port": 80}]))["spec"]
    assert spec["replicas"] == 2
    assert spec["selector"] == {"matchLabels": {"app.kubernetes.io/name": "web"}}
    template = spec["template"]
    assert template["metadata"] == {
        "labels": {"app.kubernetes.io/name": "web"},
        "annotations": {CONFIG_HASH: config_hash({"A": "1"})},
    }
    assert template["spec"]["containers"] == [
        {
            "name": "app",
            "image": "nginx:1",
            "envFrom": [{"configMapRef": {"name": "web"}}],
            "ports": [{"name": "http", "containerPort": 80, "protocol": "TCP"}],
        }
    ]
    assert "ports" not in deployment(webapp())["spec"]["template"]["spec"]["containers"][0]


def test_the_config_hash_depends_on_the_config_alone_and_never_changes() -> None:
    assert config_hash({"a": "1", "b": "2"}) == config_hash({"b": "2", "a": "1"})
    assert config_hash({"a": "1"}) != config_hash({"a": "2"})
    assert config_hash({}) == "44136fa355b3678a1146ad16f7e8649e"  # else an upgrade would restart every pod


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"image": " nginx"}, "spec.image.*white space"),
        ({"image": "nginx\n"}, "spec.image.*white space"),
        ({"config": {"a b": "x"}}, "'a b' is no key"),
        ({"config": {"..x": "y"}}, r"'\.\.x' is no key"),
        ({"config": {"a": "x" * 1024 * 1024}}, "spec.config has 1048577 bytes"),
        ({"ports": [{"name": "a", "port": 1}, {"name": "a", "port": 2}]}, "two ports are named 'a'"),
        ({"ports": [{"name": "a", "port": 1}, {"name": "b", "port": 1}]}, "two ports have the number 1"),
        ({"ports": [{"name": "123", "port": 1}]}, "needs a letter"),
        ({"ports": [{"name": "a--b", "port": 1}]}, "no '--'"),
    ],
)
def test_problems_name_field_and_value(spec: dict[str, Any], message: str) -> None:
    (found,) = problems(webapp(**spec))
    with pytest.raises(ValueError, match=message):
        raise ValueError(found)


def test_a_name_that_is_no_label_is_a_problem() -> None:
    assert list(problems(webapp("a" * 63))) == []
    (found,) = problems(webapp("a" * 64))
    assert "64 characters" in found


def test_a_good_webapp_has_no_problems() -> None:
    good = webapp(config={"A.b-c_D": "ä" * 100}, ports=[{"name": "http", "port": 80}, {"name": "a1", "port": 81}])
    assert list(problems(good)) == []


def test_owned_means_by_this_very_object() -> None:
    """WR-7: by uid."""
    child = {"metadata": {"name": "web", "ownerReferences": [OWNER]}}
    assert is_owned(child, webapp())
    assert not is_leaving(child, webapp())
    before = {"metadata": {"name": "web", "ownerReferences": [{**OWNER, "uid": "uid-0"}]}}
    assert not is_owned(before, webapp())
    assert is_leaving(before, webapp())
    for references in ([], [{**OWNER, "controller": False}], [{**OWNER, "kind": "Site", "uid": "x"}]):
        foreign = {"metadata": {"name": "web", "ownerReferences": references}}
        assert not is_owned(foreign, webapp())
        assert not is_leaving(foreign, webapp())
    assert is_leaving({"metadata": {**child["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}, webapp())


def test_the_manifests_agree_with_the_code() -> None:
    definition = crd()
    assert definition["metadata"]["name"] == f"{WEBAPP.plural}.{WEBAPP.group}"
    (version,) = definition["spec"]["versions"]
    assert version["name"] == WEBAPP.version
    assert definition["spec"]["names"]["kind"] == WEBAPP.kind
    sample = yaml.safe_load((MANIFESTS / "webapp.yaml").read_text())
    assert sample["apiVersion"] == WEBAPP.api_version
    assert list(problems(sample)) == []
    assert CONFIG_MAP.plural in (MANIFESTS / "rbac.yaml").read_text()
