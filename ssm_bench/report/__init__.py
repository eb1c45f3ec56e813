"""Tables, figures and checks of records. Reads only records and never imports JAX."""
