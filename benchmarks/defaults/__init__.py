"""What the default settings should be, measured: rates, updates, batch sizes and pieces on five models."""
