from collections.abc import Sequence
from typing import final

@final
class Sampler:
    def __new__(cls, limits: Sequence[float], rate: float, weighs: bool) -> Sampler: ...
