"""Order and fill records from a FIX 4.4 log.

Each line holds one or more messages, with SOH or `|` between fields, behind any prefix such as a time. A message
counts only if its length (9) and checksum (10) agree with its bytes.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from tasks.domain.orders import CANCEL, FILL, ORDER, REJECT

SOH: Final = b"\x01"
START: Final = re.compile(rb"8=FIX[^\x01|\s]*([\x01|])")
HEAD: Final = re.compile(rb"8=(FIX[^\x01]*)\x019=(\d+)\x01")
END: Final = re.compile(rb"\x0110=(\d{3})(?:\x01|\s|$)")
VERSION: Final = b"FIX.4.4"
NEW_ORDER: Final = b"D"
REPORT: Final = b"8"
# ExecType (150). A replaced order is an order of its own: it has a new id, and its quantity includes what was filled.
KINDS: Final = {
    b"0": ORDER,
    b"5": ORDER,
    b"F": FILL,
    b"1": FILL,
    b"2": FILL,
    b"4": CANCEL,
    b"C": CANCEL,
    b"8": REJECT,
}
STATES: Final = (b"3", b"6", b"7", b"9", b"A", b"B", b"D", b"E", b"I")  # pending and the like: they change no quantity
CORRECTIONS: Final = {b"G": "correction", b"H": "cancellation"}
SENDING_TIME, TRANSACT_TIME, CLIENT_ORDER_ID, ORIGINAL_ID, ORDER_ID = 52, 60, 11, 41, 37
ORDERED, LAST_QUANTITY, PRICE, LAST_PRICE, EXECUTION_TYPE = 38, 32, 44, 31, 150
FIELDS: Final = {
    "execution_id": 17,
    "instrument": 55,
    "side": 54,
    "cumulative_quantity": 14,
    "account": 1,
}


class Line(NamedTuple):
    """One message or line: a `record` (text by our column names), a `reason` to reject it, or neither (passed over)."""

    row: int
    text: str
    record: dict[str, str | None] | None
    reason: str | None


class Faulty(Exception):
    """A message that can't be taken, in words."""


def read(lines: Iterable[bytes]) -> Iterator[Line]:
    """Each message of a log; a line without any is rejected, an empty one is none."""
    for row, line in enumerate(lines, start=1):
        starts = [match.start() for match in START.finditer(line)]
        if not starts:
            if line.strip():
                yield Line(row, shown(line), None, "holds no FIX message")
            continue
        for start, end in zip(starts, [*starts[1:], len(line)], strict=True):
            text = shown(line[start:end])
            try:
                yield Line(row, text, record_of(verified(line[start:end])), None)
            except Faulty as fault:
                yield Line(row, text, None, str(fault))


def shown(line: bytes) -> str:
    return line.replace(SOH, b"|").decode(errors="backslashreplace").strip()[:1000]


def verified(raw: bytes) -> bytes:
    """One message with SOH between fields, cut off behind its checksum, which agrees with its bytes."""
    opening = START.match(raw)
    message = raw.replace(b"|", SOH) if opening and opening.group(1) == b"|" else raw
    end = END.search(message)
    if end is None:
        raise Faulty("checksum (10) is missing: the message is cut")
    head = HEAD.match(message)
    if head is None:
        raise Faulty("body length (9) is missing")
    if head.group(1) != VERSION:
        raise Faulty(f"version {head.group(1).decode(errors='replace')}: expected {VERSION.decode()}")
    body = message[head.end() : end.start() + 1]
    if len(body) != int(head.group(2)):
        raise Faulty(f"body length (9) says {int(head.group(2))}, the body has {len(body)} bytes")
    checksum = sum(message[: end.start() + 1]) % 256
    if checksum != int(end.group(1)):
        raise Faulty(f"checksum (10) says {end.group(1).decode()}, the bytes sum to {checksum:03d}")
    return message[: end.start() + 1] + b"10=" + end.group(1) + SOH


def record_of(message: bytes) -> dict[str, str | None] | None:
    """The record in a message, or None for one that is about something else."""
    fields = parsed(message)
    if fields.get(35) == NEW_ORDER:
        return fields_of(fields, ORDER)
    if fields.get(35) != REPORT:
        return None
    kind = fields.get(EXECUTION_TYPE) or b""
    if kind in STATES:
        return None
    if kind in CORRECTIONS:
        raise Faulty(f"execution type (150) {kind.decode()}: a {CORRECTIONS[kind]} of a trade; settle it by hand")
    if kind not in KINDS:
        raise Faulty(f"execution type (150) {kind.decode(errors='replace')!r} is unknown")
    return fields_of(fields, KINDS[kind])


def parsed(message: bytes) -> Any:
    from simplefix import FixParser
    from simplefix.errors import ParsingError

    parser = FixParser()
    parser.append_buffer(message)
    try:
        fields = parser.get_message()
    except (ParsingError, ValueError) as fault:
        raise Faulty(f"cannot be parsed ({type(fault).__name__})") from None
    if fields is None:
        raise Faulty("cannot be parsed (a data field is longer than the message)")
    return fields


def fields_of(fields: Any, kind: str) -> dict[str, str | None]:
    def text(*tags: int) -> str | None:
        found = next((value for tag in tags if (value := fields.get(tag)) is not None), None)
        try:
            return None if found is None else found.decode()
        except UnicodeDecodeError:
            raise Faulty(f"field {tags[0]} is not UTF-8 text") from None

    # A cancel has an id of its own and names the order it is about as the original one.
    identity = (ORIGINAL_ID, CLIENT_ORDER_ID, ORDER_ID) if kind == CANCEL else (CLIENT_ORDER_ID, ORDER_ID)
    trade = kind == FILL
    return {name: text(tag) for name, tag in FIELDS.items()} | {
        "kind": kind,
        "time": text(TRANSACT_TIME, SENDING_TIME),
        "order_id": text(*identity),
        "quantity": text(LAST_QUANTITY if trade else ORDERED),
        "price": text(LAST_PRICE if trade else PRICE),
        "venue": text(30, 100),
    }
