"""What took how long: a validation says so of each of its questions."""

import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")


class Clock:
    """Seconds of wall clock that each question took, by its name; what is asked in parts adds up."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str, ask: Callable[[], Answer]) -> Answer:
        begun = time.perf_counter()
        answer = ask()
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun
        return answer
