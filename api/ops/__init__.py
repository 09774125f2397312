"""Health, metrics, and the state of the listeners; see docs/operate/metrics.md."""
