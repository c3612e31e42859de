"""What stands for a cached function: it is called, bound, copied and collected like the function itself."""

import copy
import functools
import gc
import inspect
import pickle
import weakref

import pytest

from fastcore.cache import LRUCache, cached, hashkey


def wrapped(impl, function, cache=None, make_key=hashkey, plain=True):
    """`function` behind a dict, or another mapping."""
    cache = {} if cache is None else cache

    def load(key, args, kwargs):
        assert isinstance(args, tuple)
        assert isinstance(kwargs, dict)
        cache[key] = result = function(*args, **kwargs)
        return result

    return functools.update_wrapper(impl.cached.caller_for(cache, make_key, plain, load), function)


def everything(*args, **kwargs):
    """Documentation."""
    return args, kwargs, object()


@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), ((1,), {}), ((1, "b", None), {}), ((), {"x": 1}), ((1, 2), {"self": 3, "key": 4})]
)
def test_arguments_reach_the_key_and_the_function(impl, args, kwargs):
    cache = {}
    function = wrapped(impl, everything, cache)
    result = function(*args, **kwargs)
    assert result[:2] == (args, kwargs)
    assert function(*args, **kwargs) is function.__call__(*args, **kwargs) is result
    assert list(cache) == [hashkey(*args, **kwargs)]


def test_arguments_with_the_same_hash(impl):
    """-1 and -2 have one hash, and so have the keys made of them; equal arguments need not be the same object."""
    cache = impl.lru.LRUCache(10)
    function = wrapped(impl, lambda *args: args, cache)
    for _ in range(2):
        for args in ((-1,), (-2,), (-1, -2), (-2, -1), (float("-1"),)):
            assert function(*args) == args
    assert len(cache) == 4


def test_a_key_of_ones_own_gets_every_call(impl):
    cache = {}
    function = wrapped(impl, everything, cache, make_key=lambda *args, **kwargs: len(args) + len(kwargs), plain=False)
    assert function(1) is function(2) is function(x=1)
    assert function() is not function(1, x=2)
    assert set(cache) == {0, 1, 2}


def test_errors_of_the_key_and_of_the_mapping_pass(impl):
    """Only a KeyError of the mapping means that the result is not there."""

    class Broken(dict):
        def __getitem__(self, key):
            raise OSError("no mapping")

    def refuse(*args, **kwargs):
        raise KeyError("no key")

    with pytest.raises(OSError, match="no mapping"):
        wrapped(impl, everything, Broken())(1)
    with pytest.raises(KeyError, match="no key"):
        wrapped(impl, everything, make_key=refuse, plain=False)(1)
    with pytest.raises(TypeError, match="unhashable"):
        wrapped(impl, everything)([])
    with pytest.raises(TypeError, match="unhashable"):
        wrapped(impl, everything)(x=[])


def test_an_error_of_the_function_has_no_context(impl):
    """The failed lookup is over when the function runs."""

    def fail():
        raise ValueError("own")

    with pytest.raises(ValueError, match="own") as caught:
        wrapped(impl, fail)()
    assert caught.value.__context__ is None


def test_a_key_that_calls_the_function_again(impl):
    class Key:
        def __hash__(self):
            return 1

        def __eq__(self, other):
            if self is not other:
                cache.clear()
                function("again")
            return self is other

    cache = LRUCache(4)
    function = wrapped(impl, everything, cache)
    keys = Key(), Key()
    for _ in range(3):
        for key in keys:
            assert function(key)[0] == (key,)
    cache._check()


def test_methods(impl):
    class Thing:
        method = wrapped(impl, lambda self, x, **kwargs: (self, x, kwargs))
        static = staticmethod(wrapped(impl, everything))

    thing = Thing()
    assert thing.method(1) is thing.method(1) is Thing.method(thing, 1) is functools.partial(thing.method)(1)
    assert thing.method(1, y=2) == (thing, 1, {"y": 2})
    assert thing.method.__self__ is thing
    assert list(inspect.signature(thing.method).parameters) == ["x", "kwargs"]
    assert thing.static(1) is Thing.static(1)


def test_attributes(impl):
    function = wrapped(impl, everything)
    assert (function.__name__, function.__qualname__, function.__module__) == ("everything", "everything", __name__)
    assert function.__doc__ == inspect.getdoc(function) == "Documentation."
    assert function.__wrapped__ is everything
    assert inspect.signature(function) == inspect.signature(everything)
    assert callable(function)
    assert not inspect.iscoroutinefunction(function)
    function.own = 1
    assert function.own == 1
    assert "everything" in repr(function)


@cached(LRUCache(10))
def importable(x):
    return [x]


def test_pickled_by_name():
    """As functions are, and copied as themselves."""
    assert pickle.loads(pickle.dumps(importable)) is importable
    assert copy.copy(importable) is copy.deepcopy(importable) is importable


def test_a_function_without_a_name(impl):
    function = wrapped(impl, functools.partial(everything, 1))
    assert function(2)[0] == (1, 2)
    assert copy.copy(function) is copy.deepcopy(function) is function
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(function)


def test_collected_with_what_refers_to_it(impl):
    cache = {}
    function = wrapped(impl, everything, cache)
    cache["function"] = function
    gone = weakref.ref(function)
    del function, cache
    gc.collect()
    assert gone() is None


def test_arguments_are_given_back(impl):
    """Neither a hit, a miss nor an error keeps them."""

    class Argument:
        pass

    function = wrapped(impl, lambda *args, **kwargs: None, cache := {})
    argument = Argument()
    gone = weakref.ref(argument)
    for _ in range(3):
        function(argument)
        function(argument, x=argument)
        with pytest.raises(TypeError):
            function([], argument)
    cache.clear()
    del argument
    gc.collect()
    assert gone() is None
