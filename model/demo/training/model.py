"""The model to be trained: Llama with CCA attention, no biases.

Parameters are views of one flat float32 tensor, so that two processes can share them and an
optimiser can walk over them; their names are those of a Hugging Face checkpoint.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from training.heads import readers

CODE_WIDTH = 96  # components of the stream that hold the code of a token
CODE_SIZE = 4.0  # of each of them at the start, large beside what a layer adds


@dataclass(frozen=True)
class ModelConfig:
    vocab_size: int = 4096
    hidden_size: int = 320
    intermediate_size: int = 768
    num_hidden_layers: int = 6
    num_attention_heads: int = 5
    rope_theta: float = 1e12
    rms_norm_eps: float = 1e-5

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads


@dataclass
class Batch:
    """Examples of one shape, stacked: [B, T] unless said."""

    tokens: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    positions: torch.Tensor
    cores_visible: torch.Tensor
    branch_start: torch.Tensor
    document_tokens: int
    group: int
    # what attention is taught, by name: rows, begin, end and weight, [B, n] each
    supervision: dict[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]]


class Model:
    """`kernels`: kernels.Kernels or reference.Reference."""

    def __init__(self, config: ModelConfig, kernels, seed: int) -> None:
        self.config = c = config
        self.kernels = kernels
        d, f = c.hidden_size, c.intermediate_size
        shapes = {
            "model.embed_tokens.weight": (c.vocab_size, d),
            "lm_head.weight": (c.vocab_size, d),
            "model.norm.weight": (d,),
        }
        for layer in range(c.num_hidden_layers):
            p = f"model.layers.{layer}."
            shapes |= {
                p + "input_layernorm.weight": (d,),
                p + "post_attention_layernorm.weight": (d,),
            }
            shapes |= {p + f"self_attn.{n}_proj.weight": (d, d) for n in "qkvo"}
            shapes |= {p + f"mlp.{n}_proj.weight": (f, d) for n in ("gate", "up")}
            shapes[p + "mlp.down_proj.weight"] = (d, f)
        self.flat = torch.zeros(sum(torch.Size(s).numel() for s in shapes.values()))
        self.grad = torch.zeros_like(self.flat)
        self.place: dict[str, slice] = {}
        begin = 0
        for name, shape in shapes.items():
            self.place[name] = slice(begin, begin + torch.Size(shape).numel())
            begin = self.place[name].stop
        self.shapes = shapes
        self.parameters: dict[str, torch.Tensor] = {}
        self.bind()
        self._initialise(torch.Generator().manual_seed(seed))
        index = torch.arange(0, c.head_dim, 2, dtype=torch.float64)
        self.frequencies = c.rope_theta ** (-index / c.head_dim)

    def bind(self) -> None:
        """Makes the parameters views of `flat` and `grad` (again, after these were exchanged)."""
        for name, shape in self.shapes.items():
            view = self.flat[self.place[name]].view(shape).detach().requires_grad_(True)
            view.grad = self.grad[self.place[name]].view(shape)
            self.parameters[name] = view

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator) -> None:
        """Random weights, and what a reader of texts needs, to start from. The stream has one
        component that all embeddings share, then a random code of the token that stands there, then
        room, empty at first, for the code of the token to come, which the logits are read from; the
        rest is free. The heads that read answers copy the one code to the place of the other."""
        c, normal = self.config, lambda *shape: torch.randn(shape, generator=generator)
        depth = (2 * c.num_hidden_layers) ** -0.5
        for name, weight in self.parameters.items():
            if weight.dim() == 1:
                weight.fill_(1.0)
                continue
            scale = 0.8 * weight.shape[1] ** -0.5
            if "o_proj" in name or "down_proj" in name:
                scale *= depth
            weight.copy_(normal(*weight.shape) * scale)
        width = CODE_WIDTH
        here, next_ = slice(1, 1 + width), slice(1 + width, 1 + 2 * width)
        code = normal(c.vocab_size, width)
        embeddings, logits = (
            self.parameters[n] for n in ("model.embed_tokens.weight", "lm_head.weight")
        )
        embeddings.zero_()
        embeddings[:, 0] = CODE_SIZE * width**0.5 * 0.4
        embeddings[:, here] = code * CODE_SIZE
        logits.mul_(0.1)
        logits[:, next_] = code * width**-0.5
        for layer in range(c.num_hidden_layers):
            for head in readers(layer):
                rows = slice(head * c.head_dim, (head + 1) * c.head_dim)
                seen = torch.linalg.qr(normal(width, width))[0][: c.head_dim]
                value, output = (
                    self.parameters[f"model.layers.{layer}.self_attn.{n}_proj.weight"] for n in "vo"
                )
                value[rows] = 0.0
                value[rows, here] = seen
                output[:, rows] = 0.0
                output[next_, rows] = CODE_SIZE * seen.T
        self._look_back()

    @torch.no_grad()
    def silence(self, token: int) -> None:
        """Gives `token` no code: a head that looks at it reads nothing."""
        self.parameters["model.embed_tokens.weight"][token, 1:] = 0.0

    @torch.no_grad()
    def _look_back(self) -> None:
        """Heads 0, 1 and 2 of the first layer start out looking 1, 2 and 3 tokens back: all
        embeddings share one component, which their fastest rotary pairs turn by that distance."""
        c = self.config
        embeddings = self.parameters["model.embed_tokens.weight"]
        normed = float(embeddings[0, 0]) / float(
            embeddings.square().mean(1).add(c.rms_norm_eps).sqrt().mean()
        )
        half = c.head_dim // 2
        q, k = (self.parameters[f"model.layers.0.self_attn.{n}_proj.weight"] for n in "qk")
        for head in range(3):
            for weight in (q, k):  # little else counts at first
                weight[head * c.head_dim : (head + 1) * c.head_dim] *= 0.1
            for pair, logit in enumerate((10.0, 5.0, 2.0, 1.0)):
                strength = (logit * c.head_dim**0.5) ** 0.5 / normed
                angle = (head + 1) * c.rope_theta ** (-2 * pair / c.head_dim)
                row = head * c.head_dim + pair
                k[row, 0] += strength
                q[row, 0] += strength * math.cos(angle)
                q[row + half, 0] -= strength * math.sin(angle)

    def rotary(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """cos, sin [B, T, d/2]; the angles in double, as the engine has them."""
        angles = positions.double()[..., None] * self.frequencies
        return angles.cos().float(), angles.sin().float()

    def hidden(self, batch: Batch, look=None) -> torch.Tensor:
        """The output of the last norm, bfloat16 [B * T, hidden]. `look(layer, qkv)` sees each
        layer's queries, keys and values [B, T, 3, heads, head_dim], not rotated."""
        c, p, kernels = self.config, self.parameters, self.kernels
        b, t = batch.tokens.shape
        cos, sin = self.rotary(batch.positions)
        x = F.embedding(batch.tokens.view(b * t), p["model.embed_tokens.weight"])
        added = None  # what the residual stream still lacks
        for layer in range(c.num_hidden_layers):
            w = lambda name: p[f"model.layers.{layer}.{name}.weight"]
            x, normed = self._norm(x, added, w("input_layernorm"))
            qkv = F.linear(normed, torch.cat([w(f"self_attn.{n}_proj") for n in "qkv"]).bfloat16())
            qkv = qkv.view(b, t, 3, c.num_attention_heads, c.head_dim)
            if look is not None:
                look(layer, qkv)
            heads = kernels.attention(
                qkv,
                cos,
                sin,
                batch.cores_visible,
                batch.branch_start,
                batch.document_tokens,
                batch.group,
            )
            added = F.linear(heads.view(b * t, -1), w("self_attn.o_proj").bfloat16())
            x, normed = self._norm(x, added, w("post_attention_layernorm"))
            gate_up = torch.cat([w("mlp.gate_proj"), w("mlp.up_proj")]).bfloat16()
            gated = kernels.swiglu(F.linear(normed, gate_up))
            added = F.linear(gated, w("mlp.down_proj").bfloat16())
        return self._norm(x, added, p["model.norm.weight"])[1]

    def _norm(self, x: torch.Tensor, added: torch.Tensor | None, weight: torch.Tensor):
        if added is None:
            return x, self.kernels.rms_norm(x, weight, self.config.rms_norm_eps)
        return self.kernels.add_rms_norm(x, added, weight, self.config.rms_norm_eps)

    def losses(self, normed: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Weighted cross entropy of the rows that have a weight, summed, and [B, T] whether a row's
        likeliest token is its target. `normed`: what `hidden` gave."""
        rows = batch.weights.view(-1).nonzero().view(-1)
        head = self.parameters["lm_head.weight"].bfloat16()
        logits = F.linear(normed[rows], head)
        targets = batch.targets.view(-1)[rows]
        total, _, is_right = self.kernels.cross_entropy(
            logits, targets, batch.weights.view(-1)[rows]
        )
        right = torch.zeros(batch.tokens.numel(), dtype=torch.bool)
        right[rows] = is_right.bool()
        return total, right.view_as(batch.tokens)

    def save_checkpoint(self, directory: Path, context: int, group: int, window: int) -> None:
        """A folder as Hugging Face lays it out, in bfloat16, with the `cca` object."""
        directory.mkdir(parents=True, exist_ok=True)
        tensors = {n: w.detach().bfloat16().clone() for n, w in self.parameters.items()}
        save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
        config = asdict(self.config) | {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "num_key_value_heads": self.config.num_attention_heads,
            "head_dim": self.config.head_dim,
            "hidden_act": "silu",
            "rope_scaling": None,
            "max_position_embeddings": context,
            "tie_word_embeddings": False,
            "attention_bias": False,
            "mlp_bias": False,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "torch_dtype": "bfloat16",
            "use_cache": True,
            "cca": {"group_size": group, "window": window, "core_heads": "query"},
        }
        (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
