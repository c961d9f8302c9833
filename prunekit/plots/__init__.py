"""Figures: a table in, a matplotlib picture out; nothing is computed here."""
