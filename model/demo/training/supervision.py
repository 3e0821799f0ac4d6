"""Attention supervision: teaches some heads where to look, so that matching is learned in minutes.

The loss of a row is -log of the attention mass that a head puts on the keys that hold the right
tokens: a core token holds them when its group does.
"""

from __future__ import annotations

import torch

from training.heads import HEADS
from training.model import Batch
from training.reference import pool, rotate


def mass_loss(
    qkv: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, batch: Batch, heads: slice, target: str
) -> torch.Tensor:
    """Mean over rows and `heads` of -log(mass on the target). qkv [B, T, 3, H, d], not rotated."""
    row, begin, end, weight = batch.supervision[target]
    q = rotate(qkv[:, :, 0, heads].float(), cos, sin)
    k = rotate(qkv[:, :, 1, heads].float(), cos, sin)
    b, t, h, d = q.shape
    scale = d**-0.5
    index = torch.arange(t)
    cores = batch.cores_visible.gather(1, row).long()  # [B, n]
    start = batch.branch_start.gather(1, row).long()
    raw = index <= row[..., None]
    raw &= index >= (cores * batch.group)[..., None]
    raw &= (index < batch.document_tokens) | (index >= start[..., None])
    gold = (index >= begin[..., None]) & (index < end[..., None])
    picked = q.gather(1, row[..., None, None].expand(-1, -1, h, d)).transpose(1, 2)  # [B, h, n, d]
    scores = picked @ k.permute(0, 2, 3, 1)
    visible = raw
    groups = int(cores.max()) if batch.group else 0
    if groups:
        g = batch.group
        first = slice(0, groups * g)
        pooled, _ = pool(q[:, first], k[:, first], k[:, first], g)  # [B, groups, h, d]
        number = torch.arange(groups)
        scores = torch.cat([picked @ pooled.permute(0, 2, 3, 1), scores], -1)
        visible = torch.cat([number < cores[..., None], raw], -1)
        held = (number * g < end[..., None]) & ((number + 1) * g > begin[..., None])
        gold = torch.cat([held, gold], -1)
    gold &= visible
    scores = scores * scale
    everything = scores.masked_fill(~visible[:, None], -1e9).logsumexp(-1)
    wanted = scores.masked_fill(~gold[:, None], -1e9).logsumexp(-1)
    weight = weight * gold.any(-1)
    loss = ((everything - wanted) * weight[:, None]).sum()
    return loss / (h * weight.sum().clamp(min=1))


def pool_loss(
    qkv: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, batch: Batch, heads: slice, target: str
) -> torch.Tensor:
    """Mean over groups and `heads` of -log(the wanted token's weight in its core token)."""
    last, begin, _, weight = batch.supervision[target]
    g = batch.group
    b, n = last.shape
    member = (last[..., None] - g + 1 + torch.arange(g)).clamp(min=0)  # [B, n, g]

    def rotated(which: int, index: torch.Tensor) -> torch.Tensor:
        rows = index.view(b, -1)
        x = qkv[:, :, which, heads]
        h, d = x.shape[2:]
        picked = x.gather(1, rows[..., None, None].expand(-1, -1, h, d))
        turn = rows[..., None].expand(-1, -1, d // 2)
        return rotate(picked.float(), cos.gather(1, turn), sin.gather(1, turn))

    q = rotated(0, last)  # [B, n, h, d]
    k = rotated(1, member).view(b, n, g, *q.shape[2:])
    scores = torch.einsum("bnhd,bnghd->bnhg", q, k) * q.shape[-1] ** -0.5
    place = (begin - last + g - 1).clamp(0, g - 1)
    loss = -scores.log_softmax(-1).gather(-1, place[..., None, None].expand(-1, -1, q.shape[2], 1))
    return (loss[..., 0] * weight[..., None]).sum() / (q.shape[2] * weight.sum().clamp(min=1))


class Teacher:
    """Gathers the losses of all supervised heads while the model runs (Model.hidden's `look`)."""

    def __init__(self, model, batch: Batch) -> None:
        self.batch, self.losses = batch, {}
        self.cos, self.sin = model.rotary(batch.positions)

    def __call__(self, layer: int, qkv: torch.Tensor) -> None:
        first = 0
        for target, heads in HEADS.get(layer, ()):
            taught = slice(first, first + heads)
            loss = mass_loss(qkv, self.cos, self.sin, self.batch, taught, target)
            self.losses[f"{layer} {target}"] = loss
            if self.batch.group and target.startswith("read"):
                pooling = target.replace("read", "pool")
                loss = pool_loss(qkv, self.cos, self.sin, self.batch, taught, pooling)
                self.losses[f"{layer} {pooling}"] = loss
            first += heads

    def sum(self) -> torch.Tensor:
        return torch.stack(list(self.losses.values())).sum()
