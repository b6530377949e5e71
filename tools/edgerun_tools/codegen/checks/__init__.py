"""Checks in generated C: what a plan asks for, as constants, calls and a report (docs/codegen.md)."""
