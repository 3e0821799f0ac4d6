"""Plain PyTorch forms of the training kernels: what kernels.py computes, said in a few lines each.

`Reference` has the same methods as `kernels.Kernels`, so either serves a model. It works in any
floating-point type, forms every score of a sequence at once (memory grows with T * T), and is what
the tests compare the fast kernels with.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding, half-split: the halves (a, b) become (a cos - b sin, b cos + a sin)."""
    a, b = x.chunk(2, dim=-1)
    cos, sin = cos[:, :, None], sin[:, :, None]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


def pool(q: Tensor, k: Tensor, v: Tensor, group: int) -> tuple[Tensor, Tensor]:
    """One key and one value a group of tokens, weighted by how its last token attends to it."""
    batch, tokens, heads, width = k.shape
    shape = (batch, tokens // group, group, heads, width)
    used = shape[1] * group
    k, v = k[:, :used].reshape(shape), v[:, :used].reshape(shape)
    last = q[:, group - 1 : used : group].unsqueeze(2)
    weights = ((last * k).sum(-1, keepdim=True) / math.sqrt(width)).softmax(2)
    return (weights * k).sum(2), (weights * v).sum(2)


class Reference:
    """The kernels in plain PyTorch; see the methods of `kernels.Kernels` for the contracts."""

    def attention(
        self,
        qkv: Tensor,
        cos: Tensor,
        sin: Tensor,
        cores_visible: Tensor,
        branch_start: Tensor,
        document_tokens: int,
        group: int,
    ) -> Tensor:
        dtype = qkv.dtype
        if dtype == torch.bfloat16:
            qkv = qkv.float()
        batch, tokens, _, _, width = qkv.shape
        q, k, v = qkv.unbind(2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        row = torch.arange(tokens)[None, :, None]
        raw = torch.arange(tokens)[None, None, :]
        cores, starts = cores_visible[..., None], branch_start[..., None]
        in_window = (raw >= cores * max(group, 1)) & (raw < document_tokens)
        in_branch = (row >= document_tokens) & (raw >= starts) & (raw >= document_tokens)
        visible = (raw <= row) & (in_window | in_branch)
        if group > 0 and document_tokens >= group:
            core_k, core_v = pool(
                q[:, :document_tokens], k[:, :document_tokens], v[:, :document_tokens], group
            )
            k, v = torch.cat([core_k, k], dim=1), torch.cat([core_v, v], dim=1)
            core = torch.arange(core_k.shape[1])[None, None, :].expand(batch, tokens, -1)
            visible = torch.cat([core < cores, visible], dim=2)
        scores = torch.einsum("bthd,bshd->bhts", q, k) / math.sqrt(width)
        weights = scores.masked_fill(~visible[:, None], -torch.inf).softmax(-1)
        return torch.einsum("bhts,bshd->bthd", weights, v).to(dtype)

    def rms_norm(
        self, x: Tensor, weight: Tensor, eps: float, dtype: torch.dtype = torch.bfloat16
    ) -> Tensor:
        return (x * (x.square().mean(-1, keepdim=True) + eps).rsqrt() * weight).to(dtype)

    def add_rms_norm(
        self,
        x: Tensor,
        added: Tensor,
        weight: Tensor,
        eps: float,
        dtype: torch.dtype = torch.bfloat16,
    ) -> tuple[Tensor, Tensor]:
        total = x + added
        return total, self.rms_norm(total, weight, eps, dtype)

    def swiglu(self, gate_up: Tensor) -> Tensor:
        wide = gate_up.float() if gate_up.dtype == torch.bfloat16 else gate_up
        gate, up = wide.chunk(2, dim=-1)
        return (functional.silu(gate) * up).to(gate_up.dtype)

    def cross_entropy(
        self, logits: Tensor, target: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        wide = logits.float() if logits.dtype == torch.bfloat16 else logits
        losses = functional.cross_entropy(wide, target, reduction="none")
        right = wide.detach().argmax(-1) == target
        return (losses * weight).sum(), losses.detach(), right
