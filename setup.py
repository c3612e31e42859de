"""Builds the compiled twins in src/fastcore/_ext; everything else stands in pyproject.toml.

Environment: FASTCORE_DEBUG=1 (assertions and None checks), FASTCORE_COVERAGE=1 (line tracing),
FASTCORE_SANITIZE=address,undefined | thread | fuzzer-no-link,address, FASTCORE_ONLY=lru,ttl (build just these, while
working on them).
"""

import os
import sys
from pathlib import Path

import Cython.Compiler.Options
from Cython.Build import cythonize
from Cython.Compiler.Code import UtilityCode
from setuptools import Extension, setup

DEBUG = os.environ.get("FASTCORE_DEBUG") == "1"
COVERAGE = os.environ.get("FASTCORE_COVERAGE") == "1"
SANITIZE = os.environ.get("FASTCORE_SANITIZE", "")
ONLY = {name for name in os.environ.get("FASTCORE_ONLY", "").split(",") if name}

Cython.Compiler.Options.warning_errors = True

# What Cython 3.3.1 makes of dict.get() takes its reference after the look-up: without a GIL another thread may have
# dropped the value by then. (Its dict[key] and setdefault() do it in one step.)
get = UtilityCode.load_cached("dict_getitem_default", "Optimize.c")
borrowed = "    value = PyDict_GetItemWithError(d, key);\n"
if borrowed not in get.impl:
    sys.exit("setup.py mends dict.get() of Cython 3.3.1, which is another one here: see whether it must be mended")
get.impl = get.impl.replace(
    borrowed,
    """\
#ifdef Py_GIL_DISABLED
    if (unlikely(PyDict_GetItemRef(d, key, &value) < 0)) return NULL;
    return value ? value : Py_NewRef(default_value);
#endif
"""
    + borrowed,
)

macros: list[tuple[str, str | None]] = []
if sys.platform == "win32":
    compile_args, link_args = ["/O2"], []
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        macros.append(("Py_GIL_DISABLED", "1"))
else:
    # Fused multiply-add would let the twins differ in the last bit of a float.
    compile_args, link_args = ["-O0" if DEBUG else "-O3", "-g3" if DEBUG else "-g0", "-ffp-contract=off"], []
    # Generated code keeps helpers that a module may not use.
    compile_args += [
        "-Wall",
        "-Wextra",
        "-Wno-unused-function",
        "-Wno-unused-parameter",
        "-Wno-missing-field-initializers",
    ]
    if SANITIZE:
        flags = [f"-fsanitize={SANITIZE}", "-fno-omit-frame-pointer", "-g"]
        compile_args, link_args = [*compile_args, *flags, "-O1"], flags
    if "fuzzer" in SANITIZE:  # atheris does not have what measures the stack
        compile_args.append("-fno-sanitize-coverage=stack-depth")
if not DEBUG:
    macros += [("NDEBUG", None), ("CYTHON_WITHOUT_ASSERTIONS", "1")]
if COVERAGE:
    macros += [("CYTHON_TRACE_NOGIL", "1"), ("CYTHON_USE_SYS_MONITORING", "0")]

extensions = [
    Extension(
        f"fastcore._ext.{source.stem}",
        [source.as_posix()],
        define_macros=macros,
        extra_compile_args=compile_args,
        extra_link_args=link_args,
        undef_macros=["NDEBUG"] if DEBUG else [],
    )
    for source in sorted(Path("src/fastcore/_ext").glob("*.pyx"))
    if not ONLY or source.stem in ONLY
]

directives = {
    "language_level": 3,
    "binding": False,
    "embedsignature": True,
    "embedsignature.format": "clinic",
    "autotestdict": False,
    "auto_pickle": False,
    "nonecheck": DEBUG,
    "linetrace": COVERAGE,
    "warn.unused": True,
    "warn.maybe_uninitialized": True,
}

# What is generated depends on the directives, of which cythonize takes no notice.
build_dir = "build/cython" + "-debug" * DEBUG + "-coverage" * COVERAGE
setup(ext_modules=cythonize(extensions, compiler_directives=directives, build_dir=build_dir))
