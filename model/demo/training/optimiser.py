"""Muon for the matrices and AdamW for the rest, on parameters that two processes share.

Each process keeps the moments of, and updates, its own part; a barrier stands on either side.
Muon: momentum, then the nearest orthogonal matrix by five Newton-Schulz steps (K. Jordan, 2024).
"""

from __future__ import annotations

import torch

from training.model import Model


def _orthogonal(m: torch.Tensor) -> torch.Tensor:
    """About U V^T of the singular value decomposition of m [N, rows, columns], rows <= columns."""
    x = m.bfloat16()
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.float()


class Optimiser:
    """The part `rank` of `world`."""

    def __init__(self, model: Model, rank: int, world: int, decay: float = 0.1) -> None:
        self.model, self.decay, self.steps = model, decay, 0
        matrices = [n for n, s in model.shapes.items() if len(s) == 2 and "layers" in n]
        rest = [n for n in model.shapes if n not in matrices]
        self.groups: dict[tuple[int, int], list[str]] = {}
        for name in matrices[rank::world]:
            self.groups.setdefault(tuple(sorted(model.shapes[name])), []).append(name)
        self.rest = rest[rank::world]
        self.momentum = {n: torch.zeros(model.shapes[n]) for n in matrices[rank::world]}
        # in proportion to their size; a rare token's embedding has few steps to learn in
        self.scale = {
            n: (1.0 if "norm" in n else 4.0) * float(model.parameters[n].detach().abs().mean())
            for n in self.rest
        }
        self.first = {n: torch.zeros(model.shapes[n]) for n in self.rest}
        self.second = {n: torch.zeros(model.shapes[n]) for n in self.rest}

    @torch.no_grad()
    def step(self, grads: torch.Tensor, rate: float) -> None:
        """`grads`: flat, averaged. `rate`: of the matrices, and of the rest by its size at the start."""
        self.steps += 1
        model = self.model
        grad = lambda name: grads[model.place[name]].view(model.shapes[name])
        for names in self.groups.values():
            stacked = []
            for name in names:
                m = self.momentum[name].mul_(0.95).add_(grad(name), alpha=0.05)
                nesterov = grad(name) * 0.05 + m * 0.95
                tall = nesterov.shape[0] > nesterov.shape[1]
                stacked.append(nesterov.T if tall else nesterov)
            for name, update in zip(names, _orthogonal(torch.stack(stacked))):
                rows, columns = model.shapes[name]
                weight = model.flat[model.place[name]].view(rows, columns)
                weight.mul_(1 - rate * self.decay)
                weight.add_(
                    update.T if rows > columns else update,
                    alpha=-rate * 0.2 * max(rows, columns) ** 0.5,
                )
        clip = min(1.0, 1.0 / (float(grads.norm()) + 1e-6))
        for name in self.rest:
            g = grad(name) * clip
            m = self.first[name].mul_(0.9).add_(g, alpha=0.1)
            v = self.second[name].mul_(0.98).addcmul_(g, g, value=0.02)
            m_hat, v_hat = m / (1 - 0.9**self.steps), v / (1 - 0.98**self.steps)
            model.flat[model.place[name]].view(model.shapes[name]).addcdiv_(
                m_hat, v_hat.sqrt().add_(1e-8), value=-rate * self.scale[name]
            )

    def state(self) -> dict:
        return {
            "steps": self.steps,
            "momentum": self.momentum,
            "first": self.first,
            "second": self.second,
        }

    def load(self, state: dict) -> None:
        self.steps = state["steps"]
        for mine, theirs in (
            (self.momentum, state["momentum"]),
            (self.first, state["first"]),
            (self.second, state["second"]),
        ):
            for name, tensor in theirs.items():
                mine[name].copy_(tensor)
