"""The report of longleaf-eval bench --json as rows of Markdown: a whole model on a GPU.

    model_table.py REPORT.json NAME ANSWERS [--markdown FILE]

Bytes of a decode step: the weights once, but for the embedding, and the states that are read; of
answers on one document, which share it, its state once.
"""

import argparse
import json
import os
import struct


def weight_bytes(folder):
    """Of the matrices that every step reads, in bf16."""
    total = 0
    for name in os.listdir(folder):
        if not name.endswith(".safetensors"):
            continue
        with open(os.path.join(folder, name), "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
        for tensor, entry in header.items():
            if tensor not in ("__metadata__", "model.embed_tokens.weight"):
                begin, end = entry["data_offsets"]
                total += end - begin
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report")
    parser.add_argument("name")
    parser.add_argument("answers", type=int)
    parser.add_argument("--markdown", default="")
    arguments = parser.parse_args()
    with open(arguments.report, encoding="utf-8") as file:
        report = json.load(file)

    weights = weight_bytes(report["model"])
    machine = report["machine"]
    rows = [["tokens", "attention", "prefill s", "TFLOP/s", "of matmul", "state GB", "first token ms",
             "decode ms", "GB/s", "answers", "step ms", "tokens/s"],
            ["---"] * 12]
    for run in report["runs"]:
        step = 1 / run["decode_tokens_per_second"]
        batch = run.get("batch")
        answers = rate = together = ""
        if batch:
            answers = str(arguments.answers)
            rate = f"{batch['decode_tokens_per_second']:.0f}"
            together = f"{arguments.answers / batch['decode_tokens_per_second'] * 1e3:.2f}"
        rows.append([
            str(run["tokens"]), run["attention"], f"{run['prefill_seconds']:.3f}",
            f"{run['prefill_gflops'] / 1e3:.1f}", f"{100 * run['matmul_ratio']:.0f}%",
            f"{run['memory_state_bytes'] / 1e9:.2f}", f"{run['ttft_memory_seconds'] * 1e3:.1f}",
            f"{step * 1e3:.2f}", f"{(weights + run['memory_state_bytes']) / step / 1e9:.0f}",
            answers, together, rate])
    title = (f"{arguments.name}, {report['weights']} weights, {report['state_dtype']} states, on "
             f"{machine['backend']}; {machine['matmul']} matmul {machine['matmul_gflops'] / 1e3:.0f} "
             "TFLOP/s")
    text = f"\n{title}\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)
    print(text)
    if arguments.markdown:
        with open(arguments.markdown, "a", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    main()
