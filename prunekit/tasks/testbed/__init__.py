"""The embedded testbed: a tiny pretrained encoder-decoder and its tasks, whose right answers are known."""

from pathlib import Path

#: The folder of the shipped model, in the layout `from_pretrained` reads.
MODEL_PATH = Path(__file__).parent / "model"
