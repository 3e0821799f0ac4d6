"""Training examples: a document in tokens, and questions that branch off its end.

A row of the document sees the document before it; a row of a question sees the document and its
own question only, as the service's branches do.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field

import numpy as np
import sentencepiece

from training.attention_rules import cores_visible
from training.catalogue import Catalogue
from training.facts import NOT_STATED, PEOPLE, Fact, FactMaker, Wording

BOS, EOS = 1, 2
LONGEST_BRANCH = 64  # tokens of question and answer


@dataclass(frozen=True)
class Shape:
    """What the examples of one step look like."""

    document_tokens: int
    question_tokens: int  # room for the branches
    fact_share: tuple[float, float]  # of the document's tokens
    group: int  # 0: full attention
    window: int
    unstated: float  # share of the questions
    longest_gap: int  # positions skipped at random places; 0: none
    recall: float = 0.0  # share of documents that are bare "this is that" lists

    @property
    def tokens(self) -> int:
        return self.document_tokens + self.question_tokens


@dataclass
class Supervision:
    """Rows that should look at the tokens [begin, end): what attention of some heads is taught, and
    how much each of them counts."""

    row: list[int] = field(default_factory=list)
    begin: list[int] = field(default_factory=list)
    end: list[int] = field(default_factory=list)
    weight: list[float] = field(default_factory=list)

    def add(self, row: int, begin: int, end: int, weight: float = 1.0) -> None:
        self.row.append(row)
        self.begin.append(begin)
        self.end.append(end)
        self.weight.append(weight)


# What is supervised. An answer's row looks at the statement. The row that gives the answer's n-th
# token looks at that token in the document ("read n"), and the core token of its group is made
# mostly of it ("pool n"). The last tokens of a statement, and an answer's rows, look at the thing's
# name; the last tokens of a statement look at the answer in it. Any row may be asked for the token
# before it, or the one before that.
SLOTS = 9  # the last one stands for all further tokens of an answer
READS = tuple(f"read{n}" for n in range(SLOTS))
POOLS = tuple(f"pool{n}" for n in range(SLOTS))
TARGETS = ("statement", "thing", "value", "previous", "second", *READS, *POOLS)
_LOOKING_AWAY = 0.1  # weight: easy to learn, and the most frequent by far
TAUGHT_ANYWHERE = 24  # rows an example for the last two


@dataclass
class Example:
    tokens: np.ndarray  # [T]
    targets: np.ndarray  # [T]
    weights: np.ndarray  # [T], 0 where nothing is learned
    positions: np.ndarray  # [T], for the rotary embedding
    cores_visible: np.ndarray  # [T]
    branch_start: np.ndarray  # [T]
    answers: list[tuple[int, int, bool]]  # rows [begin, end) that give an answer, whether unstated
    supervision: dict[str, Supervision]


class Tokens:
    """The tokenizer with the places of its tokens in the text."""

    def __init__(self, model_file: str) -> None:
        self.processor = sentencepiece.SentencePieceProcessor(model_file=model_file)
        # The prompt's text stands behind the document, so it has no dummy space of its own.
        self._seam = len(self.processor.encode("x"))

    def encode(self, text: str) -> tuple[list[int], np.ndarray]:
        """Ids of `text` and, for each, the character after its last one."""
        table = self.processor.encode(text, return_type="offset_mapping")
        return table["ids"], np.array([end for _, end in table["offsets"]], np.int64)

    def encode_after(self, text: str) -> tuple[list[int], np.ndarray]:
        """The same for text that begins with a line break and goes on from other text."""
        ids, ends = self.encode("x" + text)
        return ids[self._seam :], ends[self._seam :] - 1

    def answer(self, text: str) -> list[int]:
        return self.processor.encode(text) + [EOS]


def _span(ends: np.ndarray, characters: tuple[int, int], first: int) -> tuple[int, int]:
    """Tokens that hold `characters`, the first token of `ends` being number `first`."""
    begin = int(np.searchsorted(ends, characters[0], "right"))
    end = int(np.searchsorted(ends, characters[1], "left")) + 1
    return first + begin, first + end


class ExampleMaker:
    """Not thread-safe; equal seeds give equal examples."""

    def __init__(
        self,
        catalogue: Catalogue,
        tokens: Tokens,
        filler,
        seed: int,
        test: bool = False,
        phrasings: str = "trained",
    ) -> None:
        self.catalogue, self.tokens, self.filler = catalogue, tokens, filler
        self.rng = random.Random(seed)
        self.test, self.phrasings = test, phrasings
        self.passage = iter(())

    # ---- the document

    def _piece(self) -> str:
        for piece in self.passage:
            return piece
        self.passage = iter(self.filler.passage())
        return self._piece()

    def _worded(self, maker: FactMaker, facts: list[Fact]) -> list[list[tuple[Fact, Wording]]]:
        """Statements in blocks that stay together: mostly one each, sometimes a thing's own lines."""
        rng, blocks, i = self.rng, [], 0
        while i < len(facts):
            run = [facts[i]]
            while i + len(run) < len(facts) and facts[i + len(run)].thing == run[0].thing:
                run.append(facts[i + len(run)])
            i += len(run)
            style = rng.random()
            if len(run) > 1 and style < 0.2:
                blocks.append(self._told(maker, run))
            elif style > 0.92 and all(f.relation.nouns for f in run):
                blocks.append(self._listed(run))
            else:
                blocks.extend([(fact, maker.statement(fact))] for fact in run)
        return blocks

    def _told(self, maker: FactMaker, run: list[Fact]) -> list[tuple[Fact, Wording]]:
        """The thing by its name first, then as he, she or it."""
        pronoun = self.rng.choice(("he", "she")) if run[0].kind in PEOPLE else "it"
        told = [(run[0], maker.statement(run[0]))]
        told += [(fact, maker.statement(fact, pronoun)) for fact in run[1:]]
        return told

    def _listed(self, run: list[Fact]) -> list[tuple[Fact, Wording]]:
        """A heading and a line for each of its facts."""
        mark, sign = self.rng.choice(("", "- ", "* ")), self.rng.choice((": ", " = ", " - ", ": "))
        listed = []
        for number, fact in enumerate(run):
            head = f"{fact.thing[:1].upper()}{fact.thing[1:]}\n" if number == 0 else ""
            line = f"{head}{mark}{self.rng.choice(fact.relation.nouns)}{sign}"
            wording = Wording(
                line + fact.value,
                (0, len(head) - 1) if head else None,
                (len(line), len(line) + len(fact.value)),
            )
            listed.append((fact, wording))
        return listed

    def _document(self, maker: FactMaker, shape: Shape):
        """Ids [D] of a document, the facts that it holds, and where in it they stand."""
        rng = self.rng
        wanted = max(2, int(shape.document_tokens * rng.uniform(*shape.fact_share) / 19))
        facts = maker.recall(wanted) if rng.random() < shape.recall else maker.facts(wanted)
        self.filler.avoid([fact.thing for fact in facts])  # it must not contradict them
        self.passage = itertools.islice(self.filler.passage(), rng.randint(0, 5), None)
        blocks = self._worded(maker, facts)
        statements = sum(len(w.text) for block in blocks for _, w in block)
        room = max(0, int(shape.document_tokens * 3.2) - statements)
        pieces: list[list[tuple[Fact | None, Wording]]] = []
        while room > 0:
            piece = self._piece()
            pieces.append([(None, Wording(piece))])
            room -= len(piece)
        rng.shuffle(blocks)
        for place in sorted((rng.randint(0, len(pieces)) for _ in blocks), reverse=True):
            pieces.insert(place, blocks.pop())
        text, placed = [], []
        length = 0
        for block in pieces:
            for number, (fact, wording) in enumerate(block):
                if length and not text[-1][-1:].isspace():  # filler ends with a gap of its own
                    listed = number > 0 and "\n" in block[0][1].text
                    text.append("\n" if listed else rng.choice(_GAPS))
                    length += len(text[-1])
                if fact is not None:
                    placed.append((fact, length, wording))
                text.append(wording.text)
                length += len(wording.text)
        ids, ends = self.tokens.encode("".join(text))
        while len(ids) < shape.document_tokens - 1:
            ids += self.tokens.processor.encode(self._piece())
        return [BOS] + ids[: shape.document_tokens - 1], ends, placed

    # ---- the whole

    def make(self, shape: Shape) -> Example:
        rng, limit = self.rng, shape.document_tokens
        maker = FactMaker(self.catalogue, rng, self.test, self.phrasings)
        ids, ends, placed = self._document(maker, shape)
        supervision = {name: Supervision() for name in TARGETS}
        spans: dict[int, tuple[tuple[int, int], tuple[int, int]]] = {}
        facts: list[Fact] = []
        for fact, at, wording in placed:
            thing_at, value_at = wording.shifted(at)
            whole = _span(ends, (at, at + len(wording.text)), 1)
            if whole[1] >= limit:
                continue
            value = _span(ends, value_at, 1)
            facts.append(fact)
            spans[id(fact)] = (whole, value)
            for row in range(max(value[0] + 1, whole[1] - 3), whole[1] + 1):
                if row >= value[1]:
                    supervision["value"].add(row, *value)
            if thing_at:
                thing = _span(ends, thing_at, 1)
                for row in range(max(thing[1], whole[1] - 6), whole[1] + 1):
                    supervision["thing"].add(row, *thing)

        for row in rng.sample(range(2, limit), TAUGHT_ANYWHERE):
            supervision["previous"].add(row, row - 1, row)
            supervision["second"].add(row, row - 2, row - 1)
        weights = [0.0] * limit
        for row in range(limit):
            if rng.random() < 0.04:
                weights[row] = 0.1
        targets = ids[1:] + [EOS]
        weights[-1] = 0.0
        tokens, own, starts, answers = list(ids), list(range(limit)), [0] * limit, []
        asked: list[Fact] = []
        while facts:
            if not asked:
                asked = facts[:]
                rng.shuffle(asked)
            fact = asked.pop()
            if fact.relation.kinds and rng.random() < shape.unstated:
                fact = maker.unstated(facts) or fact
            branch = self._branch(maker, fact)
            if branch is None:
                continue
            question, answer, thing = branch
            rows = question + answer[:-1]
            if len(tokens) + len(rows) > shape.tokens:
                break
            base, first = len(tokens), len(tokens) + len(question) - 1
            tokens += rows
            targets += rows[1:] + [EOS]
            weights += [0.0] * (len(question) - 1) + [1.0] * len(answer)
            own += range(limit, limit + len(rows))
            starts += [base] * len(rows)
            unstated = fact.value is NOT_STATED
            answers.append((first, first + len(answer), unstated))
            for k in range(len(answer) - 1):
                supervision["thing"].add(first + k, base + thing[0], base + thing[1])
            self._teach_reading(
                shape, supervision, first, len(answer) - 1, None if unstated else spans[id(fact)]
            )
        rest = shape.tokens - len(tokens)
        tokens += [EOS] * rest
        targets += [EOS] * rest
        weights += [0.0] * rest
        own += range(limit, limit + rest)
        starts += [shape.tokens - rest] * rest
        index = np.array(own)
        return Example(
            np.array(tokens),
            np.array(targets),
            np.array(weights, np.float32),
            index + self._gaps(shape)[np.minimum(index, limit)],
            cores_visible(index, shape.group, shape.window, limit),
            np.array(starts, np.int32),
            answers,
            supervision,
        )

    def _branch(self, maker: FactMaker, fact: Fact):
        """Ids of question and answer, and the tokens of the thing in the question."""
        wording = maker.question(fact)
        head = "\nQuestion: "
        question, ends = self.tokens.encode_after(f"{head}{wording.text}\nAnswer:")
        answer = self.tokens.answer(fact.value)
        if wording.thing is None or len(question) + len(answer) > LONGEST_BRANCH:
            return None
        thing_at, _ = wording.shifted(len(head))
        return question, answer, _span(ends, thing_at, 0)

    def _teach_reading(
        self,
        shape: Shape,
        supervision: dict[str, Supervision],
        first: int,
        length: int,
        found: tuple[tuple[int, int], tuple[int, int]] | None,
    ) -> None:
        """The heads that read an answer of `length` tokens, given by the rows from `first` on; `found`
        is where the document has the statement and the answer. A head whose turn it is not looks at
        the colon before the answer, and so does every head where there is nothing to read."""
        for k in range(length + 1):
            row, slot = first + k, min(k, SLOTS - 1)
            reading = found is not None and k < length
            for other in range(SLOTS):
                if not reading or other != slot:
                    supervision[READS[other]].add(row, first, first + 1, _LOOKING_AWAY)
            if not reading:
                continue
            statement, value = found
            supervision["statement"].add(row, *statement)
            place = value[1] - length + k  # both end with the same tokens
            supervision[READS[slot]].add(row, place, place + 1)
            if shape.group:
                last = place - place % shape.group + shape.group - 1
                if last < shape.document_tokens:
                    supervision[POOLS[slot]].add(last, place, place + 1)

    def _gaps(self, shape: Shape) -> np.ndarray:
        """[D + 1] what is added to the position of each token, and of what follows the document."""
        rng, gaps = self.rng, np.zeros(shape.document_tokens + 1, np.int64)
        if shape.longest_gap == 0:
            return gaps
        total = int(shape.longest_gap * rng.random() ** 2)
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(shape.document_tokens + 1)
            if shape.group:
                place -= place % shape.group
            gaps[place:] += int(total * rng.random() / 2)
        return gaps


_GAPS = (" ",) * 14 + ("\n", "\n", "\n\n", "\n\n")
