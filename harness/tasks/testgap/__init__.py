"""Services with gaps in their tests, to be filled with tests that kill mutants."""
