"""Stretches a state file of the peer: a short sequence's keys and values, again for more tokens.

Reading 128K tokens with full attention takes hours on a small machine; what a step costs behind
them depends on how many there are, not on what they say. The file has the size and layout that the real
one would have, so it also stands in for it where the restoring is timed. The layout is that of the
version peer.sh installs; anything unexpected in the file is an error.
"""
import pathlib
import struct
from collections.abc import Iterator

MAGIC, VERSION = b"qsgg", 3


def stretch(source: pathlib.Path, out: pathlib.Path, tokens: int) -> int:
    """Writes the state of `tokens` tokens to `out`. Returns its size."""
    data = memoryview(source.read_bytes())
    at = 0

    def take(form: str) -> tuple:
        nonlocal at
        values = struct.unpack_from("<" + form, data, at)
        at += struct.calcsize("<" + form)
        return values

    magic, version, known = take("4sII")
    ids = take(f"{known}i")
    streams, cells = take("II")
    metas = [take("iIi") for _ in range(cells)]
    transposed, layers = take("II")
    if (magic, version, streams, cells, transposed) != (MAGIC, VERSION, 1, known, 0):
        raise RuntimeError(f"{source} is not a state of one sequence as this version writes it")
    if metas != [(position, 1, 0) for position in range(known)]:
        raise RuntimeError(f"{source} does not hold positions 0 to {known - 1}")

    with out.open("wb") as file:
        file.write(struct.pack("<4sII", MAGIC, VERSION, tokens))
        file.write(b"".join(struct.pack("<i", ids[i % known]) for i in range(tokens)))
        file.write(struct.pack("<II", 1, tokens))
        file.write(b"".join(struct.pack("<iIi", i, 1, 0) for i in range(tokens)))
        file.write(struct.pack("<II", 0, layers))
        for _ in range(2 * layers):  # all keys, then all values
            element, row_bytes = take("iQ")
            file.write(struct.pack("<iQ", element, row_bytes))
            rows = data[at:at + known * row_bytes]
            at += known * row_bytes
            for piece in _repeated(rows, tokens * row_bytes):
                file.write(piece)
        if at != len(data):
            raise RuntimeError(f"{source} has {len(data) - at} bytes more than expected")
        return file.tell()


def _repeated(rows: memoryview, size: int) -> Iterator[memoryview]:
    while size > 0:
        yield rows[:size]
        size -= len(rows)
