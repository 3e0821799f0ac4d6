#!/usr/bin/env python3
"""Makes tokenizer.model: byte-pair encoding over text as the training will see it.

python3 make_tokenizer.py --out FOLDER [--pieces 4096] [--documents 2500]
"""

from __future__ import annotations

import argparse
import random
import string
import tempfile
from pathlib import Path

import sentencepiece

from training.catalogue import Catalogue, invented_name
from training.facts import NOT_STATED, FactMaker
from training.filler import Filler

HERE = Path(__file__).resolve().parent

_ACCENTED = "áàâäãåæçéèêëíîïñóôöõøœßúûüÿÁÄÅÇÉÖØÜ€£°–—‘’“”…"


def corpus(documents: int, seed: int):
    """Lines of statements, questions, answers and filler."""
    rng = random.Random(seed)
    catalogue, filler = Catalogue(HERE / "facts.txt"), Filler(random.Random(seed))
    for _ in range(documents):
        maker = FactMaker(catalogue, rng)
        for fact in maker.facts(12):
            yield maker.statement(fact).text
            yield f"Question: {maker.question(fact).text}"
            yield f"Answer: {fact.value if rng.random() < 0.95 else NOT_STATED}"
        for number, piece in enumerate(filler.passage()):
            if number == 20:
                break
            yield piece
        # every thing and word alike, however rare the relation
        yield " ".join(catalogue.expand("{quality} {thing}", rng, False) for _ in range(6))
        yield " ".join(invented_name(rng, False) for _ in range(4))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True)
    parser.add_argument("--pieces", type=int, default=4096)
    parser.add_argument("--documents", type=int, default=2500)
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "corpus.txt"
        with open(text, "w", encoding="utf-8") as file:
            for line in corpus(a.documents, 1):
                file.writelines(part + "\n" for part in line.split("\n") if part)
        sentencepiece.SentencePieceTrainer.train(
            input=str(text),
            model_prefix=str(Path(a.out) / "tokenizer"),
            vocab_size=a.pieces,
            model_type="bpe",
            byte_fallback=True,
            split_digits=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=True,
            unk_id=0,
            bos_id=1,
            eos_id=2,
            pad_id=-1,
            character_coverage=0.9999,
            num_threads=2,
            input_sentence_size=200000,
            shuffle_input_sentence=True,
            max_sentence_length=4000,
            required_chars=string.ascii_letters + string.digits + string.punctuation + _ACCENTED,
            minloglevel=2,
        )
    (Path(a.out) / "tokenizer.vocab").unlink()


if __name__ == "__main__":
    main()
