"""From names on the command line to cells of the table: recipes, presets, and the runner of many cells."""
