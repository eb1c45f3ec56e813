"""Training: optimizer, compiled steps, loop, checkpoints, and the run that ends in a record."""
