"""Draws facts for one document, and puts them and the questions about them into words."""

from __future__ import annotations

import random
from dataclasses import dataclass

from training.catalogue import Catalogue, Phrasing, Relation, capitalised, invented_name

NOT_STATED = "not stated"

# Kinds that a later sentence calls he or she; all others are it.
PEOPLE = frozenset("person guest student patient folk landlord contact hero".split())

_LEADS = (
    "Note that",
    "By the way,",
    "As far as we know,",
    "It is well known that",
    "Remember:",
    "According to the record,",
    "Please note:",
    "We were told that",
    "FYI,",
    "In short,",
    "As agreed,",
    "I think",
    "It turned out that",
    "Everyone says that",
    "Update:",
    "Also,",
    "At that time",
    "To be clear,",
    "As of today,",
    "On the other hand,",
    "Meanwhile,",
    "-",
    "*",
    "1.",
    "2)",
    "Reminder:",
    "They say",
    "Do not forget that",
    "In fact,",
    "Luckily,",
)
_TRAILS = (
    ", as everybody knows",
    ", I think",
    " by the way",
    ", it seems",
    " these days",
    ", they say",
    ", as agreed",
    " for now",
    ", which surprised nobody",
    ", according to the letter",
    " if I remember right",
    ", and that will not change",
    " (see the notes)",
    ", so please write it down",
    ", at least this year",
    ", and everyone was content",
    " at the moment",
    ", nothing more",
)
_SMALL_FIRST_WORDS = frozenset(
    "The A An You To For In At On It My Our Your There As By His Her Their This That We They If".split()
)


_RECALL_WORDS = (
    "{name}",
    "{name}",
    "{thing}",
    "{quality}",
    "{10..9999}",
    "{letter}{digit}{letter}",
)
_RECALL = Relation(
    [],
    [],
    "",
    [Phrasing.parse(t, False) for t in ("{E} is {v}.", "{E}: {v}.", "{E} = {v}.")],
    [Phrasing.parse(t, False) for t in ("{E}?", "{E} is what?", "What is {e}?")],
)


@dataclass(frozen=True)
class Fact:
    relation: Relation
    kind: str
    thing: str
    value: str


@dataclass
class Wording:
    """A sentence with the places, in characters, of the thing and of the answer in it."""

    text: str
    thing: tuple[int, int] | None = None
    value: tuple[int, int] | None = None

    def shifted(self, by: int) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
        move = lambda span: None if span is None else (span[0] + by, span[1] + by)
        return move(self.thing), move(self.value)


def _fill(phrasing: Phrasing, fact: Fact, noun: str, thing: str) -> Wording:
    words = {
        "e": thing,
        "E": capitalised(thing),
        "v": fact.value,
        "V": capitalised(fact.value),
        "n": noun,
        "N": capitalised(noun),
    }
    wording = Wording("")
    for literal, placeholder in phrasing.parts:
        wording.text += literal
        begin = len(wording.text)
        wording.text += words.get(placeholder, "")
        if placeholder in ("e", "E"):
            wording.thing = (begin, len(wording.text))
        elif placeholder in ("v", "V"):
            wording.value = (begin, len(wording.text))
    return wording


