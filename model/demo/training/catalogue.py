"""The kinds of facts that documents are made of: reads facts.txt and expands its phrasings.

The format is described at the head of facts.txt; `longleaf-eval needle` reads the same file.
"""

from __future__ import annotations

import random
import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)$")

_ONSETS = "b br c ch cl d dr f fl g gl gr h j k kl kr l m n p pl pr qu r s sc sh sk sl sp st t th tr v w y z".split()
_VOWELS = "a e i o u a e i o u ai ea ee ia io oa oo ou y".split()
_CODAS = "b ck d f g k l ll m n nd ng nt p r rd rk rn rt s sh ss st t th v x z".split() + [""] * 14
_ENDINGS = (
    """a o i en er el ow ett ard ford ham ley mere well ton stead dale brook ridge vale ina son sen
ski sky ova ez ian ini elli oni ard eau wick worth field man stein berg mann hofer ura moto ka shi ong
in ur ash esh it al os is us um ia ora ene ell and im ul""".split()
)


def held_out(name: str) -> bool:
    """Whether an invented name is kept from training: one in eight is, by its checksum."""
    return zlib.crc32(name.encode()) % 8 == 0


def invented_name(rng: random.Random, test: bool) -> str:
    """A name of one to three syllables, of the training or the held-out part."""
    while True:
        name = rng.choice(_ONSETS) if rng.random() < 0.85 else ""
        for _ in range(rng.choice((0, 0, 1, 1, 1, 2))):
            name += rng.choice(_VOWELS) + rng.choice(_CODAS)
        name += (
            rng.choice(_VOWELS) + rng.choice(_CODAS) if rng.random() < 0.3 else rng.choice(_ENDINGS)
        )
        if 4 <= len(name) <= 10 and held_out(name.capitalize()) == test:
            return name.capitalize()


@dataclass(frozen=True)
class Phrasing:
    """Text with placeholders, cut into literal text and the letters of {e} {E} {v} {V} {n} {N}."""

    parts: tuple[tuple[str, str], ...]  # (literal, placeholder or "")
    held_out: bool

    @classmethod
    def parse(cls, text: str, is_held_out: bool) -> Phrasing:
        pieces = _PLACEHOLDER.split(text)
        parts = [
            (pieces[i], pieces[i + 1] if i + 1 < len(pieces) else "")
            for i in range(0, len(pieces), 2)
        ]
        return cls(tuple(parts), is_held_out)

    def begins_with_thing(self) -> bool:
        """Whether a pronoun could stand for the thing: "{E} is ...", not "{E}'s ..."."""
        return self.parts[0] == ("", "E") and len(self.parts) > 1 and self.parts[1][0][:1] == " "


@dataclass
class Relation:
    kinds: list[str]
    nouns: list[str]
    values: str  # the list that answers come from
    statements: list[Phrasing] = field(default_factory=list)
    questions: list[Phrasing] = field(default_factory=list)


def capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


class Catalogue:
    """facts.txt in memory. Raises ValueError with the line number for what it cannot read."""

    def __init__(self, path: Path) -> None:
        self.lists: dict[str, list[str]] = {}
        self.kinds: dict[str, list[str]] = {}
        self.relations: list[Relation] = []
        self.generic = Relation([], [], "")
        current: Relation | None = None
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            word, _, rest = line.partition(" ")
            if word in ("list", "kind"):
                name, _, alternatives = rest.partition("=")
                name = name.strip().removesuffix("+").strip()
                table = self.lists if word == "list" else self.kinds
                table.setdefault(name, []).extend(a.strip() for a in alternatives.split(" | "))
            elif word == "relation":
                parts = [part.strip() for part in rest.split(" : ")]
                if len(parts) != 3:
                    raise ValueError(f"{path}:{number}: a relation is KINDS : nouns : LIST")
                current = Relation(
                    [k.strip() for k in parts[0].split(",")],
                    [n.strip() for n in parts[1].split("|") if n.strip()],
                    parts[2],
                )
                self.relations.append(current)
            elif word == "generic":
                current = self.generic
            elif word in ("s", "s*", "q", "q*") and current is not None:
                phrasing = Phrasing.parse(rest.strip(), word.endswith("*"))
                (current.statements if word[0] == "s" else current.questions).append(phrasing)
            else:
                raise ValueError(f"{path}:{number}: unknown entry {word!r}")
        self.by_kind: dict[str, list[Relation]] = {}
        for relation in self.relations:
            for kind in relation.kinds:
                self.by_kind.setdefault(kind, []).append(relation)

    def expand(self, text: str, rng: random.Random, test: bool) -> str:
        """Replaces every placeholder of `text` by a random expansion."""
        pieces = _PLACEHOLDER.split(text)
        for i in range(1, len(pieces), 2):
            pieces[i] = self._one(pieces[i], rng, test)
        return "".join(pieces)

    def _one(self, name: str, rng: random.Random, test: bool) -> str:
        if name == "name":
            return invented_name(rng, test)
        if name == "digit":
            return rng.choice("0123456789")
        if name == "letter":
            return rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
        span = _RANGE.match(name)
        if span:
            return str(rng.randint(int(span[1]), int(span[2])))
        return self.expand(rng.choice(self.lists[name]), rng, test)

    def thing(self, kind: str, rng: random.Random, test: bool) -> str:
        return self.expand(rng.choice(self.kinds[kind]), rng, test)

    def value(self, relation: Relation, rng: random.Random, test: bool) -> str:
        return self._one(relation.values, rng, test)
