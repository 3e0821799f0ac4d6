"""Makes batches in a process of its own, a few steps ahead of the training."""

from __future__ import annotations

import queue
import random
from pathlib import Path

import numpy as np
import torch
import torch.multiprocessing as mp

from training.catalogue import Catalogue
from training.examples import TARGETS, Example, ExampleMaker, Shape, Tokens
from training.filler import Filler
from training.model import Batch

MOST_SUPERVISED_ROWS = 96  # of one target and example: memory and time grow with them


def collate(examples: list[Example], shape: Shape, rng: random.Random) -> tuple[Batch, list]:
    """Stacks `examples`; also gives the answers of each: (first row, end, whether unstated)."""
    stack = lambda name, dtype: torch.from_numpy(
        np.stack([getattr(e, name) for e in examples]).astype(dtype)
    )
    supervision = {}
    for target in TARGETS:
        lists = []
        for example in examples:
            taught = example.supervision[target]
            rows = list(zip(taught.row, taught.begin, taught.end, taught.weight))
            if len(rows) > MOST_SUPERVISED_ROWS:  # the weightiest, and some of the others
                rng.shuffle(rows)
                rows = sorted(rows, key=lambda row: -row[3])[:MOST_SUPERVISED_ROWS]
            lists.append(rows)
        longest = max(1, max(map(len, lists)))
        table = np.zeros((4, len(examples), longest), np.float32)
        for b, rows in enumerate(lists):
            for n, row in enumerate(rows):
                table[:, b, n] = row
        row, begin, end = torch.from_numpy(table[:3].astype(np.int64))
        supervision[target] = (row, begin, end, torch.from_numpy(table[3]))
    batch = Batch(
        stack("tokens", np.int64),
        stack("targets", np.int64),
        stack("weights", np.float32),
        stack("positions", np.int64),
        stack("cores_visible", np.int32),
        stack("branch_start", np.int32),
        shape.document_tokens,
        shape.group,
        supervision,
    )
    return batch, [e.answers for e in examples]


def maker(
    folder: Path,
    seed: int,
    test: bool = False,
    phrasings: str = "trained",
    held_out_filler: bool = False,
) -> ExampleMaker:
    """An ExampleMaker over the files of model/demo."""
    filler = Filler(random.Random(seed + 1), held_out=held_out_filler)
    return ExampleMaker(
        Catalogue(folder / "facts.txt"),
        Tokens(str(folder / "tokenizer.model")),
        filler,
        seed,
        test,
        phrasings,
    )


def _work(folder: Path, seed: int, asked, made) -> None:
    torch.set_num_threads(1)
    examples = maker(folder, seed)
    rng = random.Random(seed)
    while (request := asked.get()) is not None:
        shape, count = request
        made.put(collate([examples.make(shape) for _ in range(count)], shape, rng))


class BatchWorker:
    """Ask for shapes ahead of time; batches come back in that order."""

    def __init__(self, folder: Path, seed: int) -> None:
        context = mp.get_context("spawn")
        self._asked, self._made = context.Queue(), context.Queue()
        self._process = context.Process(
            target=_work, daemon=True, args=(folder, seed, self._asked, self._made)
        )
        self._process.start()

    def ask(self, shape: Shape, count: int) -> None:
        self._asked.put((shape, count))

    def take(self) -> tuple[Batch, list]:
        while True:
            try:
                return self._made.get(timeout=60)
            except queue.Empty:
                if not self._process.is_alive():
                    raise RuntimeError("the process that makes batches has ended") from None

    def close(self) -> None:
        self._asked.put(None)
