"""The Pathfinder generator: variants, stamps (how a dash looks), the compiled search, sets, statistics."""
