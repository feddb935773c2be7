"""Progress for people: each process says what it is doing; the one that talks to a person draws it."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

CHANNEL = "COUNTERSIGN_CHANNEL"
Listener = Callable[[dict[str, Any]], None]
listening: ContextVar[Listener | None] = ContextVar("listening", default=None)


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Hand what is said in this process to a listener in it, for work that has no process of its own."""
    token = listening.set(listener)
    try:
        yield
    finally:
        listening.reset(token)


def step(text: str, done: int | None = None, total: int | None = None) -> None:
    """Say what is being done now, and how far it is where that is known.

    Printed as well: inside a flow that becomes a line of its Prefect log.
    """
    message = {"step": text, "done": done, "total": total}
    if listener := listening.get():
        listener(message)
        return
    print(text if done is None else f"{text} ({done}/{total})")
    send(message)


def send(message: dict[str, Any]) -> None:
    """Pass one message to the parent process over the descriptor it opened; nothing happens without a parent."""
    channel = os.environ.get(CHANNEL)
    if channel:
        os.write(int(channel), json.dumps(message, default=str).encode() + b"\n")
