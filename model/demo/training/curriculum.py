"""What the examples look like as training goes on: from short texts of facts to long documents."""

from __future__ import annotations

import random
from dataclasses import dataclass

from training.examples import Shape

GROUP, WINDOW = 16, 128  # what the model is served with


@dataclass(frozen=True)
class Level:
    document_tokens: int
    question_tokens: int
    fact_share: tuple[float, float]


LEVELS = (
    Level(48, 128, (0.9, 1.0)),
    Level(80, 160, (0.9, 1.0)),
    Level(144, 208, (0.9, 1.0)),
    Level(224, 256, (0.6, 1.0)),
    Level(352, 352, (0.4, 0.9)),
    Level(512, 448, (0.25, 0.8)),
    Level(768, 512, (0.15, 0.7)),
    Level(1024, 640, (0.1, 0.6)),
    Level(2048, 960, (0.05, 0.5)),
    Level(4096, 1344, (0.03, 0.35)),
    Level(8192, 1536, (0.02, 0.25)),
    Level(16384, 2048, (0.015, 0.2)),
    Level(32768, 2560, (0.01, 0.1)),
    Level(63488, 3072, (0.005, 0.06)),
)


@dataclass(frozen=True)
class Mixture:
    """How the steps of a stage of training are drawn."""

    full_share: float  # steps with full attention
    short_windows: float  # steps with a window shorter than the served one, so that cores count
    half_groups: float  # steps with groups of half the served size
    unstated: float  # share of questions that the document does not answer
    longest_gap: int
    recall: float  # share of documents that are lists for recall


def draw_shape(rng: random.Random, level: int, mixture: Mixture) -> Shape:
    """The shape of one step: mostly the current level, sometimes an easier one."""
    if level and rng.random() < 0.3:
        level = rng.randint(max(0, level - 4), level - 1)
    chosen = LEVELS[level]
    window, group = WINDOW, GROUP
    if rng.random() < mixture.short_windows or chosen.document_tokens < 2 * WINDOW:
        window = rng.choice((16, 32, 64))
    if rng.random() < mixture.half_groups:
        group = GROUP // 2
    if chosen.document_tokens <= 16384 and rng.random() < mixture.full_share:
        group = 0
    tokens = chosen.document_tokens
    tokens -= rng.randrange(tokens // 8)  # no one length, no one alignment
    return Shape(
        tokens,
        chosen.question_tokens,
        chosen.fact_share,
        group,
        window,
        mixture.unstated,
        mixture.longest_gap,
        mixture.recall,
    )
