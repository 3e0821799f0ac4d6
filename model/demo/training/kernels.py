"""The training kernels on the CPU, with gradients; the C++ files beside this one do the arithmetic.

    kernels = Kernels(cache_folder)      # builds the C++ there, once for each version of it
    kernels.attention(qkv, cos, sin, cores_visible, branch_start, document_tokens, group)
        -> out [B, T, H, d], of qkv's type
    kernels.rms_norm(x, weight, eps, dtype=torch.bfloat16)     -> like x, of that type
    kernels.add_rms_norm(x, added, weight, eps, dtype=torch.bfloat16)
        -> (x + added, its norm); added bf16
    kernels.swiglu(gate_up)                                    -> [..., F], of gate_up's type
    kernels.cross_entropy(logits, target, weight)
        -> (sum of weight * loss, loss of each row, whether each row's largest logit is its target)

keep_freed_memory(), called when a training process starts, makes all tensors cheaper.
`reference.Reference` has the same methods in plain PyTorch.
"""

import ctypes
import hashlib
import os
import subprocess
from ctypes import c_bool, c_float, c_int, c_int64, c_void_p
from pathlib import Path

import torch
from torch import Tensor

SOURCES = ("attention.cpp", "rows.cpp")
HEADERS = ("blocks.h", "product.h", "rotated_head.h", "vector.h")
FLAGS = ("-std=c++17", "-O3", "-march=native", "-ffast-math", "-fopenmp", "-shared", "-fPIC")


def build(cache_folder: Path) -> Path:
    """Compiles the kernels into `cache_folder`, unless this version of them is there already."""
    here = Path(__file__).parent
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for name in SOURCES + HEADERS:
        digest.update((here / name).read_bytes())
    library = cache_folder / f"kernels-{digest.hexdigest()[:16]}.so"
    if not library.exists():
        cache_folder.mkdir(parents=True, exist_ok=True)
        unfinished = library.with_suffix(f".{os.getpid()}")
        sources = [str(here / name) for name in SOURCES]
        subprocess.run(["g++", *FLAGS, *sources, "-o", str(unfinished)], check=True)
        unfinished.replace(library)
    return library


def keep_freed_memory() -> None:
    """Has glibc keep what tensors free. It would give large blocks back to the system, and every
    new tensor then costs a page fault for each 4 KB of it, often more than the work done on it."""
    m_trim_threshold, m_mmap_max = -1, -4
    libc = ctypes.CDLL(None)
    libc.mallopt(m_mmap_max, 0)
    libc.mallopt(m_trim_threshold, 2**31 - 1)


class _AttentionCall(ctypes.Structure):
    """AttentionCall of attention.cpp."""

    _fields_ = [
        *((name, c_int64) for name in ("batch", "tokens", "heads", "document", "group")),
        *((name, c_void_p) for name in ("qkv", "cosines", "sines", "cores_visible")),
        *((name, c_void_p) for name in ("branch_start", "out", "log_sums", "out_gradient")),
        ("qkv_gradient", c_void_p),
    ]


def _attend(library: ctypes.CDLL, tensors: list[Tensor], document: int, group: int) -> None:
    """Runs longleaf_attention on its tensors, in the order of AttentionCall."""
    batch, tokens, _, heads, width = tensors[0].shape
    pointers = [tensor.data_ptr() for tensor in tensors]
    call = _AttentionCall(batch, tokens, heads, document, group, *pointers)
    backward = len(tensors) == 9
    bf16 = tensors[0].dtype == torch.bfloat16
    if not library.longleaf_attention(
        ctypes.byref(call), width, bf16, backward, torch.get_num_threads()
    ):
        raise ValueError(f"no attention kernel for heads of {width} values")


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, library, qkv, cos, sin, cores_visible, branch_start, document, group):
        qkv, *rest = (x.contiguous() for x in (qkv, cos, sin, cores_visible, branch_start))
        batch, tokens, _, heads, width = qkv.shape
        out = torch.empty(batch, tokens, heads, width, dtype=qkv.dtype)
        log_sums = torch.empty(batch, heads, tokens)
        ctx.save_for_backward(qkv, *rest, out, log_sums)
        ctx.arguments = library, document, group
        _attend(library, [qkv, *rest, out, log_sums], document, group)
        return out

    @staticmethod
    def backward(ctx, out_gradient):
        library, document, group = ctx.arguments
        tensors = ctx.saved_tensors
        gradient = torch.empty_like(tensors[0])
        _attend(library, [*tensors, out_gradient.contiguous(), gradient], document, group)
        return None, gradient, None, None, None, None, None, None


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _rows(tensor: Tensor) -> int:
    return tensor.numel() // tensor.shape[-1] if tensor.numel() else 0


