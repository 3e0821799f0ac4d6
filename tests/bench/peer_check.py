#!/usr/bin/env python3
"""Are they the same model? peer_check.py LONGLEAF_EVAL MODEL_FOLDER WORK_FOLDER

Converts a small model, feeds the same token ids to our engine (full attention, f32) and to the peer
and compares the logits of every token: closely with the peer's f32 and f16 files, and within
what rounding the weights costs with its q8_0 and q4_0. A rotary order, a norm or a head gone wrong
would be far outside. Exit status 1 where they differ.
"""
import json
import pathlib
import subprocess
import sys

import numpy as np
import peer_gguf
from peer_llama import Peer, PeerOptions

TOKENS = 400
# The peer's types of weights and cache, and the largest difference that passes: the root of its
# mean square over that of the logits themselves. With flash attention the peer rounds keys to f16
# whatever the cache; with weights that are not f32 it rounds activations too, to f16 or 8 bits.
CASES = {("f32", "f32", "off"): 1e-5, ("f32", "f32", "on"): 1e-3, ("f16", "f16", "off"): 3e-3,
         ("f16", "f16", "on"): 3e-3, ("q8_0", "f16", "on"): 0.05, ("q4_0", "f16", "on"): 0.25}


def write_tokens(path: pathlib.Path, tokens: np.ndarray) -> None:
    data = tokens.astype("<i4").tobytes()
    header = json.dumps({"tokens": {"dtype": "I32", "shape": [len(tokens)],
                                    "data_offsets": [0, len(data)]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


def our_logits(program: str, model: pathlib.Path, work: pathlib.Path,
               tokens: np.ndarray) -> np.ndarray:
    """F32 [tokens, vocab]."""
    folder = work / "check"
    folder.mkdir(exist_ok=True)
    write_tokens(folder / "tokens.in", tokens)
    out = folder / "logits.safetensors"
    subprocess.run([program, "logits", "--model", str(model), "--attention", "full",
                    "--tokens", str(folder / "tokens.in"), "--out", str(out)],
                   check=True, stderr=subprocess.DEVNULL)
    logits = peer_gguf.read_tensors(folder)["logits"]
    return logits.rows(0, logits.shape[0])


def peer_logits(path: pathlib.Path, cache: str, flash: bool, tokens: np.ndarray) -> np.ndarray:
    """Likewise, read in two steps so that the second sees a cache."""
    peer = Peer(path, 512, PeerOptions(threads=2, cache=cache, flash_attention=flash))
    rows = []
    for begin, end in ((0, TOKENS - 100), (TOKENS - 100, TOKENS)):
        peer.read(tokens[begin:end].tolist(), begin, outputs=end - begin)
        rows += [peer.logits(row) for row in range(end - begin)]
    peer.close()
    return np.stack(rows)


def main() -> None:
    program, model, work = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    work.mkdir(parents=True, exist_ok=True)
    vocab = json.loads((model / "config.json").read_text())["vocab_size"]
    tokens = np.random.default_rng(1).integers(3, vocab, TOKENS)
    ours = our_logits(program, model, work, tokens)
    scale = float(np.sqrt(np.mean(ours**2)))
    failed = False
    for (weights, cache, flash), tolerance in CASES.items():
        path = work / f"check-{weights}.gguf"
        peer_gguf.convert(model, path, peer_gguf.TYPES[weights])
        peers = peer_logits(path, cache, flash == "on", tokens)
        path.unlink()
        error = float(np.sqrt(np.mean((peers - ours) ** 2))) / scale
        same = float(np.mean(peers.argmax(axis=1) == ours.argmax(axis=1)))
        passed = error <= tolerance  # false for NaN too
        failed |= not passed
        print(f"logits, ours in f32, the peer's with {weights} weights, {cache} cache, flash "
              f"attention {flash}: differ by {error:.1e} (at most {tolerance:g}), same likeliest token at "
              f"{same:.1%} of {TOKENS}: {'the same model' if passed else 'NOT THE SAME MODEL'}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
