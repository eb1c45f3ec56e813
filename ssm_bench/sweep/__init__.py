"""Sweeps: recipes, presets, plans, and the execution of many cells of the table."""
