"""Ways to run a plan: python (the readable definition) and engine (C++)."""