class _Norm(torch.autograd.Function):
    """(x + added, its norm), or (x, its norm) without `added`."""

    @staticmethod
    def forward(ctx, library, x, added, weight, eps, dtype):
        x = x.contiguous()
        total = x if added is None else torch.empty_like(x)
        out = torch.empty_like(x, dtype=dtype)
        scales = torch.empty(_rows(x))
        pointers = [_pointer(t) for t in (x, added if added is None else added.contiguous())]
        library.longleaf_norm(
            _rows(x), x.shape[-1], *pointers, weight.data_ptr(), eps, total.data_ptr(),
            out.data_ptr(), dtype == torch.bfloat16, scales.data_ptr(), torch.get_num_threads(),
        )  # fmt: skip
        ctx.save_for_backward(total, weight, scales)
        ctx.arguments = library, dtype, added is not None
        ctx.set_materialize_grads(False)
        return out if added is None else (total, out)

    @staticmethod
    def backward(ctx, *gradients):
        total, weight, scales = ctx.saved_tensors
        library, dtype, is_sum = ctx.arguments
        dtotal, dout = gradients if is_sum else (None, gradients[0])
        dtotal = None if dtotal is None else dtotal.contiguous()
        dout = torch.zeros_like(total, dtype=dtype) if dout is None else dout.contiguous()
        dx, dweight = torch.empty_like(total), torch.empty_like(weight)
        dadded = torch.empty_like(total, dtype=torch.bfloat16) if is_sum else None
        library.longleaf_norm_gradient(
            _rows(total), total.shape[-1], total.data_ptr(), weight.data_ptr(), scales.data_ptr(),
            dout.data_ptr(), dtype == torch.bfloat16, _pointer(dtotal), dx.data_ptr(),
            _pointer(dadded), dweight.data_ptr(), torch.get_num_threads(),
        )  # fmt: skip
        return None, dx, dadded, dweight, None, None


class _SwiGlu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, library, gate_up):
        gate_up = gate_up.contiguous()
        width = gate_up.shape[-1] // 2
        out = gate_up.new_empty(*gate_up.shape[:-1], width)
        library.longleaf_swiglu(
            _rows(gate_up), width, gate_up.data_ptr(), out.data_ptr(),
            gate_up.dtype == torch.bfloat16, torch.get_num_threads(),
        )  # fmt: skip
        ctx.save_for_backward(gate_up)
        ctx.library = library
        return out

    @staticmethod
    def backward(ctx, dout):
        (gate_up,) = ctx.saved_tensors
        gradient = torch.empty_like(gate_up)
        ctx.library.longleaf_swiglu_gradient(
            _rows(gate_up), gate_up.shape[-1] // 2, gate_up.data_ptr(),
            dout.contiguous().data_ptr(), gradient.data_ptr(), gate_up.dtype == torch.bfloat16,
            torch.get_num_threads(),
        )  # fmt: skip
        return None, gradient


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, library, logits, target, weight):
        if not logits.is_contiguous():
            raise ValueError("the logits must be contiguous: their gradient takes their place")
        rows, width = logits.shape
        losses, right = torch.empty(rows), torch.empty(rows, dtype=torch.bool)
        weight = weight.contiguous()
        library.longleaf_cross_entropy(
            rows, width, logits.data_ptr(), logits.dtype == torch.bfloat16,
            target.contiguous().data_ptr(), weight.data_ptr(), ctx.needs_input_grad[1],
            losses.data_ptr(), right.data_ptr(), torch.get_num_threads(),
        )  # fmt: skip
        ctx.save_for_backward(logits.detach())
        ctx.mark_non_differentiable(losses, right)
        return (losses * weight).sum(), losses, right

    @staticmethod
    def backward(ctx, scale, _losses, _right):
        (gradient,) = ctx.saved_tensors
        return None, gradient if scale.item() == 1 else gradient * scale, None, None


