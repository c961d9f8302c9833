"""PruneBench: how well scores find what a prompt needs, where that is known. A file in `entries/` for each finder."""
