"""From settings to a finished run: the one place that wires the parts."""
