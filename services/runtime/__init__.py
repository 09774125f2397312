"""The common part of all processes: settings, logs, clocks, tasks, masking. It imports no other package of services."""
