"""The testbed of open answers: a second tiny encoder-decoder, and tasks whose answers are several words to write."""

from pathlib import Path

#: The folder of the shipped model, in the layout `from_pretrained` reads.
MODEL_PATH = Path(__file__).parent / "model"
