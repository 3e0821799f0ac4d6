#!/usr/bin/env python3
"""The goals of issue 4 beside what tests/bench/load.sh measured: load_summary.py FOLDER."""
import json
import pathlib
import statistics
import sys


def main() -> None:
    folder = pathlib.Path(sys.argv[1])

    def first(name: str) -> dict:
        return json.loads((folder / f"{name}.json").read_text())["results"][0]

    cold, interference = first("cold"), first("interference")
    batching = first("batching")
    served = [first(path.stem) for path in sorted(folder.glob("served-*.json"))]
    engine = [json.loads(path.read_text())["runs"][0]["batch"]
              for path in sorted(folder.glob("engine-*.json"))]
    batch = batching["batch"]
    tokens = cold["document_tokens"]
    rates = [(s["tokens_per_second"], e["tokens_per_second"]) for s, e in zip(served, engine)]
    overhead = statistics.median(1 - s / e for s, e in rates)
    passes = batching["one_document"].get("tokens_per_weight_pass", 0)
    rows = [
        ("ITL p99 during a long prefill / idle", "<= 2", interference["itl_p99_ratio"], "{:.2f}",
         lambda v: v <= 2),
        (f"{batch} questions on one document / one question", ">= 6",
         batching["one_document_ratio"], "{:.2f}", lambda v: v >= 6),
        (f"{batch} questions on {batch} documents / one question", ">= 4",
         batching["many_documents_ratio"], "{:.2f}", lambda v: v >= 4),
        ("gRPC and scheduling, of the engine's throughput", "<= 5%", 100 * overhead, "{:.1f}%",
         lambda v: v <= 5),
        (f"first token, stored and cold ({' '.join(cold['first']['state_tiers'])}), of its prefill",
         "<= 1%", 100 * cold["first_ttft_share_of_prefill"], "{:.2f}%", lambda v: v <= 1),
    ]
    print(f"\nOn a document of {tokens} tokens:")
    width = max(len(row[0]) for row in rows)
    print(f"{'goal':{width}}  {'wanted':>6}  {'measured':>9}")
    for name, wanted, value, form, reached in rows:
        print(f"{name:{width}}  {wanted:>6}  {form.format(value):>9}  "
              f"{'reached' if reached(value) else 'MISSED'}")
    print(f"\nanswer tokens for one reading of the weights, {batch} on one document: {passes:.1f}")
    print("tokens/s served, and of the engine alone, in turns: "
          + "; ".join(f"{s:.0f}, {e:.0f}" for s, e in rates))
    beside = interference["prefill_beside"]["tokens_per_second"]
    alone = interference.get("prefill_alone", {}).get("tokens_per_second", 0)
    print(f"prefill beside {interference['readers']} answers {beside:.0f} tokens/s, "
          f"alone {alone:.0f}")


if __name__ == "__main__":
    main()
