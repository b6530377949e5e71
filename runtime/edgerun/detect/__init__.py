"""Are the features that a device sent those that its head computed? A detector beside the tail, run by edgerun's own engine."""

from edgerun.detect.about import COLUMNS, KEY, MODES, About, mode_of, output_of
from edgerun.detect.detector import Detector, Score

__all__ = ["COLUMNS", "KEY", "MODES", "About", "Detector", "Score", "mode_of", "output_of"]
