"""A small language of grammars, compiled to closures, from which the filler text is made.

A grammar is text. A line at the left margin that ends in a colon opens a rule; every indented line
after it is one alternative, and all of them are equally likely; a line indented deeper goes on
with the alternative before it:

    person:
      the [old|young] {role}
      {a adj} {role}

`{rule}` stands for what another rule gives, `[x|y|]` for one of its parts, `{3..40}` for a whole
number (`{0..59#2}` with two digits), `\\n` for a line break; a backslash before `{ } [ ] |` makes
it plain. A reference may carry forms: `{^rule}` with a capital, `{a rule}` with "a" or "an" before
it, and `{noun.s}`, `{verb.es}`, `{verb.ed}`, `{verb.en}`, `{verb.ing}` inflected. Lists of words
are rules as well.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from training.filler.english import INFLECTIONS, capitalized, with_article


@dataclass(frozen=True)
class Person:
    """Somebody whom a passage mentions, with the words that stand for them."""

    first: str
    surname: str
    title: str
    he: str
    his: str
    him: str


class Voice:
    """Where chance comes from, and whom and what one passage keeps coming back to."""

    __slots__ = ("random", "rng", "cast", "towns", "last")

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.random = rng.random
        self.cast: list[Person] = []
        self.towns: list[str] = []
        self.last: Person | None = None

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.random() < probability

    def number(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + int(self.random() * (high - low + 1))

    def pick(self, items):
        """One of a non-empty sequence."""
        return items[int(self.random() * len(items))]

    def person(self) -> Person:
        """One of the cast, to whom the pronouns refer from now on."""
        self.last = person = self.cast[int(self.random() * len(self.cast))]
        return person


Node = Callable[[Voice], str]


def _words(words: list[str]) -> Node:
    count = len(words)
    return lambda voice: words[int(voice.random() * count)]


def _choice(nodes: list[Node]) -> Node:
    if len(nodes) == 1:
        return nodes[0]
    return lambda voice: nodes[int(voice.random() * len(nodes))](voice)


def _literal(text: str) -> Node:
    return lambda voice: text


def _sequence(pattern: str, nodes: list[Node]) -> Node:
    if not nodes:
        return _literal(pattern % ())
    if pattern == "%s":
        return nodes[0]
    if len(nodes) == 1:
        only = nodes[0]
        return lambda voice: pattern % only(voice)
    return lambda voice: pattern % tuple([node(voice) for node in nodes])


def _number(spec: str) -> Node:
    spec, _, width = spec.partition("#")
    low, high = (int(end) for end in spec.split(".."))
    count, digits = high - low + 1, int(width or 0)
    if digits:
        return lambda voice: str(low + int(voice.random() * count)).zfill(digits)
    return lambda voice: str(low + int(voice.random() * count))


class Grammar:
    """Compiled rules. `grammar["rule"](voice)` gives one text of a rule.

    `lists` are rules of plain words, `builtin` rules written in Python, and `texts` grammars in the
    language above. A rule that is used but not defined, or defined twice, raises ValueError.
    """

    def __init__(self, lists: Mapping[str, list[str]], builtin: Mapping[str, Node],
                 texts: Iterable[str]) -> None:
        self._lists = dict(lists)
        self._nodes: dict[str, Node] = dict(builtin)
        sources: dict[str, list[str]] = {}
        for text in texts:
            for name, alternatives in _read(text).items():
                if name in sources or name in self._lists or name in self._nodes:
                    raise ValueError(f"rule {name} is defined twice")
                sources[name] = alternatives
        for name, words in self._lists.items():
            self._nodes[name] = _words(words)
        # Rules refer to each other in circles, so each gets its node before any is compiled.
        pending: dict[str, list[Node]] = {name: [] for name in sources}
        for name, nodes in pending.items():
            self._nodes[name] = self._late(nodes)
        for name, alternatives in sources.items():
            for alternative in alternatives:
                node, end = self._parse(alternative, 0, "")
                if end != len(alternative):
                    raise ValueError(f"rule {name}: stray bracket in {alternative!r}")
                pending[name].append(node)

    def __getitem__(self, name: str) -> Node:
        if name not in self._nodes:
            raise ValueError(f"rule {name} is not defined")
        return self._nodes[name]

    @staticmethod
    def _late(nodes: list[Node]) -> Node:
        return lambda voice: nodes[int(voice.random() * len(nodes))](voice)

    def _parse(self, text: str, at: int, stops: str) -> tuple[Node, int]:
        """Compiles text from `at` to one of the characters of stops, and says where it ended."""
        pattern: list[str] = []
        nodes: list[Node] = []
        while at < len(text) and text[at] not in stops:
            char = text[at]
            if char == "\\":
                at += 1
                pattern.append("\n" if text[at] == "n" else text[at])
            elif char == "{":
                close = text.index("}", at)
                nodes.append(self._reference(text[at + 1:close]))
                pattern.append("%s")
                at = close
            elif char == "[":
                options: list[Node] = []
                while text[at] != "]":
                    option, at = self._parse(text, at + 1, "|]")
                    options.append(option)
                nodes.append(_choice(options))
                pattern.append("%s")
            else:
                pattern.append("%%" if char == "%" else char)
            at += 1
        return _sequence("".join(pattern), nodes), at

    def _reference(self, spec: str) -> Node:
        if ".." in spec:
            return _number(spec)
        forms: list[Callable[[str], str]] = []
        upper = spec.startswith("^")
        spec = spec.removeprefix("^")
        article = spec.startswith("a ")
        name, *inflections = spec.removeprefix("a ").split(".")
        forms += [INFLECTIONS[inflection] for inflection in inflections]
        if article:
            forms.append(with_article)
        if upper:
            forms.append(capitalized)
        if name in self._lists:
            words = self._lists[name]
            for form in forms:
                words = [form(word) for word in words]
            return _words(words)
        node = self[name]
        for form in forms:
            node = self._formed(node, form)
        return node

    @staticmethod
    def _formed(node: Node, form: Callable[[str], str]) -> Node:
        return lambda voice: form(node(voice))


def _read(text: str) -> dict[str, list[str]]:
    rules: dict[str, list[str]] = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        if line[0] != " ":
            name = line.rstrip().removesuffix(":")
            if name in rules:
                raise ValueError(f"rule {name} is defined twice")
            rules[name] = []
        elif line.startswith("      "):
            before = rules[name][-1]
            rules[name][-1] = before + ("" if before.endswith("|") else " ") + line.strip()
        else:
            rules[name].append(line.strip())
    return rules
