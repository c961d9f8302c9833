"""The shipped testbed of open answers: how its model was pretrained, and what its tasks are worth."""
