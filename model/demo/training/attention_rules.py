"""Which keys a training row sees: a document read once, and questions that branch off its end."""

from __future__ import annotations

import numpy as np


def cores_visible(
    positions: np.ndarray, group: int, window: int, document_tokens: int
) -> np.ndarray:
    """J of each row: complete core tokens that lie a window or more back (arXiv 2412.12465).

    positions [T]: how many tokens stand before a row in its own branch. int32 [T].
    """
    if group == 0:
        return np.zeros_like(positions, dtype=np.int32)
    cores = np.maximum(0, (positions + 1 - window) // group)
    return np.minimum(cores, document_tokens // group).astype(np.int32)
