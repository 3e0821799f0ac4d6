"""Filler: text of many kinds, generated from grammars, to stand between the facts."""

from training.filler.generator import HELD_OUT_STYLES, STYLES, Filler

__all__ = ["HELD_OUT_STYLES", "STYLES", "Filler"]
