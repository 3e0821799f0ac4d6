"""clang-tidy over many sources, several of them in one translation unit.

    tidy.py BUILD_DIR < names of sources

Nearly all of clang-tidy's time goes into the outside headers that a source includes, again for every
source. Sources that one command compiles are therefore included into one generated file, as many as go
together: where two give the same name to something of their own, the later one moves to the next file.
When anything is found, the sources in question are looked at once more, each alone, and that counts.
"""

import collections
import concurrent.futures
import json
import os
import re
import shlex
import subprocess
import sys

TOGETHER = 24
ERROR = re.compile(r"^([^:\n]+):\d+:\d+: (?:fatal )?error:", re.M)


class Tidy:
    def __init__(self, build):
        self.build = build
        self.folder = os.path.abspath(os.path.join(build, "tidy"))
        os.makedirs(self.folder, exist_ok=True)
        with open(os.path.join(build, "compile_commands.json")) as file:
            self.commands = {os.path.realpath(entry["file"]): entry for entry in json.load(file)}

    def command(self, source):
        """How a source is compiled, but for its own name and its output; None when nobody does."""
        entry = self.commands.get(os.path.realpath(source))
        if entry is None:
            return None
        words = shlex.split(entry["command"])
        output = words.index("-o")
        words = words[:output] + words[output + 2 :]
        return tuple(words[: words.index("-c")]), entry["directory"]

    def groups(self, sources):
        """Lists of sources that may go together; neighbours, which are alike, go into different ones."""
        by_command = collections.defaultdict(list)
        alone = []
        for source in sources:
            with open(source) as file:
                once = "foreach_target.h" not in file.read()  # Highway reads such a file many times
            command = self.command(source)
            (by_command[command] if command and once else alone).append(source)
        for group in by_command.values():
            parts = -(-len(group) // TOGETHER)
            yield from (group[i::parts] for i in range(parts))
        yield from ([source] for source in alone)

    def write(self, name, group):
        """The file that includes them, with the command that compiles it; both as one entry."""
        command, directory = self.command(group[0])
        file = os.path.join(self.folder, name + ".cc")
        with open(file, "w") as out:
            out.writelines('#include "%s"\n' % os.path.abspath(source) for source in group)
        # Warnings are the compiler's matter, in the build.
        words = list(command) + ["-w", "-ferror-limit=0", "-fsyntax-only", file]
        return {"directory": directory, "file": file, "arguments": words}

    def look(self, number, group):
        """What is to be said of a group of sources, empty when they are good."""
        said = ""
        rest = list(group)
        for part in range(len(group)):
            together, rest = rest, []
            while len(together) > 1:
                entry = self.write("%d-%d" % (number, part), together)
                errors = subprocess.run(entry["arguments"], cwd=entry["directory"],
                                        capture_output=True, text=True).stderr
                bad = {os.path.realpath(path) for path in ERROR.findall(errors)}
                if not bad:
                    break
                moved = [s for s in together[1:] if os.path.realpath(s) in bad]
                moved = moved or together[len(together) // 2 :]
                rest += moved
                together = [s for s in together if s not in moved]
            if len(together) == 1 or not self.good(number, part, entry):
                said += "".join(self.alone(source) for source in together)
            if not rest:
                break
        return said

    def good(self, number, part, entry):
        database = os.path.join(self.folder, "%d-%d" % (number, part))
        os.makedirs(database, exist_ok=True)
        with open(os.path.join(database, "compile_commands.json"), "w") as file:
            json.dump([entry], file)
        run = subprocess.run(["clang-tidy", "-p", database, "--quiet", entry["file"]],
                             capture_output=True, text=True)
        return run.returncode == 0

    def alone(self, source):
        run = subprocess.run(["clang-tidy", "-p", self.build, "--quiet", source],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        # What it says about warnings that it suppressed in outside headers is no finding.
        lines = [line for line in run.stdout.splitlines(True)
                 if not re.match(r"\d+ warnings? .*(generated|treated)", line)]
        return "" if run.returncode == 0 else "".join(lines) or source + ": clang-tidy failed\n"


def main():
    tidy = Tidy(sys.argv[1])
    groups = sorted(tidy.groups(sys.stdin.read().split()), key=len, reverse=True)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as workers:
        said = list(workers.map(tidy.look, range(len(groups)), groups))
    sys.stdout.write("".join(said))
    return 1 if any(said) else 0


if __name__ == "__main__":
    sys.exit(main())
