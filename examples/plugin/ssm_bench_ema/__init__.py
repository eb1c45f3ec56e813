"""A plug-in of ssm-bench: one mixer and one task."""
