"""Generated C on emulated boards: build a firmware folder, feed it real inputs, and take outputs, counts, stack and faults.

`run(folder, board, inputs)` is all that tests and fault campaigns need; `edgerun board run` prints what it returns (docs/boards.md).
"""

from edgerun_tools.boards.errors import BoardError, FirmwareError, ToolMissing
from edgerun_tools.boards.manifest import Firmware
from edgerun_tools.boards.manifest import read as read_firmware
from edgerun_tools.boards.results import Results, Sample
from edgerun_tools.boards.runner import run
from edgerun_tools.boards.table import BOARDS, Board, board_of

__all__ = ["BOARDS", "Board", "BoardError", "Firmware", "FirmwareError", "Results", "Sample", "ToolMissing", "board_of", "read_firmware",
           "run"]
