"""A run on disk: its names, its rounds, its journal, its tickets."""
