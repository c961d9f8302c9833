"""prunekit: train, score, prune and analyse soft prompts on frozen language models."""

__version__ = "0.1.0"
