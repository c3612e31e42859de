"""Differences, patches and fingerprints of JSON-like documents, with Kubernetes' keyed lists understood.

A document is dict (str keys), list, str, int, float, bool and None; subclasses, other mappings and tuples are read as
the plain type that they stand for. Numbers are equal by value (1 and 1.0), true equals only true.
"""

import sys
from types import ModuleType
from typing import Any

from fastcore._impl import diff as _diff
from fastcore._impl import fingerprint as _fingerprint
from fastcore._impl import patch as _patch
from fastcore._impl import plan as _plan
from fastcore._impl import strategic as _strategic

__all__ = [
    "KUBERNETES",
    "QUANTITIES",
    "Change",
    "Plan",
    "apply_json_patch",
    "apply_merge_patch",
    "apply_strategic_merge_patch",
    "covers",
    "diff",
    "fingerprint",
    "fingerprints",
    "json_patch",
    "merge_patch",
    "patch_type",
    "plan",
    "strategic_merge_patch",
    "three_way_patch",
]

KUBERNETES = _diff.KUBERNETES
QUANTITIES = _diff.QUANTITIES
Change = _diff.Change
diff = _diff.diff
covers = _diff.covers

Plan = _plan.Plan
plan = _plan.plan

json_patch = _patch.json_patch
apply_json_patch = _patch.apply_json_patch
merge_patch = _patch.merge_patch
apply_merge_patch = _patch.apply_merge_patch

strategic_merge_patch = _strategic.strategic_merge_patch
apply_strategic_merge_patch = _strategic.apply_strategic_merge_patch
three_way_patch = _strategic.three_way_patch
patch_type = _strategic.patch_type

fingerprint = _fingerprint.fingerprint
fingerprints = _fingerprint.fingerprints


class _Module(ModuleType):
    """`fastcore.diff` is this module and, as `from fastcore import diff` reads, the function of the same name.

    A function in the package would hide the module: `import fastcore.diff as d` and `fastcore.diff.covers` would break.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> list[Change]:
        return diff(*args, **kwargs)


sys.modules[__name__].__class__ = _Module
