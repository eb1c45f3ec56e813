"""Training: optimiser, compiled steps, loop, checkpoints, and the run that ends in a record."""
