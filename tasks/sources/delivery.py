"""What every source hands over."""

from typing import NamedTuple

import pandas as pd


class Delivery(NamedTuple):
    """Bars as delivered: `name` for people, `sha256` of the content received, `bars` with bar column names."""

    name: str
    sha256: str
    bars: pd.DataFrame
