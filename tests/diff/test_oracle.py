"""Strategic merge patches of random documents, against Kubernetes' own library: `make nightly`, where there is Go."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diff.documents import typed
from diff.oracle_types import TYPES, answer, judged, oracle
from diff.test_strategic import together, whole


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    with oracle(tmp_path_factory.mktemp("oracle")) as process:

        def question(what, *documents, **more):
            letters = dict(zip("ABC", documents, strict=False))
            print(json.dumps({"Ask": what, "Kind": "Item", **letters, **more}), file=process.stdin, flush=True)
            return json.loads(process.stdout.readline())

        yield question


def has_twins(value):
    """Whether a list that is merged has a key twice: Kubernetes cannot say what is meant, and we replace the list."""
    if isinstance(value, list):
        names = [json.dumps(item["name"]) for item in value if isinstance(item, dict) and "name" in item]
        return len(set(names)) != len(names) or any(map(has_twins, value))
    return isinstance(value, dict) and any(map(has_twins, value.values()))


def cleaned(value):
    """What the library's answer means: where it finds nothing to patch, it leaves directives in the document."""
    if isinstance(value, list):
        return [cleaned(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: cleaned(item) for name, item in value.items() if name[:1] != "$"}


single = whole.filter(lambda value: not has_twins(value))
often = settings(max_examples=500, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


@pytest.mark.slow
@often
@given(old=whole, new=whole)
def test_kubernetes_applies_our_patch(impl, ask, old, new):
    """DF4: what the library makes of our two-way patch is what is desired, keys that are there twice included."""
    patch = impl.strategic.strategic_merge_patch(old, new, types=TYPES)
    reached = ask("apply", old, patch)["is"]
    assert typed(together(reached)) == typed(together(new))
    assert typed(impl.strategic.apply_strategic_merge_patch(old, patch, types=TYPES)) == typed(reached)


@pytest.mark.slow
@often
@given(old=single, new=single)
def test_we_apply_the_patch_of_kubernetes(impl, ask, old, new):
    """DF4: what we make of the library's patch is what it makes of it."""
    patch = ask("make", old, new)["is"]
    ours = impl.strategic.apply_strategic_merge_patch(old, patch, types=TYPES)
    assert typed(ours) == typed(ask("apply", old, patch)["is"])


@pytest.mark.slow
@often
@given(last=single, live=single, desired=single)
def test_three_ways_as_in_kubernetes(impl, ask, last, live, desired):
    """DF4: both three-way patches have the same effect, whoever applies them."""
    ours = impl.strategic.three_way_patch(last, live, desired, types=TYPES)
    theirs = ask("three", last, desired, live, Overwrite=True)["is"]
    outcome = typed(cleaned(ask("apply", live, theirs)["is"]))
    assert typed(cleaned(ask("apply", live, ours)["is"])) == outcome
    assert typed(impl.strategic.apply_strategic_merge_patch(live, ours, types=TYPES)) == outcome


flat = st.dictionaries(
    st.sampled_from(["a", "b", "c"]), st.sampled_from([None, 1, "x", {}, {"a": 1}, {"b": None}, [1]])
)
plain = st.dictionaries(st.sampled_from(["a", "b"]), st.one_of(flat, st.sampled_from([None, 1, "x", [1]])))


@pytest.mark.slow
@often
@given(last=plain, live=plain, desired=plain)
def test_three_ways_of_merge_patches(impl, ask, last, live, desired):
    """DF4: for kinds without strategies, also with nulls."""
    ours = answer(impl.strategic.three_way_patch, last, live, desired, types={})
    assert judged(ours) == judged(ask("json-three", last, desired, live))
