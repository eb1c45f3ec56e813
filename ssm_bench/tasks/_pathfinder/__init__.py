"""The Pathfinder generator: variants, stamps (what a dash looks like), the compiled search, sets and their statistics."""
