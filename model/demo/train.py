#!/usr/bin/env python3
"""Trains the next demo model; README.md says what it consists of.

    python3 train.py --out RUN --minutes 60 [--init RUN/last.pt] [--levels 0-6] ...

Two processes share the parameters and split each step's examples. What it needs: torch, numpy,
sentencepiece, safetensors from PyPI, and g++.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import deque
from pathlib import Path

import torch
import torch.multiprocessing as mp

from training.batches import BatchWorker, collate, maker
from training.curriculum import GROUP, LEVELS, WINDOW, Mixture, draw_shape
from training.examples import Shape, Tokens
from training.kernels import Kernels, keep_freed_memory
from training.model import Batch, Model, ModelConfig
from training.optimiser import Optimiser
from training.supervision import Teacher

HERE = Path(__file__).resolve().parent

WORLD = 2
AHEAD = 3  # batches asked for before they are needed


class Scores:
    """Exact answers (every token right, given the ones before) under one name each."""

    def __init__(self) -> None:
        self.right: dict[str, float] = {}
        self.asked: dict[str, int] = {}

    def add(self, name: str, right: torch.Tensor, answers: list) -> float:
        """right [B, T]; answers of each example. Returns the share of stated answers that are right."""
        stated = [0, 0]
        for row, spans in zip(right, answers):
            for begin, end, unstated in spans:
                exact = bool(row[begin:end].all())
                key = "unstated" if unstated else name
                self.right[key] = self.right.get(key, 0) + exact
                self.asked[key] = self.asked.get(key, 0) + 1
                if not unstated:
                    stated[0] += exact
                    stated[1] += 1
        return stated[0] / max(1, stated[1])

    def __str__(self) -> str:
        return " ".join(f"{k} {self.right[k] / self.asked[k]:.3f}" for k in sorted(self.asked))


@torch.no_grad()
def evaluate(model: Model, folder: Path, level: int, seed: int = 9) -> str:
    """Teacher-forced exact match on names never trained: phrasings trained and not, filler trained
    and not."""
    document = LEVELS[level].document_tokens
    count = max(2, 2048 // document)
    scores = Scores()
    for name, phrasings, other_filler in (
        ("new_names", "trained", False),
        ("new_phrasings", "held-out", False),
        ("new_filler", "trained", True),
    ):
        examples = maker(folder, seed, True, phrasings, other_filler)
        for _ in range(2):
            shape = Shape(document, 640, LEVELS[level].fact_share, GROUP, WINDOW, 0.1, 0)
            batch, answers = collate(
                [examples.make(shape) for _ in range(count)], shape, random.Random(1)
            )
            _, right = model.losses(model.hidden(batch), batch)
            scores.add(name, right, answers)
    return f"level {level} ({document} tokens): {scores}"


def rate_at(done: float, steps: int, a: argparse.Namespace) -> float:
    """Warm-up, then constant, then a linear fall over the last `cooldown` of the time."""
    warm = min(1.0, (steps + 1) / a.warmup)
    return a.rate * warm * min(1.0, max(0.02, (1.0 - done) / max(1e-9, a.cooldown)))


def train(rank: int, a: argparse.Namespace, flat, grads, control, barrier) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    torch.manual_seed(rank)
    out = Path(a.out)
    model = Model(ModelConfig(**json.loads(a.model)), Kernels(Path(a.cache)), a.seed)
    model.silence(Tokens(str(Path(a.data) / "tokenizer.model")).encode_after("\nAnswer:")[0][-1])
    flat_start = model.flat
    model.flat, model.grad = flat, torch.zeros_like(flat)
    if rank == 0:
        flat.copy_(flat_start)
    barrier.wait()
    model.bind()
    optimiser = Optimiser(model, rank, WORLD)
    first_step = tokens = 0
    if a.init:
        saved = torch.load(a.init)
        if rank == 0:
            flat.copy_(saved["flat"])
        if not a.fresh_moments:
            optimiser.load(saved["optimiser"][rank])
        first_step, tokens = saved["step"], saved["tokens"]
    barrier.wait()
    levels = list(range(int(a.levels.split("-")[0]), int(a.levels.split("-")[-1]) + 1))
    worker = BatchWorker(Path(a.data), a.seed * 1000 + first_step * 7 + rank)
    asked: deque[Shape] = deque()
    log = open(out / "log.txt", "a", buffering=1) if rank == 0 else None
    say = lambda text: log.write(text + "\n") if log else None
    say(f"# {vars(a)}; {model.flat.numel()} parameters")

    start = last_time = time.time()
    recent, smooth = Scores(), 0.0
    losses: list[float] = []
    taught: dict[str, list[float]] = {}
    step, last_tokens, begun = first_step, tokens, 0
    while True:
        if rank == 0:
            control[0] = (time.time() - start) / (60 * a.minutes)
        barrier.wait()
        done, current = control[0].item(), int(control[1].item())
        if done >= 1:
            break
        mixture = Mixture(
            a.full + (a.full_end - a.full) * min(1.0, done / 0.7),
            a.short_windows,
            a.half_groups * max(0.0, 1 - done / 0.6),
            a.unstated,
            a.longest_gap if levels[current] >= 3 else 0,
            a.recall / (1 + levels[current] / 3),
        )
        while len(asked) <= AHEAD:
            rng = random.Random(step * 7919 + len(asked) + a.seed)
            wanted = draw_shape(rng, levels[current], mixture)
            asked.append(wanted)
            worker.ask(wanted, max(1, a.step_tokens // WORLD // wanted.tokens))
        shape = asked.popleft()
        batch, answers = worker.take()
        teacher = Teacher(model, batch) if a.supervision else None
        hidden = model.hidden(batch, teacher)
        total, right = model.losses(hidden, batch)
        loss = total / batch.weights.sum()
        objective = loss + a.supervision * teacher.sum() if teacher else loss
        model.grad.zero_()
        objective.backward()
        grads[rank].copy_(model.grad)
        barrier.wait()
        optimiser.step((grads[0] + grads[1]) * 0.5, rate_at(done, step - first_step, a))
        step += 1
        tokens += batch.tokens.numel() * WORLD
        exact = recent.add("full" if shape.group == 0 else "cca", right, answers)
        losses.append(float(loss))
        for name, value in (teacher.losses.items() if teacher else ()):
            taught.setdefault(name, []).append(float(value))
        if (
            rank == 0
            and shape.group
            and shape.document_tokens > 0.8 * LEVELS[levels[current]].document_tokens
        ):
            smooth = 0.96 * smooth + 0.04 * exact
            late = done > a.pace * (current + 1) / len(levels)
            if current + 1 < len(levels) and step - begun > 60 and (smooth > a.threshold or late):
                control[1], smooth, begun = current + 1, 0.0, step
                say(f"--- level {levels[current + 1]} at step {step}, {tokens / 1e6:.2f}M tokens")
        if step % 50 == 0:
            now = time.time()
            means = " ".join(f"{k}={sum(v) / len(v):.2f}" for k, v in sorted(taught.items()))
            say(
                f"{(now - start) / 60:.1f} min step {step} {tokens / 1e6:.2f}M level {levels[current]} "
                f"loss {sum(losses) / len(losses):.3f} {recent} | {means} | "
                f"{(tokens - last_tokens) / (now - last_time):.0f} tok/s"
            )
            recent, losses, taught, last_time, last_tokens = Scores(), [], {}, now, tokens
        if step % a.save_every == 0:
            barrier.wait()
            save(out, rank, model, optimiser, step, tokens, barrier)
            if rank == 0:
                say("    " + evaluate(model, Path(a.data), levels[current]))
    save(out, rank, model, optimiser, step, tokens, barrier)
    if rank == 0:
        for level in (3, 5, 7, 8, 9):
            say("    end: " + evaluate(model, Path(a.data), level))
        model.save_checkpoint(out / "model", a.context, GROUP, WINDOW)
    worker.close()


def save(
    out: Path, rank: int, model: Model, optimiser: Optimiser, step: int, tokens: int, barrier
) -> None:
    """Each process leaves its moments in a file; the first gathers them into last.pt."""
    torch.save(optimiser.state(), out / f"moments.{rank}.pt")
    barrier.wait()
    if rank == 0:
        states = [torch.load(out / f"moments.{r}.pt") for r in range(WORLD)]
        torch.save(
            {"flat": model.flat.clone(), "optimiser": states, "step": step, "tokens": tokens},
            out / "new.pt",
        )
        (out / "new.pt").replace(out / "last.pt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--out", required=True, help="folder for log, checkpoints and the model")
    add("--init", default="", help="checkpoint to go on from")
    add("--fresh-moments", action="store_true", help="start the optimiser anew")
    add("--minutes", type=float, required=True)
    add("--levels", default="0-6", help="first and last level of curriculum.py")
    add("--threshold", type=float, default=0.8, help="exact match that ends a level")
    add("--pace", type=float, default=0.8, help="share of the time after which the last level runs")
    add("--rate", type=float, default=2e-3)
    add("--warmup", type=int, default=100)
    add("--cooldown", type=float, default=0.3, help="share of the time in which the rate falls")
    add("--step-tokens", type=int, default=8192)
    add("--full", type=float, default=0.5, help="share of full-attention steps at the start")
    add("--full-end", type=float, default=0.15)
    add("--short-windows", type=float, default=0.4)
    add("--half-groups", type=float, default=0.3)
    add("--unstated", type=float, default=0.04)
    add("--recall", type=float, default=0.5, help="share of recall lists at level 0")
    add("--longest-gap", type=int, default=65536)
    add("--supervision", type=float, default=0.25, help="weight of the attention supervision")
    add("--save-every", type=int, default=500)
    add("--context", type=int, default=131072)
    add("--model", default="{}", help="JSON: fields of ModelConfig that differ")
    add("--data", default=str(HERE), help="folder of facts.txt and tokenizer.model")
    add("--cache", default="/tmp/longleaf-kernels", help="folder for the built kernels")
    add("--seed", type=int, default=1)
    a = parser.parse_args()
    Path(a.out).mkdir(parents=True, exist_ok=True)
    Kernels(Path(a.cache))  # built once, before two want it
    size = Model(ModelConfig(**json.loads(a.model)), None, 0).flat.numel()
    flat, grads = torch.zeros(size).share_memory_(), torch.zeros(WORLD, size).share_memory_()
    control = torch.zeros(2, dtype=torch.float64).share_memory_()
    barrier = mp.get_context("spawn").Barrier(WORLD)
    mp.spawn(train, args=(a, flat, grads, control, barrier), nprocs=WORLD)


if __name__ == "__main__":
    main()
