"""Fault-injection campaigns on the engine that ships (docs/fault-campaigns.md).

plan → what to hit (`models`, `places`, `plan`, `worst`); trial → one injection and its class (`target`, `trial`); running them so that
crashes and hangs are results, not accidents (`isolate`, `worker`, `local`, `cluster`); keeping them (`store`); reading them (`stats`,
`tables`, `report`).
"""
