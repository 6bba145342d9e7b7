"""eric-sse beside this package: the same random calls on both."""
