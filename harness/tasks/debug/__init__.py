"""A todo list with ten planted bugs, to be repaired from its failing tests."""
