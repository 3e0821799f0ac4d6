#!/usr/bin/env python3
"""Issue 5's tables from the JSON lines of peer_run.py: peer_table.py [FOLDER]

For each shape, number of bits and type of the state: our engine with CCA, the peer, and our engine
with full attention, at each length; then the pairs run by run. Medians over the rounds. "~" marks
what was not measured in full: the peer's prefill where only steps of it were timed
(peer_measure.py), and ours where a length was left out; that comes from the shorter ones, prefill
as a*L + b*L^2, the rest as c + d*L. "!" marks what was measured while other programs took a part
of the processors, and does not count: such a round is passed over where there is another.
"""
import json
import pathlib
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

DISTURBED = 0.1  # processors taken by others
ENGINES = {"cca": "ours, CCA", "peer": "llama.cpp", "full": "ours, full"}


@dataclass(frozen=True)
class Figure:
    """A median and its mark."""

    value: float
    mark: str = ""

    def text(self, form: Callable[[float], str]) -> str:
        return self.mark + form(self.value)


def joined(*figures: Figure) -> str:
    """The mark of what is made of them."""
    return "".join(mark for mark in "!~" if any(mark in figure.mark for figure in figures))


def number(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def megabytes(value: float) -> str:
    return number(value / 1e6)


# Column: field of the report and how it is printed; shown() turns times that stand for rates.
COLUMNS = {
    "prefill tokens/s": ("prefill_seconds", number),
    "decode tokens/s": ("decode_seconds_per_token", number),
    "TTFT from memory, s": ("ttft_memory_seconds", number),
    "TTFT from disk, s": ("ttft_disk_seconds", number),
    "stored MB": ("state_bytes", megabytes),
    "peak memory MB": ("peak_memory_bytes", megabytes),
}


class Results:
    """All runs of one shape, number of bits and type of the state."""

    def __init__(self, lines: list[dict]) -> None:
        self.lines = lines
        self.lengths = sorted({line["length"] for line in lines})

    def rounds(self, engine: str, length: int) -> list[dict]:
        return [line for line in self.lines
                if line["engine"] == engine and line["length"] == length]

    def figure(self, engine: str, length: int, field: str) -> Figure | None:
        if self.rounds(engine, length):
            return self._measured(engine, length, field)
        known = [(at, self._measured(engine, at, field)) for at in self.lengths
                 if self.rounds(engine, at)]
        if len(known) < 2:
            return None
        # Least squares, each length's error as a share of its value.
        powers = (1, 2) if field == "prefill_seconds" else (0, 1)
        left = np.array([[at**power / known_at.value for power in powers] for at, known_at in known])
        factors = np.linalg.lstsq(left, np.ones(len(known)), rcond=None)[0]
        value = sum(factor * length**power for factor, power in zip(factors, powers))
        mark = "!~" if any("!" in figure.mark for _, figure in known) else "~"
        return Figure(float(value), mark) if value > 0 else None

    def _measured(self, engine: str, length: int, field: str) -> Figure:
        rounds = self.rounds(engine, length)
        quiet = [line for line in rounds if not disturbed(line)]
        used = quiet or rounds
        timed = field not in ("state_bytes", "peak_memory_bytes")
        sampled = any(line["report"].get("prefill_measured_tokens", length) < length
                      for line in used)
        mark = ("!" if timed and not quiet else "") + (
            "~" if sampled and field == "prefill_seconds" else "")
        return Figure(statistics.median(of_run(line, field) for line in used), mark)


def disturbed(line: dict) -> bool:
    return line["others_processors"] > DISTURBED


def of_run(line: dict, field: str) -> float:
    if field == "decode_seconds_per_token":
        return 1 / line["report"]["decode_tokens_per_second"]
    return line["report"][field]


def shown(column: str, figure: Figure | None, length: int) -> str:
    """The column's unit; of times that stand for rates, the rate."""
    if figure is None:
        return "-"
    form = COLUMNS[column][1]
    if column == "prefill tokens/s":
        return figure.text(lambda seconds: form(length / seconds))
    if column == "decode tokens/s":
        return figure.text(lambda seconds: form(1 / seconds))
    return figure.text(form)


def print_rows(head: list[str], rows: list[list[str]]) -> None:
    """As Markdown that is readable as plain text too."""
    if not rows:
        return
    widths = [max(map(len, column)) for column in zip(head, *rows)]
    for row in [head, [f"{'-' * (width - 1)}:" for width in widths], *rows]:
        print(f"| {' | '.join(cell.rjust(width) for cell, width in zip(row, widths))} |")
    print()


def print_figures(results: Results) -> None:
    rows = []
    for length in results.lengths:
        for engine, name in ENGINES.items():
            rows.append([f"{length}", name] + [
                shown(column, results.figure(engine, length, field), length)
                for column, (field, _) in COLUMNS.items()])
    print_rows(["tokens", "engine", *COLUMNS], rows)


def print_ratios(results: Results) -> None:
    """The quantities that the goals name."""
    rows = []
    for length in results.lengths:
        def over(above: tuple[str, str], below: tuple[str, str], form: str,
                 at: int = length) -> str:
            """One (engine, field) over another."""
            figures = [results.figure(engine, at, field) for engine, field in (above, below)]
            if None in figures:
                return "-"
            return joined(*figures) + format(figures[0].value / figures[1].value, form)

        def faster(field: str, than: str, engine: str = "cca") -> str:
            return over((than, field), (engine, field), ".2f")

        rows.append([f"{length}"] + [
            faster("prefill_seconds", "peer"), faster("decode_seconds_per_token", "peer"),
            faster("ttft_memory_seconds", "peer"), faster("ttft_disk_seconds", "peer"),
            faster("prefill_seconds", "full"), faster("decode_seconds_per_token", "full"),
            faster("prefill_seconds", "peer", "full"),
            over(("cca", "state_bytes"), ("peer", "state_bytes"), ".1%"),
            over(("cca", "ttft_disk_seconds"), ("cca", "prefill_seconds"), ".2%"),
            over(("peer", "ttft_disk_seconds"), ("peer", "prefill_seconds"), ".2%")])
    print("How many times faster:\n")
    print_rows(["tokens", "prefill, CCA than peer", "decode", "TTFT memory", "TTFT disk",
                "prefill, CCA than full", "decode", "prefill, full than peer",
                "stored, CCA of peer", "TTFT disk of prefill, CCA", "peer"], rows)


def print_pairs(results: Results) -> None:
    rows = []
    for length in results.lengths:
        for column in ("prefill tokens/s", "decode tokens/s"):
            field = COLUMNS[column][0]
            tokens = length if field == "prefill_seconds" else 1
            ours, peers = ([Figure(tokens / of_run(line, field), "!" if disturbed(line) else "")
                            for line in results.rounds(engine, length)]
                           for engine in ("cca", "peer"))
            if not ours or not peers:
                continue
            ratios = [Figure(our.value / peer.value, joined(our, peer))
                      for our, peer in zip(ours, peers)]
            rows.append([f"{length}", column]
                        + ["; ".join(figure.text(number) for figure in figures)
                           for figures in (ours, peers, ratios)])
    print_rows(["tokens", "", "ours, CCA, run by run", "llama.cpp, run by run", "ratio"], rows)


def print_conditions(results: Results) -> None:
    peer = next((line["report"] for line in results.lines if line["engine"] == "peer"), None)
    if peer is not None:
        print(f"Peer: {peer['peer']} {peer['threads']} threads, cache {peer['cache']}, flash "
              f"attention {peer['flash_attention']}, steps of {peer['chunk']} tokens.")
    for engine in ("cca", "full"):
        command = next((line["command"] for line in results.lines if line["engine"] == engine),
                       None)
        if command is not None:
            print(f"Ours: {' '.join(command[1:])}")
    loads = [line[when] for line in results.lines for when in ("load_before", "load_after")]
    others = [line["others_processors"] for line in results.lines]
    print(f"Load average before and after each run: {min(loads):.2f} to {max(loads):.2f}; other "
          f"programs took {statistics.median(others):.2f} processors in the median run, at most "
          f"{max(others):.2f}.\n")


def main() -> None:
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "build/bench/peer")
    groups: dict[tuple[str, str, str], list[dict]] = {}
    for path in sorted(folder.glob("*bit-*.json")):
        for text in path.read_text().splitlines():
            line = json.loads(text)
            groups.setdefault((line["shape"], line["bits"], line["state"]), []).append(line)
    if not groups:
        raise SystemExit(f"peer_table.py: no measurements in {folder}")
    for (shape, bits, state), lines in groups.items():
        results = Results(lines)
        print(f"## {shape}, {bits}-bit weights, state in {state}\n")
        print_conditions(results)
        print_figures(results)
        print_ratios(results)
        print_pairs(results)


if __name__ == "__main__":
    main()
