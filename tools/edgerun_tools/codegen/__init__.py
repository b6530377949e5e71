"""`edgerun codegen`: a plan as C99 for microcontrollers (docs/codegen.md)."""
