"""A log of signed entries, numbered and chained by hash: nothing in it can be changed, left out or put elsewhere
unseen. What was cut off its end is seen by whoever holds a later head."""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner, Key

from tasks import keys
from tasks.home import as_json, sha256, write_whole

Content = dict[str, Any]
PAYLOAD = "application/vnd.countersign.{}+json"


class Entry(NamedTuple):
    """One entry whose signature and place were checked. `public`: the key that signed it; `sha256`: of its file."""

    sequence: int
    public: str
    content: Content
    sha256: str


class Broken(Exception):
    """The first entry of a log that does not hold, in words."""


def append(folder: Path, kind: str, content: Content, by: CryptoSigner, after: Sequence[Entry]) -> Entry:
    """Sign an entry and store it behind those that are there. The caller holds the log."""
    place = {"sequence": len(after) + 1, "previous": after[-1].sha256 if after else ""}
    envelope = Envelope(as_json(content | place), PAYLOAD.format(kind), {})
    envelope.sign(by)
    written = as_json(envelope.to_dict())
    write_whole(folder / f"{place['sequence']:06d}.json", written)
    return Entry(int(place["sequence"]), keys.public_of(by.public_key), content | place, sha256(written))


def read(folder: Path, kind: str, known: Sequence[str]) -> list[Entry]:
    """All entries, oldest first, each signed by one of the `known` public keys and following the one before it.

    Raises:
        Broken: naming the first that is not so.
    """
    found: list[Entry] = []
    previous = ""
    for number, path in enumerate(sorted(folder.glob("*.json")), start=1):
        content = path.read_bytes()
        checked = opened(content, kind, tuple(known))
        if checked is None:
            raise Broken(f"entry {path.name} is altered or signed by an unknown key")
        public, said = checked
        if (said.get("sequence"), said.get("previous"), path.stem) != (number, previous, f"{number:06d}"):
            raise Broken(f"entry {path.name} does not follow the one before it")
        previous = sha256(content)
        found.append(Entry(number, public, said, previous))
    return found


@lru_cache(maxsize=65536)
def opened(content: bytes, kind: str, known: tuple[str, ...]) -> tuple[str, Content] | None:
    """The key that signed an envelope, and what it says; None where it says nothing that counts."""
    try:
        envelope = Envelope.from_dict(json.loads(content))
        [keyid] = envelope.signatures
        key = next(each for each in map(keys.from_public, known) if each.keyid == keyid)
        envelope.verify([Key.from_dict(keyid, key.to_dict())], 1)
        said = json.loads(envelope.payload)
    except Exception:  # noqa: BLE001 - a hostile entry may fail in any way; all of them mean it does not count
        return None
    if envelope.payload_type != PAYLOAD.format(kind) or not isinstance(said, dict):
        return None
    return keys.public_of(key), said
