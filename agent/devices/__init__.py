"""Where drives come from."""
