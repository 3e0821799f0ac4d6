"""Holds the metrics of a running longleafd against what refers to them.

metrics_test.py LONGLEAFD LONGLEAF: starts the server with the demonstration model, lets it read a
document, answers a question from the stored state after a restart, deletes the document, and scrapes.
Then every metric and label that the dashboard and the alerts name must be exported, the names must
follow the conventions, and nothing that operators were promised may be missing.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import unittest
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DASHBOARD = os.path.join(ROOT, "deploy", "grafana", "longleaf.json")
RULES = os.path.join(ROOT, "deploy", "prometheus", "rules.yml")
MODEL = os.path.join(ROOT, "model", "demo")
PROGRAM_SECONDS = 120

# What the server promises to export: type, and the labels of its own.
PROMISED = {
    "longleaf_requests_running": ("gauge", set()),
    "longleaf_requests_waiting": ("gauge", {"kind"}),
    "longleaf_requests_finished_total": ("counter", {"kind", "reason"}),
    "longleaf_requests_rejected_total": ("counter", {"reason"}),
    "longleaf_queue_seconds": ("histogram", set()),
    "longleaf_time_to_first_token_seconds": ("histogram", set()),
    "longleaf_inter_token_latency_seconds": ("histogram", set()),
    "longleaf_prefill_seconds": ("histogram", set()),
    "longleaf_request_seconds": ("histogram", {"kind"}),
    "longleaf_document_tokens_total": ("counter", set()),
    "longleaf_question_tokens_total": ("counter", set()),
    "longleaf_generated_tokens_total": ("counter", set()),
    "longleaf_reused_tokens_total": ("counter", set()),
    "longleaf_upload_bytes_total": ("counter", set()),
    "longleaf_documents": ("gauge", {"state"}),
    "longleaf_state_lookups_total": ("counter", {"tier", "result"}),
    "longleaf_state_load_seconds": ("histogram", {"tier"}),
    "longleaf_state_bytes": ("gauge", {"tier"}),
    "longleaf_state_capacity_bytes": ("gauge", {"tier"}),
    "longleaf_state_evictions_total": ("counter", {"tier", "reason"}),
    "longleaf_state_rejected_total": ("counter", {"reason"}),
    "longleaf_step_batch_tokens": ("histogram", set()),
    "longleaf_store_write_stopped": ("gauge", set()),
    "longleaf_store_delayed_write_bytes_per_second": ("gauge", set()),
    "longleaf_store_pending_compaction_bytes": ("gauge", set()),
    "longleaf_build_info": ("gauge", {"version", "device", "model"}),
}
LONGEST_PREFILL_SECONDS = 3600  # buckets must tell at least up to here

SUFFIXES = ("_bucket", "_sum", "_count")
ALIEN_UNITS = {"ms", "us", "ns", "milliseconds", "microseconds", "minutes", "hours", "kb", "mb", "gb",
               "kilobytes", "megabytes", "percent", "permille"}
UNBOUNDED_LABELS = {"document", "document_id", "id", "request_id", "name", "display_name", "tenant"}
SCRAPE_LABELS = {"job", "instance", "namespace"}  # added by Prometheus
SCRAPE_METRICS = {"up"}
KEYWORDS = {"and", "or", "unless", "bool", "offset"}


class Server:
    """longleafd on free ports; leaving the block stops it as an orchestrator does."""

    def __init__(self, program, store):
        self._command = [program, "--model", MODEL, "--store", store, "--listen", "127.0.0.1:0",
                         "--metrics-listen", "127.0.0.1:0", "--log-level", "error"]

    def __enter__(self):
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        # A server that never gets ready must not hold the test up: readline ends when it dies.
        watchdog = threading.Timer(PROGRAM_SECONDS, self._process.kill)
        watchdog.start()
        try:
            ready = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        match = re.fullmatch(r"longleafd ready listen=(\S+) metrics=(\S+)\n", ready)
        if match is None:
            self._process.kill()
            self._process.wait()
            raise AssertionError("not ready, it said: %r" % ready)
        self.address, self._metrics = match.groups()
        return self

    def __exit__(self, *failure):
        self._process.terminate()
        try:
            code = self._process.wait(PROGRAM_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._process.stdout.close()
        if code != 0 and failure[0] is None:
            raise AssertionError("longleafd ended with %d" % code)

    def scrape(self):
        with urllib.request.urlopen("http://%s/metrics" % self._metrics, timeout=30) as reply:
            return reply.read().decode()


class Family:
    def __init__(self):
        self.type = None
        self.help = ""
        self.series = {}  # name of a sample: the names of its labels
        self.bounds = set()  # of a histogram


def parse(text):
    """Families by name, of the text format of Prometheus; a sample without a family is an error."""
    families = {}
    for line in text.splitlines():
        if line.startswith(("# HELP ", "# TYPE ")):
            _, key, name, rest = (line + " ").split(" ", 3)
            setattr(families.setdefault(name, Family()), key.lower(), rest.strip())
        elif line and not line.startswith("#"):
            name, labels = re.match(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ", line).groups()
            family = families.get(name)
            if family is None:
                family = families[next(name[:-len(s)] for s in SUFFIXES if name.endswith(s))]
            pairs = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or ""))
            family.series.setdefault(name, set()).update(pairs)
            if "le" in pairs:
                family.bounds.add(float(pairs["le"]))
    return families


def queries(node):
    """Every PromQL text in a dashboard; a variable's label_values(metric, label) counts as one."""
    if isinstance(node, list):
        for child in node:
            yield from queries(child)
    elif isinstance(node, dict):
        for key, child in node.items():
            if key == "expr" or (key == "query" and isinstance(child, str) and "(" in child):
                yield re.sub(r"^label_values\((.*), (\w+)\)$", r"sum by (\2) (\1)", child)
            else:
                yield from queries(child)


