"""The public names of the runtime, and what importing them costs."""

import subprocess
import sys

import pytest

import fastcore.controller


def test_every_public_name_is_there() -> None:
    for name in fastcore.controller.__all__:
        assert getattr(fastcore.controller, name).__name__ if not name.isupper() else True
    assert set(dir(fastcore.controller)) >= {"ClientConfig", "ControllerBuilder", "Kind", "Manager", "Result"}
    assert not hasattr(fastcore.controller, "nothing")


def test_the_model_alone_needs_no_library() -> None:
    code = (
        "import sys; from fastcore.controller import Kind, Request, Result;"
        "print(sorted({'aiohttp', 'kubernetes', 'prometheus_client', 'uvloop'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_manager_without_metrics_needs_neither_kubernetes_nor_prometheus() -> None:
    """Their imports cost tens of megabytes: they come with a kubeconfig to read or a page to serve."""
    code = (
        "import sys; from fastcore.controller import ClientConfig, ControllerBuilder, Manager, CONFIG_MAP;"
        "m = Manager(ClientConfig('http://127.0.0.1:9'));"
        "ControllerBuilder(m, 'a').for_(CONFIG_MAP).complete(lambda ctx, request: None);"
        "print(sorted({'kubernetes', 'prometheus_client', 'uvloop'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", ["fastcore.controller import Client", "fastcore.testing.apiserver import APIServer"])
def test_a_missing_package_is_an_error_that_says_what_to_install(name: str) -> None:
    code = f"import sys; sys.modules['msgspec'] = None; from {name}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'fastcore-k8s[controller]'" in done.stderr
