"""Values and state tables of the domain; no I/O."""
