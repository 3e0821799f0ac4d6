#!/usr/bin/env python3
"""The peer's file of our weights: peer_gguf.py MODEL_FOLDER OUT.gguf TYPE

Reads a LLaMA checkpoint in the Hugging Face layout and writes the same values as GGUF, all matrices
(embedding and output too) in TYPE: f32, f16, bf16, q8_0 or q4_0; norms stay f32. There is no
vocabulary in the file: whoever measures feeds token ids.
"""
import json
import mmap
import pathlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import gguf
import numpy as np

TYPES = {
    "f32": gguf.GGMLQuantizationType.F32,
    "f16": gguf.GGMLQuantizationType.F16,
    "bf16": gguf.GGMLQuantizationType.BF16,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
    "q4_0": gguf.GGMLQuantizationType.Q4_0,
}
# In elements of a matrix: what is converted at a time.
PIECE = 16 << 20


@dataclass(frozen=True)
class Tensor:
    """One tensor of a safetensors file; the values stay in the file until rows() asks for them."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: memoryview

    def rows(self, begin: int, end: int) -> np.ndarray:
        """Rows [begin, end) as f32; of a vector, elements."""
        kind = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}[self.dtype]
        values = np.frombuffer(self.data, kind).reshape(self.shape)[begin:end]
        if self.dtype == "BF16":
            return (values.astype(np.uint32) << 16).view(np.float32)
        return values.astype(np.float32)


def read_tensors(folder: pathlib.Path) -> dict[str, Tensor]:
    """All tensors of the folder's safetensors files, by name."""
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        header_bytes = int.from_bytes(content[:8], "little")
        header = json.loads(bytes(content[8:8 + header_bytes]))
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            begin, end = (8 + header_bytes + offset for offset in entry["data_offsets"])
            tensors[name] = Tensor(name, entry["dtype"], tuple(entry["shape"]), content[begin:end])
    return tensors


def pair_rows(rows: np.ndarray, head_dim: int) -> np.ndarray:
    """Whole heads' rows in the peer's rotary order.

    In the Hugging Face layout rotation turns row j of a head with row j + head_dim/2; the peer's
    kernel for this architecture turns rows 2j and 2j + 1.
    """
    columns = rows.shape[1]
    halves = rows.reshape(-1, 2, head_dim // 2, columns)
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(-1, columns)


def peer_names(layers: int, tied: bool) -> Iterator[tuple[str, str]]:
    """(our name, the peer's name) of every tensor."""
    yield "model.embed_tokens.weight", "token_embd.weight"
    yield "model.norm.weight", "output_norm.weight"
    if not tied:
        yield "lm_head.weight", "output.weight"
    of_layer = {
        "input_layernorm": "attn_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "post_attention_layernorm": "ffn_norm",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    for layer in range(layers):
        for ours, peer in of_layer.items():
            yield f"model.layers.{layer}.{ours}.weight", f"blk.{layer}.{peer}.weight"


def encode(tensor: Tensor, kind: gguf.GGMLQuantizationType, head_dim: int) -> np.ndarray:
    """The tensor's bytes in the peer's file, [rows, bytes of a row]."""
    rotary = tensor.name.endswith(("q_proj.weight", "k_proj.weight"))
    rows, columns = tensor.shape
    step = max(1, PIECE // columns // head_dim) * head_dim  # whole heads
    pieces = []
    for begin in range(0, rows, step):
        values = tensor.rows(begin, min(begin + step, rows))
        if rotary:
            values = pair_rows(values, head_dim)
        pieces.append(gguf.quants.quantize(values, kind).view(np.uint8))
    return np.concatenate(pieces)


def write_settings(writer: gguf.GGUFWriter, config: dict, head_dim: int) -> None:
    if config.get("rope_scaling"):
        raise SystemExit("peer_gguf.py: scaled rotary frequencies are not carried over")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")


def convert(folder: pathlib.Path, out: pathlib.Path, kind: gguf.GGMLQuantizationType) -> None:
    config = json.loads((folder / "config.json").read_text())
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    tensors = read_tensors(folder)
    names = list(peer_names(config["num_hidden_layers"], config["tie_word_embeddings"]))
    if missing := {ours for ours, _ in names} ^ set(tensors):
        raise SystemExit(f"peer_gguf.py: unexpected set of tensors: {sorted(missing)[:5]}")

    # Under another name until it is whole.
    unfinished = out.with_name(out.name + ".part")
    writer = gguf.GGUFWriter(unfinished, "llama")
    write_settings(writer, config, head_dim)
    for ours, peer in names:
        shape = tensors[ours].shape
        if len(shape) == 1:
            writer.add_tensor_info(peer, shape, np.dtype(np.float32), 4 * shape[0])
        else:
            shape = gguf.quants.quant_shape_to_byte_shape(shape, kind)
            writer.add_tensor_info(peer, shape, np.dtype(np.uint8), int(np.prod(shape)), kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for ours, _ in names:
        tensor = tensors[ours]
        vector = len(tensor.shape) == 1
        writer.write_tensor_data(tensor.rows(0, tensor.shape[0]) if vector
                                 else encode(tensor, kind, head_dim))
    writer.close()
    unfinished.rename(out)


def main() -> None:
    if len(sys.argv) != 4 or sys.argv[3] not in TYPES:
        raise SystemExit(f"usage: peer_gguf.py MODEL_FOLDER OUT.gguf {'|'.join(TYPES)}")
    convert(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), TYPES[sys.argv[3]])


if __name__ == "__main__":
    main()