class Kernels:
    """The compiled kernels. They use as many threads as torch does when they are called."""

    def __init__(self, cache_folder: Path) -> None:
        self._library = library = ctypes.CDLL(str(build(Path(cache_folder))))
        size, pointer, flag, threads = c_int64, c_void_p, c_bool, c_int
        library.longleaf_attention.argtypes = (pointer, c_int, flag, flag, threads)
        library.longleaf_attention.restype = flag
        library.longleaf_norm.argtypes = (
            size, size, pointer, pointer, pointer, c_float, pointer, pointer, flag, pointer, threads
        )  # fmt: skip
        library.longleaf_norm_gradient.argtypes = (
            size, size, pointer, pointer, pointer, pointer, flag, pointer, pointer, pointer,
            pointer, threads,
        )  # fmt: skip
        library.longleaf_swiglu.argtypes = (size, size, pointer, pointer, flag, threads)
        library.longleaf_swiglu_gradient.argtypes = (
            size, size, pointer, pointer, pointer, flag, threads
        )  # fmt: skip
        library.longleaf_cross_entropy.argtypes = (
            size, size, pointer, flag, pointer, pointer, flag, pointer, pointer, threads
        )  # fmt: skip

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
        """CCA attention of sequences that are a document followed by question branches.

        qkv: [B, T, 3, H, d], f32 or bf16, d 32, 64 or 96, not rotated; cos, sin: f32 [B, T, d/2].
        The first `document_tokens` tokens are the document. Each `group` of them has a core: key
        and value pooled with the weights with which the group's last token attends to it.
        cores_visible, branch_start: int32 [B, T]. Token t sees the cores below cores_visible[t];
        of the document, tokens from cores_visible[t] * group on (a document token: up to itself);
        and a branch token sees its branch from branch_start[t] up to itself. Group 0 has no
        cores. Returns [B, T, H, d] in qkv's type; the arithmetic is f32.
        """
        return _Attention.apply(
            self._library, qkv, cos, sin, cores_visible, branch_start, document_tokens, group
        )

    def rms_norm(
        self, x: Tensor, weight: Tensor, eps: float, dtype: torch.dtype = torch.bfloat16
    ) -> Tensor:
        """x / rms(x) * weight over the last dimension; x and weight f32, the result of `dtype`."""
        return _Norm.apply(self._library, x, None, weight, eps, dtype)

    def add_rms_norm(
        self,
        x: Tensor,
        added: Tensor,
        weight: Tensor,
        eps: float,
        dtype: torch.dtype = torch.bfloat16,
    ) -> tuple[Tensor, Tensor]:
        """(x + added, the rms_norm of that) in one pass, as is the gradient; `added` is bf16."""
        return _Norm.apply(self._library, x, added, weight, eps, dtype)

    def swiglu(self, gate_up: Tensor) -> Tensor:
        """silu(gate) * up, of [..., 2F]: the gates, then the ups; f32 or bf16, as the result."""
        return _SwiGlu.apply(self._library, gate_up)

    def cross_entropy(
        self, logits: Tensor, target: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(sum of weight * loss, loss of each row, whether its first largest logit is the target).

        logits: f32 or bf16 [N, V], contiguous; target: int64 [N]; weight: f32 [N]. Where a gradient
        is asked for it takes the place of the logits, which are gone then. Only the sum has one.
        """
        return _CrossEntropy.apply(self._library, logits, target, weight)
