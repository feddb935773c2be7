"""What a model is made on, as it is told with each training."""

import platform
from importlib.metadata import version

from tasks.machine import described


def test_it_tells_the_versions_in_use_and_says_the_same_twice() -> None:
    told = described()
    assert told["numpy"] == version("numpy")
    assert platform.python_version() in told["Python"]
    assert platform.machine() in told["system"]
    assert all(told.values()), "what is not there is left out"
    assert told == described()
