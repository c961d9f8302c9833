"""Measured comparisons with what users would do instead: one command each, the same work for all sides in one run."""
