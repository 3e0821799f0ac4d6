#!/usr/bin/env python3
"""Runs our engine and the peer in turns over shapes, bits and lengths; see peer.sh for the plan.

Each cell (shape, bits, type of the state, length) becomes one file of JSON lines in --out, one
line for each run, written anew when the cell is measured again. Our engine runs with CCA in turns
with the peer, and with full attention once behind them. What would take longer than --our-budget
by the runs before it, is left out: peer_table.py extrapolates it and says so.
"""
import argparse
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass

from peer_table import DISTURBED

HERE = pathlib.Path(__file__).parent
CONTEXT = 262144  # 131072 tokens, a question and an answer
ATTENTION = {"160m": "cca:g=16,w=1024,heads=query", "llama2-7b": "cca:g=16,w=1024,heads=query",
             "tinyllama-1.1b": "cca:g=16,w=1024,heads=kv"}
# Bits of a weight: our --weights, the peer's type.
WEIGHTS = {"32": ("f32", "f32"), "8": ("int8", "q8_0"), "4": ("int4", "q4_0")}
# Our --state-dtype: the peer's type of keys and values with as many bits.
STATES = {"f32": "f32", "bf16": "f16", "int8": "q8_0"}


@dataclass(frozen=True)
class Cell:
    shape: str
    bits: str
    state: str
    length: int

    def name(self) -> str:
        return f"{self.shape}-{self.bits}bit-{self.state}-{self.length}"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def busy_seconds() -> float:
    """Of all processors since the machine started."""
    fields = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _wait, irq, softirq, steal = (int(field) for field in fields[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def child_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def wait_for_quiet(seconds: float) -> None:
    """At most so long for two seconds in which others take less than a tenth of a processor."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begin, busy = time.monotonic(), busy_seconds()
        time.sleep(2)
        if busy_seconds() - busy < 0.1 * (time.monotonic() - begin):
            return
    if seconds > 0:
        say("  the machine is not quiet")


def run_json(command: list[str]) -> dict:
    """The command's JSON, with what the machine did beside it."""
    load, busy, own = os.getloadavg()[0], busy_seconds(), child_seconds()
    begin = time.monotonic()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    seconds = time.monotonic() - begin
    others = max(0.0, busy_seconds() - busy - (child_seconds() - own))
    say(f"  {seconds:.0f} s, other programs took {others / seconds:.2f} processors")
    return {"command": command, "wall_seconds": seconds, "load_before": load,
            "load_after": os.getloadavg()[0],
            "others_processors": others / seconds, "report": json.loads(done.stdout)}


class Runner:
    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.began = time.monotonic()
        self.out: pathlib.Path = args.out
        self.out.mkdir(parents=True, exist_ok=True)
        for left_behind in self.out.glob("state-*"):
            left_behind.unlink()
        self.models: pathlib.Path = args.models
        self.models.mkdir(parents=True, exist_ok=True)
        self.help = subprocess.run([args.program, "bench", "--help"], check=True,
                                   stdout=subprocess.PIPE, text=True).stdout
        # Length and seconds of our longest prefill so far, by shape, bits, state and attention.
        self.prefills: dict[tuple[str, str, str, str], tuple[int, float]] = {}

    def folder(self, shape: str) -> pathlib.Path:
        folder = self.models / shape
        if not (folder / "config.json").exists():
            subprocess.run([self.args.program, "random-model", "--shape", shape, "--out",
                            str(folder), "--context", str(CONTEXT)], check=True, stdout=sys.stderr)
        return folder

    def peer_file(self, shape: str, bits: str) -> pathlib.Path:
        kind = WEIGHTS[bits][1]
        path = self.models / f"{shape}-{kind}.gguf"
        if not path.exists():
            subprocess.run([sys.executable, str(HERE / "peer_gguf.py"), str(self.folder(shape)),
                            str(path), kind], check=True)
        return path

    def ours(self, cell: Cell, attention: str) -> dict | None:
        """None where it would take too long."""
        key = (cell.shape, cell.bits, cell.state, attention)
        if key in self.prefills:
            length, seconds = self.prefills[key]
            # Between in proportion and with the square; CCA nearer to the first.
            expected = seconds * (cell.length / length) ** (1.8 if attention == "full" else 1.2)
            if expected > self.args.our_budget:
                say(f"  left out: {attention} at {cell.length} would take about {expected:.0f} s")
                return None
        command = [self.args.program, "bench", "--model", str(self.folder(cell.shape)),
                   "--length", str(cell.length), "--attention", attention,
                   "--threads", str(self.args.threads), "--store", str(self.out), "--json"]
        for flag, value in (("--weights", WEIGHTS[cell.bits][0]), ("--state-dtype", cell.state)):
            if flag in self.help:
                command += [flag, value]
            elif value != "f32":
                raise SystemExit(f"{self.args.program} bench has no {flag} for {value}")
        command += self.args.our_flags.split()
        run = self.run(command)
        run["report"] = run["report"]["runs"][0]
        self.prefills[key] = (cell.length, run["report"]["prefill_seconds"])
        return run

    def peer(self, cell: Cell) -> dict:
        command = [sys.executable, str(HERE / "peer_measure.py"),
                   str(self.peer_file(cell.shape, cell.bits)), str(cell.length),
                   "--cache", STATES[cell.state], "--threads", str(self.args.threads),
                   "--budget", str(self.args.peer_budget), "--folder", str(self.out)]
        return self.run(command)

    def run(self, command: list[str]) -> dict:
        """Once more, as often as --retries says, where other programs took part of the machine."""
        for retries_left in range(self.args.retries, -1, -1):
            wait_for_quiet(self.args.quiet)
            say(f"[{time.monotonic() - self.began:.0f} s] {' '.join(command)}")
            run = run_json(command)
            if run["others_processors"] <= DISTURBED or retries_left == 0:
                return run
        raise AssertionError("there is a last attempt")

    def measure(self, cell: Cell) -> None:
        self.folder(cell.shape)
        self.peer_file(cell.shape, cell.bits)
        path = self.out / f"{cell.name()}.json"
        path.unlink(missing_ok=True)
        plan = [("cca", ATTENTION[cell.shape]), ("peer", "")] * self.args.rounds
        for engine, attention in [*plan, ("full", "full")]:
            run = self.peer(cell) if engine == "peer" else self.ours(cell, attention)
            if run is None:
                continue
            line = {"engine": engine, "shape": cell.shape, "bits": cell.bits, "state": cell.state,
                    "length": cell.length, **run}
            with path.open("a") as file:
                file.write(json.dumps(line) + "\n")

    def delete(self, shape: str) -> None:
        shutil.rmtree(self.models / shape)
        for path in self.models.glob(f"{shape}-*.gguf"):
            path.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", help="longleaf-eval")
    parser.add_argument("--shapes", default="160m,tinyllama-1.1b")
    parser.add_argument("--bits", default="8,4")
    parser.add_argument("--state", choices=STATES, default="bf16")
    parser.add_argument("--lengths", default="2048,8192,32768,65536,131072")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--peer-budget", type=float, default=60, help="seconds of a peer's prefill")
    parser.add_argument("--our-budget", type=float, default=900,
                        help="seconds of one of our prefills")
    parser.add_argument("--quiet", type=float, default=60,
                        help="seconds to wait for a quiet machine before each run")
    parser.add_argument("--retries", type=int, default=1, help="of a run that was disturbed")
    parser.add_argument("--our-flags", default="", help="more flags for longleaf-eval bench")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("build/bench/peer"))
    parser.add_argument("--models", type=pathlib.Path,
                        default=pathlib.Path("build/bench/peer-models"))
    parser.add_argument("--delete", action="store_true", help="the models, when a shape is done")
    args = parser.parse_args()
    runner = Runner(args)
    for shape in args.shapes.split(","):
        for bits in args.bits.split(","):
            for length in sorted(map(int, args.lengths.split(","))):
                runner.measure(Cell(shape, bits, args.state, length))
        if args.delete:
            runner.delete(shape)


if __name__ == "__main__":
    main()
