"""Compiled kernels of the table: index, rows, optimizer steps."""
