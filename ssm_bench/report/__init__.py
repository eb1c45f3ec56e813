"""From records to tables, figures and checks. Reads records only, and never imports JAX."""
