"""Training recipes of the model zoo: ``python -m edgerun_tools.train RECIPE`` (PyTorch needed, the `train` extra)."""
