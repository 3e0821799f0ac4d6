"""The fast kernels against their plain PyTorch forms, in float64, over odd shapes.

    python -m unittest test_kernels        (in this folder)
"""

import tempfile
import unittest
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor

from kernels import Kernels
from reference import Reference


def sequence(
    tokens: int, document: int, group: int, window: int, branches: list[int]
) -> tuple[Tensor, Tensor]:
    """cores_visible and branch_start of one sequence; `branches` are cut off at its end."""
    rows = torch.arange(tokens)
    cores = torch.zeros(tokens, dtype=torch.int32)
    if group > 0:
        seen = torch.clamp(rows, max=document - 1) + 1
        cores = torch.clamp((seen - window) // group, 0, document // group).to(torch.int32)
    starts = torch.zeros(tokens, dtype=torch.int32)
    for start, length in zip(accumulate(branches, initial=document), branches):
        starts[start : start + length] = start
    return cores, starts


def attention_inputs(
    tokens: int, heads: int, width: int, sequences: list[tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Random qkv, cos and sin in float64, and the two index tensors of the sequences."""
    generator = torch.Generator().manual_seed(tokens * 1000 + width + heads)
    batch = len(sequences)
    qkv = torch.randn(
        batch, tokens, 3, heads, width, generator=generator, dtype=torch.float64
    )
    qkv[:, :, :2] *= 1.5
    angles = torch.randn(batch, tokens, width // 2, generator=generator, dtype=torch.float64)
    cores, starts = (torch.stack(parts) for parts in zip(*sequences))
    return qkv, angles.cos(), angles.sin(), cores, starts


class KernelsTest(unittest.TestCase):
    kernels: Kernels
    reference = Reference()

    @classmethod
    def setUpClass(cls) -> None:
        with tempfile.TemporaryDirectory() as folder:  # a loaded library outlives its file
            cls.kernels = Kernels(Path(folder))

    def assert_close(self, got: Tensor, want: Tensor, tolerance: float, what: str) -> None:
        """The largest error is below `tolerance` of the largest value."""
        scale = max(want.abs().max().item(), 1.0)  # some gradients are nothing at all
        self.assertLess((got.double() - want).abs().max().item() / scale, tolerance, what)

    def check_attention(
        self,
        inputs: tuple[Tensor, ...],
        document: int,
        group: int,
        dtype: torch.dtype,
        tolerance: float,
    ) -> None:
        qkv, cos, sin, cores, starts = inputs
        fast = qkv.to(dtype).requires_grad_()
        exact = fast.detach().double().requires_grad_()
        out = self.kernels.attention(
            fast, cos.float(), sin.float(), cores, starts, document, group
        )
        want = self.reference.attention(exact, cos, sin, cores, starts, document, group)
        self.assertEqual(out.dtype, dtype)
        self.assert_close(out, want, tolerance, "output")
        gradient = torch.randn(want.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
        out.backward(gradient)
        want.backward(gradient.double())
        for i, name in enumerate("qkv"):
            self.assert_close(
                fast.grad[:, :, i], exact.grad[:, :, i], 2 * tolerance, f"gradient of {name}"
            )

    def test_attention_over_odd_shapes(self) -> None:
        shapes = (  # tokens, document, group, window, heads, width, branches
            (1, 1, 16, 128, 1, 32, []),
            (77, 77, 0, 0, 2, 64, []),
            (100, 50, 0, 0, 1, 96, [22, 28]),
            (161, 100, 4, 9, 3, 32, [7, 1, 30, 23]),
            (230, 130, 16, 32, 2, 64, [20, 25, 55]),
            (300, 299, 16, 128, 1, 96, [1]),
            (515, 200, 8, 40, 1, 64, [22, 17, 33, 64, 70, 109]),
            (70, 5, 16, 8, 1, 64, [65]),
        )
        for tokens, document, group, window, heads, width, branches in shapes:
            sequences = [
                sequence(tokens, document, group, window, branches),
                sequence(tokens, document, group, window + 3, branches[::-1]),
            ]
            inputs = attention_inputs(tokens, heads, width, sequences)
            for dtype, tolerance in ((torch.float32, 2e-6), (torch.bfloat16, 5e-3)):
                with self.subTest(tokens=tokens, width=width, group=group, dtype=dtype):
                    self.check_attention(inputs, document, group, dtype, tolerance)

    def test_attention_with_large_scores_and_cores_alone(self) -> None:
        tokens, document, group = 96, 64, 8
        cores, starts = sequence(tokens, document, group, 8, [32])
        cores[document:] = document // group
        qkv, *rest = attention_inputs(tokens, 2, 32, [(cores, starts)])
        qkv[:, :, :2] *= 8  # scores of several hundred
        self.check_attention((qkv, *rest), document, group, torch.float32, 2e-5)

    def test_attention_refuses_a_width_it_lacks(self) -> None:
        inputs = attention_inputs(8, 1, 48, [sequence(8, 8, 0, 0, [])])
        with self.assertRaises(ValueError):
            self.kernels.attention(inputs[0].float(), *inputs[1:], 8, 0)


if __name__ == "__main__":
    unittest.main()
