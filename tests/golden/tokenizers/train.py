"""Trains the small tokenizers of this folder. Run it here: python3 train.py

Not byte-reproducible across versions of sentencepiece; tests hold for any outcome.
"""
import pathlib
import random
import re

import sentencepiece

HERE = pathlib.Path(__file__).parent
MADE_UP = [
    "naïve café", "été à Noël", "größe straße", "привет мир", "данные файл", "文書 質問",
    "東京 京都", "αβγ δεζ", "ﬁne ﬂow", "Ⅷ ½ №5", "e\u0301te\u0301 o\u0308l", "x²+y²",
    "日本語の長い文書",
]


def training_text():
    document = (HERE / "../../../model/demo/document.txt").read_text()
    words = re.findall(r"[A-Za-z']+", document)
    choose = random.Random(1).choice
    yield from [line for line in document.split("\n") if line.strip()][:400]
    for i in range(300):
        yield " ".join(choose(words) for _ in range(8)) + " " + choose(MADE_UP)
        yield f"    if (a == b) {{  return x[{i}];  }}"
        yield f"=====  -----  ....  <b>{i}</b> [{i}]"


def train(name, lines, **options):
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_prefix=str(HERE / name), num_threads=1,
        hard_vocab_limit=False, minloglevel=2, **options)
    (HERE / f"{name}.vocab").unlink()


def main():
    lines = list(training_text())
    identity = dict(normalization_rule_name="identity")
    keep_spaces = dict(identity, remove_extra_whitespaces=False)
    train("bpe_bytes", lines, model_type="bpe", vocab_size=900, byte_fallback=True,
          allow_whitespace_only_pieces=True, character_coverage=.98, split_digits=True,
          **keep_spaces)
    train("bpe_unknown", lines, model_type="bpe", vocab_size=600, add_dummy_prefix=False,
          character_coverage=.98, **keep_spaces)
    train("bpe_symbols", lines, model_type="bpe", vocab_size=700, byte_fallback=True,
          user_defined_symbols=["<|im_start|>", "<|im_end|>", "a  b", "the"],
          control_symbols=["<ctl>"], **identity)
    train("unigram_bytes", lines, model_type="unigram", vocab_size=700, byte_fallback=True,
          user_defined_symbols=["<|user|>", "\n", "\n\n", "▁▁", "▁▁▁▁", "word"],
          control_symbols=["<ctl>", "@"], split_by_whitespace=False, max_sentencepiece_length=12,
          **keep_spaces)
    train("unigram_rules", lines, model_type="unigram", vocab_size=500,
          user_defined_symbols=["<|user|>", "[INST]", "▁▁", "10x", "ﬁ!"],
          control_symbols=["<ctl>"], normalization_rule_tsv=str(HERE / "rules.tsv"))


if __name__ == "__main__":
    main()
