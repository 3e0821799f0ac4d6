"""The training kernels on the CPU, with gradients; the C++ files beside this one do the arithmetic.

    kernels = Kernels(cache_folder)      # builds the C++ there, once for each version of it
    kernels.attention(qkv, cos, sin, cores_visible, branch_start, document_tokens, group)
        -> out [B, T, H, d], of qkv's type
    kernels.rms_norm(x, weight, eps, dtype=torch.bfloat16)     -> like x, of that type
    kernels.swiglu(gate_up)                                    -> [..., F], of gate_up's type
    kernels.cross_entropy(logits, target, weight)
        -> (sum of weight * loss, loss of each row, whether each row's largest logit is its target)

`reference.Reference` has the same methods in plain PyTorch.
"""

import ctypes
import hashlib
import os
import subprocess
from ctypes import c_bool, c_int, c_int64, c_void_p
from pathlib import Path

import torch
from torch import Tensor

SOURCES = ("attention.cpp",)
HEADERS = ("vector.h",)
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


class Kernels:
    """The compiled kernels. They use as many threads as torch does when they are called."""

    def __init__(self, cache_folder: Path) -> None:
        self._library = ctypes.CDLL(str(build(Path(cache_folder))))
        self._library.longleaf_attention.argtypes = (c_void_p, c_int, c_bool, c_bool, c_int)
        self._library.longleaf_attention.restype = c_bool

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
