"""What the heads of each layer are taught, and so which of them read answers."""

from __future__ import annotations

# layer -> what its first heads are taught, in order, and how many heads (see examples.TARGETS). A
# head that reads the n-th token of an answer also pools for it.
HEADS: dict[int, tuple[tuple[str, int], ...]] = {
    0: (("previous", 1), ("second", 1)),
    1: (("thing", 2), ("value", 1)),
    3: (("statement", 2), ("read5", 1), ("read6", 1), ("read7", 1)),
    4: (("read0", 1), ("read1", 1), ("read2", 1), ("statement", 1), ("read8", 1)),
    5: (("read0", 1), ("read3", 1), ("read4", 1)),
}


def readers(layer: int) -> list[int]:
    """The heads of `layer` that read a token of the answer."""
    taught = [target for target, heads in HEADS.get(layer, ()) for _ in range(heads)]
    return [head for head, target in enumerate(taught) if target.startswith("read")]
