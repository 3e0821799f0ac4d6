"""The fast kernels against their plain PyTorch forms, in float64, over odd shapes.

    python -m unittest training.test_kernels        (in model/demo)
"""

import tempfile
import unittest
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor

from training.kernels import Kernels
from training.reference import Reference


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
            for dtype, tolerance in ((torch.float32, 2e-6), (torch.bfloat16, 1e-2)):
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

    def compare(
        self, got: Tensor, want: Tensor, leaves: list[Tensor], exact: list[Tensor], tolerance: float
    ) -> None:
        """Compares a result, and the gradients of `leaves` with those of their float64 forms."""
        gradient = torch.randn(want.shape, generator=torch.Generator().manual_seed(2)).to(got.dtype)
        self.assert_close(got, want, tolerance, "result")
        got.backward(gradient)
        want.backward(gradient.double())
        for i, (leaf, exact_leaf) in enumerate(zip(leaves, exact)):
            self.assertEqual(leaf.grad.dtype, leaf.dtype)
            self.assert_close(leaf.grad, exact_leaf.grad, tolerance, f"gradient {i}")

    def test_rms_norm(self) -> None:
        for rows, width in ((1, 5), (7, 64), (33, 250)):
            for dtype, tolerance in ((torch.float32, 2e-6), (torch.bfloat16, 5e-3)):
                with self.subTest(rows=rows, width=width, dtype=dtype):
                    leaves = [torch.randn(rows, width), torch.randn(width)]
                    exact = [leaf.double().requires_grad_() for leaf in leaves]
                    leaves = [leaf.requires_grad_() for leaf in leaves]
                    got = self.kernels.rms_norm(*leaves, 1e-5, dtype)
                    self.assertEqual(got.dtype, dtype)
                    want = self.reference.rms_norm(*exact, 1e-5, torch.float64)
                    self.compare(got, want, leaves, exact, tolerance)

    def test_add_rms_norm(self) -> None:
        for rows, width in ((3, 7), (20, 96)):
            for used in ("both", "sum", "norm"):
                with self.subTest(rows=rows, width=width, used=used):
                    leaves = [
                        torch.randn(rows, width),
                        torch.randn(rows, width).bfloat16(),
                        torch.randn(width),
                    ]
                    exact = [leaf.double().requires_grad_() for leaf in leaves]
                    leaves = [leaf.requires_grad_() for leaf in leaves]
                    results = []
                    for form, inputs, dtype in (
                        (self.kernels, leaves, torch.float32),
                        (self.reference, exact, torch.float64),
                    ):
                        total, norm = form.add_rms_norm(*inputs, 1e-5, dtype)
                        anything = 0 * inputs[2]  # so that the weight always has a gradient
                        parts = {"both": total + norm, "sum": total + anything, "norm": norm}
                        results.append(parts[used])
                    self.compare(*results, leaves, exact, 5e-3)

    def test_swiglu(self) -> None:
        for rows, width in ((1, 3), (9, 48), (5, 333)):
            for dtype, tolerance in ((torch.float32, 2e-6), (torch.bfloat16, 5e-3)):
                with self.subTest(rows=rows, width=width, dtype=dtype):
                    gate_up = (torch.randn(rows, 2 * width) * 4).to(dtype)
                    gate_up[0, :2] = torch.tensor([-200.0, 200.0])
                    exact = gate_up.double().requires_grad_()
                    gate_up.requires_grad_()
                    got, want = self.kernels.swiglu(gate_up), self.reference.swiglu(exact)
                    self.compare(got, want, [gate_up], [exact], tolerance)

    def test_cross_entropy(self) -> None:
        for rows, width in ((1, 2), (6, 50), (17, 321)):
            for dtype, tolerance in ((torch.float32, 5e-6), (torch.bfloat16, 5e-3)):
                with self.subTest(rows=rows, width=width, dtype=dtype):
                    leaf = (torch.randn(rows, width) * 5).to(dtype)
                    target = torch.randint(width, (rows,))
                    target[::2] = leaf[::2].argmax(-1)
                    weight = torch.rand(rows)
                    exact = leaf.double().requires_grad_()
                    leaf.requires_grad_()
                    got = self.kernels.cross_entropy(leaf * 1, target, weight)
                    want = self.reference.cross_entropy(exact, target, weight.double())
                    self.assert_close(got[1], want[1], 5e-6, "losses")
                    self.assertEqual(got[2].tolist(), want[2].tolist())
                    self.compare(got[0], want[0], [leaf], [exact], tolerance)

    def test_cross_entropy_takes_the_first_of_equal_logits(self) -> None:
        logits = torch.tensor([[0.0, 3.0, 3.0, 1.0]] * 2)
        right = self.kernels.cross_entropy(logits, torch.tensor([1, 2]), torch.ones(2))[2]
        self.assertEqual(right.tolist(), [True, False])
        self.assertEqual(logits[0].tolist(), [0.0, 3.0, 3.0, 1.0])  # no gradient was asked for


if __name__ == "__main__":
    unittest.main()
