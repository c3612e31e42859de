"""Kinds, their paths, requests, results, resource versions."""

import doctest

import pytest

from fastcore.controller import config, model
from fastcore.controller.model import (
    CONFIG_MAP,
    DEPLOYMENT,
    NAMESPACE,
    Kind,
    Request,
    Result,
    TerminalError,
    key_of,
    parse_revision,
    revision,
)
from fastcore.errors import FastcoreError


@pytest.mark.parametrize("module", [model, config])
def test_examples_in_docstrings_run(module):
    failed, attempted = doctest.testmod(module)
    assert attempted > 0
    assert failed == 0


@pytest.mark.parametrize(
    ("kind", "arguments", "path"),
    [
        (CONFIG_MAP, (), "/api/v1/configmaps"),
        (CONFIG_MAP, ("x",), "/api/v1/namespaces/x/configmaps"),
        (CONFIG_MAP, ("", None), "/api/v1/configmaps"),
        (CONFIG_MAP, ("x", "y"), "/api/v1/namespaces/x/configmaps/y"),
        (DEPLOYMENT, ("x", "y", "status"), "/apis/apps/v1/namespaces/x/deployments/y/status"),
        (NAMESPACE, (None, "y"), "/api/v1/namespaces/y"),
        (NAMESPACE, (None, "y", "finalize"), "/api/v1/namespaces/y/finalize"),
        (CONFIG_MAP, ("a/../b", "c?d#e%f ü"), "/api/v1/namespaces/a%2F..%2Fb/configmaps/c%3Fd%23e%25f%20%C3%BC"),
    ],
)
def test_paths(kind, arguments, path):
    assert kind.path(*arguments) == path


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (NAMESPACE, ("x", "y"), "Namespace is cluster-scoped, so it has no namespace 'x'"),
        (CONFIG_MAP, (None, "y"), "ConfigMap 'y' needs a namespace"),
        (CONFIG_MAP, ("x", None, "status"), "the subresource 'status' of ConfigMap needs a name"),
    ],
)
def test_a_path_that_cannot_be_is_refused(kind, arguments, message):
    with pytest.raises(ValueError, match=message):
        kind.path(*arguments)


def test_api_version_of_the_core_group_and_of_others():
    assert CONFIG_MAP.api_version == "v1"
    assert Kind("a.b", "v1beta2", "C", "cs").api_version == "a.b/v1beta2"


def test_owner_reference_is_a_controller_reference():
    owner = {"metadata": {"name": "web", "uid": "u1"}}
    assert DEPLOYMENT.owner_reference(owner) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "web",
        "uid": "u1",
        "controller": True,
        "blockOwnerDeletion": True,
    }


def test_a_request_reads_like_a_path():
    assert str(Request("blue", "default", "web")) == "blue/default/web"
    assert str(Request("blue", "", "web")) == "blue/web"


@pytest.mark.parametrize("seconds", [-1, -0.1, float("nan")])
def test_a_result_checks_its_delay(seconds):
    with pytest.raises(ValueError, match=r"requeue_after must be >= 0 seconds, not"):
        Result(requeue_after=seconds)


def test_a_result_is_a_value():
    assert Result() == Result(requeue_after=None, priority=None)
    assert Result(0, 3) != Result()
    assert issubclass(TerminalError, FastcoreError)


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("18446744073709551616", 2**64), ("", None), (None, None), ("-1", None), ("1a", None), ("²", None)],
)
def test_revisions_are_numbers_only_when_they_look_like_it(text, number):
    """RF-11: compare as unsigned integers only when both parse."""
    assert parse_revision(text) == number
    assert revision({"metadata": {"resourceVersion": text}}) == number


def test_keys_of_objects():
    assert key_of({"metadata": {"namespace": "x", "name": "y"}}) == ("x", "y")
    assert key_of({"metadata": {"name": "y"}}) == ("", "y")
