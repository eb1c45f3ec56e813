"""The tasks of the Long Range Arena and generated probes, one module each; a new module here is a new task."""
