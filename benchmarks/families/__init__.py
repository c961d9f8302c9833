"""Whether prunekit computes what the user's model computes, tried on every architecture that transformers has."""
