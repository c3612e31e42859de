"""What a server turned out not to offer, remembered for as long as its configuration lives."""

from weakref import WeakKeyDictionary

from fastcore.controller.config import ClientConfig
from fastcore.controller.model import Kind

_lacking: "WeakKeyDictionary[ClientConfig, set[tuple[str, str]]]" = WeakKeyDictionary()


def offers(config: ClientConfig, feature: str, kind: Kind) -> bool:
    """Whether nothing is known against `feature`.

    An API group and version has one answer: groups may be served by different programs behind one address.
    """
    return (feature, kind.api_version) not in _lacking.get(config, ())


def lacks(config: ClientConfig, feature: str, kind: Kind) -> None:
    """Remember that the server of `config` has no `feature` for the group and version of `kind`."""
    _lacking.setdefault(config, set()).add((feature, kind.api_version))