class FactMaker:
    """Facts of one document: groups that share relations and things, so that neither alone is enough.

    phrasings: "trained" or "held-out" or "all". Not thread-safe.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        rng: random.Random,
        test: bool = False,
        phrasings: str = "trained",
    ) -> None:
        self.catalogue, self.rng, self.test, self.phrasings = catalogue, rng, test, phrasings
        self.kinds = [
            k for k, relations in catalogue.by_kind.items() for _ in range(2 + len(relations))
        ]
        self.value_lists = sorted({r.values for r in catalogue.relations})
        self.things: set[str] = set()

    # ---- facts

    def facts(self, count: int) -> list[Fact]:
        """`count` facts about things that no other call of this maker knows."""
        rng, out = self.rng, []
        seen: set[tuple[int, str]] = set()
        for _ in range(20 * count + 20):
            if len(out) >= count:
                break
            kind = rng.choice(self.kinds)
            known = self.catalogue.by_kind[kind]
            relations = rng.sample(known, min(len(known), rng.choice((1, 1, 2, 2, 3, 4))))
            if rng.random() < 0.25:
                relations.append(self._open_relation(kind))
            things = [
                t for t in (self._new_thing(kind) for _ in range(rng.choice((1, 2, 2, 3, 4)))) if t
            ]
            for thing in things:
                for relation in relations:
                    if (
                        rng.random() < 0.85
                        and len(out) < count
                        and (id(relation), thing) not in seen
                    ):
                        seen.add((id(relation), thing))
                        out.append(
                            Fact(
                                relation,
                                kind,
                                thing,
                                self.catalogue.value(relation, rng, self.test),
                            )
                        )
        return out

    def recall(self, count: int) -> list[Fact]:
        """`count` pairs of some words each, with no relation to know: matching and copying alone."""
        words = lambda most: " ".join(
            self.catalogue.expand(self.rng.choice(_RECALL_WORDS), self.rng, self.test)
            for _ in range(self.rng.randint(1, most))
        )
        facts = []
        for _ in range(count):
            thing = words(2)
            if not any(thing.lower() in t or t in thing.lower() for t in self.things):
                self.things.add(thing.lower())
                facts.append(Fact(_RECALL, "", thing, words(3)))
        return facts

    def _new_thing(self, kind: str) -> str | None:
        rng = self.rng
        if rng.random() < 0.06:
            thing = self.catalogue.expand("the {quality} {thing}", rng, self.test)
        elif rng.random() < 0.04:
            thing = invented_name(rng, self.test)
        else:
            thing = self.catalogue.thing(kind, rng, self.test)
        small = thing.lower()
        if any(small in other or other in small for other in self.things):
            return None
        self.things.add(small)
        return thing

    def _open_relation(self, kind: str) -> Relation:
        """A relation nobody has heard of: only its words tell it from others."""
        noun = self.catalogue.expand(
            self.rng.choice(("{thing}", "{quality} {thing}", "{thing} {thing}")),
            self.rng,
            self.test,
        )
        return Relation([kind], [noun], self.rng.choice(self.value_lists))

    # ---- words

    def _pick(self, own: list[Phrasing], generic: list[Phrasing], has_noun: bool) -> Phrasing:
        usable = lambda options: [
            p
            for p in options
            if self.phrasings == "all" or p.held_out == (self.phrasings == "held-out")
        ]
        mine, common = usable(own), usable(generic) if has_noun else []
        if mine and (not common or self.rng.random() < 0.65):
            return self.rng.choice(mine)
        return self.rng.choice(common or mine or own or generic)

    def statement(self, fact: Fact, pronoun: str = "") -> Wording:
        """One sentence that states `fact`, sometimes dressed; of `pronoun` where its form allows."""
        rng, relation = self.rng, fact.relation
        phrasing = self._pick(
            relation.statements, self.catalogue.generic.statements, bool(relation.nouns)
        )
        thing = pronoun if pronoun and phrasing.begins_with_thing() else ""
        noun = rng.choice(relation.nouns) if relation.nouns else ""
        wording = _fill(phrasing, fact, noun, thing or fact.thing)
        wording.text = capitalised(wording.text)
        if rng.random() < 0.08:
            lead = rng.choice(_LEADS)
            text = wording.text
            if text.split(" ", 1)[0] in _SMALL_FIRST_WORDS and lead[-1] not in ".:-*)":
                text = text[0].lower() + text[1:]
            thing_at, value_at = wording.shifted(len(lead) + 1)
            wording = Wording(f"{lead} {text}", thing_at, value_at)
        if rng.random() < 0.07 and wording.text.endswith("."):
            wording.text = wording.text[:-1] + rng.choice(_TRAILS) + "."
        if rng.random() < 0.06 and wording.text.endswith("."):
            wording.text = wording.text[:-1] + rng.choice(("", "!", ";", " ."))
        return wording

    def question(self, fact: Fact) -> Wording:
        relation = fact.relation
        phrasing = self._pick(
            relation.questions, self.catalogue.generic.questions, bool(relation.nouns)
        )
        noun = self.rng.choice(relation.nouns) if relation.nouns else ""
        wording = _fill(phrasing, fact, noun, fact.thing)
        wording.text = capitalised(wording.text)
        if self.rng.random() < 0.06:
            wording.text = wording.text.lower().rstrip("?")
        return wording

    def unstated(self, facts: list[Fact]) -> Fact | None:
        """A question's worth of something that `facts` does not say, though it says its like."""
        rng = self.rng
        have = {(f.thing, id(f.relation)) for f in facts}
        for _ in range(10):
            fact = rng.choice(facts)
            if rng.random() < 0.55:
                thing = self._new_thing(fact.kind)
                if thing:
                    return Fact(fact.relation, fact.kind, thing, NOT_STATED)
            else:
                relation = rng.choice(self.catalogue.by_kind[fact.kind])
                if (
                    fact.thing,
                    id(relation),
                ) not in have and relation.values != fact.relation.values:
                    return Fact(relation, fact.kind, fact.thing, NOT_STATED)
        return None
