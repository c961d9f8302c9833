"""Analyses of prompts, scores and masks: tensors and tables in, long pandas tables out."""
