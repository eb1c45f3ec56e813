"""The tasks of the Long Range Arena, one module each; a new module here is a new task."""
