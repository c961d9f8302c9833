"""The shipped testbed: how its model was pretrained, and what its tasks are worth."""
