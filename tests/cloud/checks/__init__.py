"""What is looked at in a stack: each module has a `look`, and the decisions as functions of plain values."""
