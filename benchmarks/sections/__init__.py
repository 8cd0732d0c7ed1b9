"""What is measured: each section is a function from a `Setting` to rows, and its docstring stands over its table."""
