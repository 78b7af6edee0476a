"""Confined execution of what models write: one file per back end, chosen by what it was measured to hold."""
