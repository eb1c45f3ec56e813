"""Training: optimizer, compiled steps, training loop, checkpoints, and the run that writes a record."""
