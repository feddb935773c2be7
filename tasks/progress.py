"""Progress for people: each process says what it is doing; the one that talks to a person draws it."""

import json
import os
from typing import Any

CHANNEL = "COUNTERSIGN_CHANNEL"


def step(text: str, done: int | None = None, total: int | None = None) -> None:
    """Say what is being done now, and how far it is where that is known.

    Printed as well: inside a flow that becomes a line of its Prefect log.
    """
    print(text if done is None else f"{text} ({done}/{total})")
    send({"step": text, "done": done, "total": total})


def send(message: dict[str, Any]) -> None:
    """Pass one message to the parent process over the descriptor it opened; nothing happens without a parent."""
    channel = os.environ.get(CHANNEL)
    if channel:
        os.write(int(channel), json.dumps(message, default=str).encode() + b"\n")
