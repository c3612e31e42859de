"""Without a GIL: importing the extensions does not bring it back."""

import os
import subprocess
import sys
import sysconfig

PROGRAM = """
import importlib, pkgutil, sys
import fastcore._ext
for module in pkgutil.iter_modules(fastcore._ext.__path__):
    importlib.import_module(f"fastcore._ext.{module.name}")
print(getattr(sys, "_is_gil_enabled", lambda: True)())
"""


def test_no_extension_brings_the_gil_back() -> None:
    """An interpreter turns its GIL on, with a warning, for the first extension that does not say it can do without."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON_GIL"}
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    has_gil = not sysconfig.get_config_var("Py_GIL_DISABLED")
    assert run.stdout.strip() == str(has_gil)
