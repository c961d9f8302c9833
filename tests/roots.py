"""Where the checkout lies, for tests at any depth."""

from pathlib import Path

TESTS = Path(__file__).parent
ROOT = TESTS.parent
#: Real models and data beside the checkout, where there are any.
SHARED = ROOT.parent / "shared"
