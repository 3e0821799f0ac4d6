"""What PyTorch's scaled_dot_product_attention reaches on this chip: full causal attention at the
shapes that attention_bench measures, by each backend that takes them (FlashAttention, cuDNN), and
decoding of one token. The same operations are counted: 4 d for each (query, head, visible position).

    sdpa.py [--lengths 32768,65536,131072] [--shapes 7b,8b] [--repeats 5] [--markdown FILE]
"""

import argparse
import sys

try:
    import torch
    import torch.nn.functional as functional
    from torch.nn.attention import SDPBackend, sdpa_kernel
except ImportError as error:
    sys.exit(f"sdpa: no PyTorch here: {error}")

SHAPES = {"7b": (32, 32, 128), "8b": (32, 8, 128), "tiny": (4, 2, 64)}
BACKENDS = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}


def seconds_of(run, repeats):
    """The median time of one call, on the device's own clock."""
    run()
    torch.cuda.synchronize()
    times = []
    for _ in range(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return sorted(times)[len(times) // 2]


def random(heads, tokens, size):
    return torch.randn(1, heads, tokens, size, device="cuda", dtype=torch.bfloat16)


def check(backend):
    """The backend against the definition in float32, where that is small."""
    query, key, value = (random(4, 257, 128) for _ in range(3))
    with sdpa_kernel(BACKENDS[backend]):
        got = functional.scaled_dot_product_attention(query, key, value, is_causal=True).float()
    scores = query.float() @ key.float().transpose(-1, -2) / 128**0.5
    mask = torch.ones(257, 257, device="cuda", dtype=torch.bool).tril()
    want = scores.masked_fill(~mask, float("-inf")).softmax(-1) @ value.float()
    error = ((got - want).norm() / want.norm()).item()
    if not error < 1e-2:
        sys.exit(f"sdpa: WRONG: {backend} differs from the definition by {error}")


def measure(backend, shape, tokens, repeats):
    heads, kv_heads, size = SHAPES[shape]
    grouped = {"enable_gqa": True} if heads != kv_heads else {}
    query = random(heads, tokens, size)
    key, value = random(kv_heads, tokens, size), random(kv_heads, tokens, size)
    with sdpa_kernel(BACKENDS[backend]):
        prefill = seconds_of(
            lambda: functional.scaled_dot_product_attention(
                query, key, value, is_causal=True, **grouped), repeats)
        last = query[:, :, -1:].contiguous()
        # Several copies in turn, so that the caches do not hold them.
        copies = [(key.clone(), value.clone()) for _ in range(4)]

        def decode():
            for k, v in copies:
                functional.scaled_dot_product_attention(last, k, v, **grouped)

        step = seconds_of(decode, repeats) / len(copies)
    operations = 4 * size * heads * tokens * (tokens + 1) / 2
    bytes_read = 2 * tokens * kv_heads * size * 2
    return prefill, operations / prefill / 1e12, step, bytes_read / step / 1e9


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", default="32768,65536,131072")
    parser.add_argument("--shapes", default="7b,8b")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--markdown", default="")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("sdpa: PyTorch sees no GPU")

    rows = [["backend", "model", "tokens", "prefill ms", "TFLOP/s", "decode ms", "GB/s"]]
    for backend in BACKENDS:
        try:
            check(backend)
        except RuntimeError as error:
            print(f"{backend}: {error}".splitlines()[0])
            continue
        for shape in arguments.shapes.split(","):
            for tokens in map(int, arguments.lengths.split(",")):
                try:
                    prefill, rate, step, read = measure(backend, shape, tokens, arguments.repeats)
                except RuntimeError as error:
                    print(f"{backend} {shape} {tokens}: {error}".splitlines()[0])
                    continue
                rows.append([backend, shape, str(tokens), f"{prefill * 1e3:.2f}", f"{rate:.1f}",
                             f"{step * 1e3:.4f}", f"{read:.1f}"])

    title = (f"PyTorch {torch.__version__} scaled_dot_product_attention, one layer, bf16, "
             f"cuDNN {torch.backends.cudnn.version()}")
    print(f"\n{title}")
    for row in rows:
        print("  ".join(f"{cell:<10}" for cell in row))
    if arguments.markdown:
        with open(arguments.markdown, "a", encoding="utf-8") as file:
            file.write(f"\n{title}\n\n")
            rows.insert(1, ["---"] * len(rows[0]))
            file.writelines(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    main()
