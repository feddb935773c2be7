"""What comes true a little later."""

import time
from collections.abc import Callable
from typing import Any


def eventually(found: Callable[[], Any], wanted: Any, seconds: float = 30) -> None:
    """Prefect's records follow the events; give them a moment."""
    deadline = time.monotonic() + seconds
    while (last := found()) != wanted:
        assert time.monotonic() < deadline, last
        time.sleep(0.5)
