"""Messages between the validator and a model's process: a JSON header and a payload, each with its length before it.

Nothing in them is a pickle. Bars travel as an Arrow stream, scores as plain numbers in an order that the asker knows,
so that there is nothing to parse in what the model's process says.
"""

import json
import struct
from typing import Any

LENGTHS = struct.Struct("<QQ")
HEADER_BYTES = 1 << 16  # of a header, at most
Header = dict[str, Any]


def packed(header: Header, size: int) -> bytes:
    """What goes before a payload of `size` bytes."""
    content = json.dumps(header).encode()
    return LENGTHS.pack(len(content), size) + content
