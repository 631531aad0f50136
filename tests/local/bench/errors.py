class BenchmarkError(Exception):
    """A job did not do what was to be measured."""
