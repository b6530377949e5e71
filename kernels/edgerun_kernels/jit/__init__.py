"""Python kernels: the readable definition of every kernel of the catalogue (docs/kernels.md)."""
