"""The recipe of every model: one lab note per file, found by its name."""