def alert_expressions(text):
    """The expressions of rules.yml, on one line or as an indented block."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        match = re.match(r"( *)(?:- )?expr: *(.*)$", line)
        if match and match.group(2) not in ("|", ">", "|-", ">-"):
            yield match.group(2)
        elif match:
            block = []
            for inner in lines[number + 1:]:
                if inner.strip() and len(inner) - len(inner.lstrip()) <= len(match.group(1)):
                    break
                block.append(inner)
            yield "\n".join(block)


def references(expression):
    """The metrics of an expression, each with the labels it is matched by; and the grouping labels."""
    text = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    text = re.sub(r"\[[^\]]*\]", "", text)
    grouping = set()

    def take(match):
        grouping.update(re.findall(r"\w+", match.group(1)))
        return " "

    text = re.sub(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)", take, text)
    metrics = []
    for match in re.finditer(r"(?<![\w$.])([a-zA-Z_:][\w:]*)\s*(\{[^}]*\}|\()?", text):
        name, after = match.groups()
        if name in KEYWORDS or after == "(":
            continue
        metrics.append((name, set(re.findall(r"(\w+)\s*(?:=|!=|=~|!~)", after or ""))))
    # What stood between braces has been taken with its metric.
    return metrics, grouping


class MetricsTest(unittest.TestCase):
    programs = ()

    @classmethod
    def setUpClass(cls):
        longleafd, longleaf = cls.programs

        def client(server, *arguments):
            subprocess.run([longleaf, "--quiet", "--server", server.address, *arguments], check=True,
                           stdout=subprocess.DEVNULL, timeout=PROGRAM_SECONDS)

        with tempfile.TemporaryDirectory() as folder:
            store = os.path.join(folder, "store")
            with Server(longleafd, store) as server:
                client(server, "upload", os.path.join(MODEL, "document.txt"), "--id", "demo", "--wait")
                before = parse(server.scrape())
            with Server(longleafd, store) as server:
                client(server, "ask", "demo", "Where does the ship Sekara sail from?")
                client(server, "delete", "demo")
                after = parse(server.scrape())
        # Some families have their first sample with their first event.
        cls.families = {**before, **after}
        cls.samples = {}
        for families in (before, after):
            for family in families.values():
                for name, labels in family.series.items():
                    cls.samples.setdefault(name, set()).update(labels)

    def own(self):
        # prometheus-cpp exports a few of its own.
        return {n: f for n, f in self.families.items() if not n.startswith("exposer_")}

    def check(self, where, expressions):
        self.assertGreater(len(expressions), 5, where)
        for expression in expressions:
            with self.subTest(where=where, expression=expression):
                metrics, grouping = references(expression)
                self.assertTrue(metrics, "names no metric")
                known = set(SCRAPE_LABELS)
                for name, matched in metrics:
                    if name in SCRAPE_METRICS:
                        continue
                    self.assertIn(name, self.samples)
                    self.assertLessEqual(matched, self.samples[name] | SCRAPE_LABELS, name)
                    known |= self.samples[name]
                self.assertLessEqual(grouping, known)

    def test_dashboard(self):
        with open(DASHBOARD, encoding="utf-8") as file:
            self.check("dashboard", list(queries(json.load(file))))

    def test_alerts(self):
        with open(RULES, encoding="utf-8") as file:
            text = file.read()
        expressions = list(alert_expressions(text))
        self.assertEqual(len(expressions), len(re.findall(r"^ *- alert:", text, re.MULTILINE)))
        self.check("alerts", expressions)

    def test_promised(self):
        for name, (kind, labels) in PROMISED.items():
            with self.subTest(name):
                self.assertIn(name, self.families)
                self.assertEqual(self.families[name].type, kind)
                sample = name + "_count" if kind == "histogram" else name
                self.assertIn(sample, self.samples, "without a sample")
                self.assertEqual(self.samples[sample], labels)

    def test_conventions(self):
        self.assertGreaterEqual(len(self.own()), len(PROMISED))
        for name, family in self.own().items():
            with self.subTest(name):
                self.assertRegex(name, r"^longleaf_[a-z][a-z0-9_]*[a-z0-9]$")
                self.assertTrue(family.help)
                self.assertIn(family.type, ("counter", "gauge", "histogram"))
                self.assertEqual(name.endswith("_total"), family.type == "counter")
                self.assertFalse(ALIEN_UNITS & set(name.split("_")), "not a base unit")
                self.assertFalse(name.endswith(SUFFIXES), "taken by histograms")
                if family.type == "histogram":
                    self.assertRegex(name, r"_(seconds|bytes|tokens)$")
                labels = set().union(*[s for n, s in self.samples.items() if n in (
                    name, *(name + suffix for suffix in SUFFIXES))])
                self.assertFalse(UNBOUNDED_LABELS & labels)

    def test_prefill_buckets(self):
        for name in ("longleaf_prefill_seconds", "longleaf_request_seconds", "longleaf_queue_seconds"):
            finite = [b for b in self.families[name].bounds if b != float("inf")]
            self.assertGreaterEqual(max(finite), LONGEST_PREFILL_SECONDS, name)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: metrics_test.py LONGLEAFD LONGLEAF")
    MetricsTest.programs = tuple(os.path.abspath(program) for program in sys.argv[1:])
    unittest.main(argv=sys.argv[:1])
