#!/usr/bin/env python3
"""What the built-in model learns from must be true and clean: a fact's sentence holds its answer,
nothing kept for measuring is trained on, and filler does not speak of the document's things."""

from __future__ import annotations

import random
import re
import sys
import unittest
from pathlib import Path

MODEL = Path(__file__).resolve().parents[2] / "model/demo"
sys.path.insert(0, str(MODEL))

from training.catalogue import Catalogue, held_out, invented_name  # noqa: E402
from training.facts import Fact, FactMaker  # noqa: E402
from training.filler import Filler  # noqa: E402

CATALOGUE = Catalogue(MODEL / "facts.txt")


def drawn(
    seed: int, phrasings: str = "trained", test: bool = False
) -> tuple[FactMaker, list[Fact]]:
    maker = FactMaker(CATALOGUE, random.Random(seed), test, phrasings)
    return maker, maker.facts(40)


class CatalogueTest(unittest.TestCase):
    def test_every_placeholder_has_a_list(self) -> None:
        known = set(CATALOGUE.lists) | {"name", "digit", "letter"}
        for table in (CATALOGUE.lists, CATALOGUE.kinds):
            for name, alternatives in table.items():
                for alternative in alternatives:
                    for placeholder in re.findall(r"\{([^{}]*)\}", alternative):
                        if not re.fullmatch(r"\d+\.\.\d+", placeholder):
                            self.assertIn(placeholder, known, f"in {name}: {alternative}")

    def test_every_relation_can_be_stated_and_asked(self) -> None:
        for relation in CATALOGUE.relations:
            where = f"{relation.kinds} {relation.nouns}"
            self.assertIn(relation.values, CATALOGUE.lists, where)
            for kind in relation.kinds:
                self.assertIn(kind, CATALOGUE.kinds, where)
            for wanted in (False, True):
                self.assertTrue(any(p.held_out == wanted for p in relation.statements), where)
                self.assertTrue(any(p.held_out == wanted for p in relation.questions), where)
            for phrasing in relation.statements:
                self.assertTrue({"e", "v"} <= {p.lower() for _, p in phrasing.parts}, where)
            for phrasing in relation.questions:
                used = {p.lower() for _, p in phrasing.parts}
                self.assertTrue("e" in used and "v" not in used, where)

    def test_no_two_relations_of_a_kind_share_a_question(self) -> None:
        asked: dict[tuple[str, tuple], int] = {}
        for number, relation in enumerate(CATALOGUE.relations):
            for kind in relation.kinds:
                for phrasing in relation.questions:
                    key = (kind, tuple((text.lower(), p.lower()) for text, p in phrasing.parts))
                    if "n" not in {p for _, p in key[1]}:
                        self.assertEqual(
                            asked.setdefault(key, number), number, f"{kind}: {phrasing}"
                        )

    def test_names_are_split_between_training_and_measuring(self) -> None:
        rng = random.Random(1)
        for test in (False, True):
            for _ in range(500):
                self.assertEqual(held_out(invented_name(rng, test)), test)


class FactsTest(unittest.TestCase):
    def test_a_statement_holds_thing_and_answer_where_it_says(self) -> None:
        for seed in range(60):
            maker, facts = drawn(seed)
            self.assertEqual(len(facts), 40)
            for fact in facts:
                wording = maker.statement(fact)
                self.assertEqual(wording.text[slice(*wording.value)].lower(), fact.value.lower())
                self.assertEqual(wording.text[slice(*wording.thing)].lower(), fact.thing.lower())

    def test_a_question_names_the_thing_and_not_the_answer(self) -> None:
        for seed in range(60):
            maker, facts = drawn(seed)
            for fact in facts:
                wording = maker.question(fact)
                self.assertEqual(wording.text[slice(*wording.thing)].lower(), fact.thing.lower())
                self.assertIsNone(wording.value)

    def test_no_document_states_two_answers_to_one_question(self) -> None:
        for seed in range(100):
            _, facts = drawn(seed)
            self.assertEqual(len({(f.thing.lower(), id(f.relation)) for f in facts}), len(facts))

    def test_things_of_a_document_are_not_parts_of_one_another(self) -> None:
        for seed in range(60):
            _, facts = drawn(seed)
            things = sorted({f.thing.lower() for f in facts})
            for thing in things:
                self.assertEqual([t for t in things if thing in t], [thing])

    def test_what_is_unstated_is_unstated(self) -> None:
        for seed in range(60):
            maker, facts = drawn(seed)
            stated = {(f.thing, id(f.relation)) for f in facts}
            for _ in range(10):
                unstated = maker.unstated(facts)
                if unstated:
                    self.assertNotIn((unstated.thing, id(unstated.relation)), stated)

    def test_held_out_phrasings_are_not_trained(self) -> None:
        for seed in range(30):
            for phrasings in ("trained", "held-out"):
                maker, facts = drawn(seed, phrasings)
                for fact in facts:
                    own, generic = fact.relation.statements, CATALOGUE.generic.statements
                    chosen = maker._pick(own, generic, bool(fact.relation.nouns))
                    self.assertEqual(chosen.held_out, phrasings == "held-out")


class FillerTest(unittest.TestCase):
    def test_what_is_avoided_does_not_occur(self) -> None:
        filler = Filler(random.Random(3))
        plain = "".join(filler.piece() for _ in range(3000)).lower()
        self.assertIn("the", plain.split())  # common enough to be seen if it were not avoided
        self.assertTrue(any(city in plain for city in ("london", "berlin", "madrid")))
        filler.avoid(["London", "Berlin", "Madrid"])
        words = set()
        for _ in range(60):
            for piece in filler.passage():
                words |= set(re.findall(r"\w+", piece.lower()))
        self.assertFalse(words & {"london", "berlin", "madrid"})

    def test_equal_seeds_give_equal_text(self) -> None:
        one, other = Filler(random.Random(5)), Filler(random.Random(5))
        self.assertEqual([one.piece() for _ in range(500)], [other.piece() for _ in range(500)])


if __name__ == "__main__":
    unittest.main()
