"""Names that the grader and its pytest process share. Importing them costs nothing."""

PROVISIONER = "residual-lab-grading"
EVENTS = "RESIDUAL_LAB_GRADE_EVENTS"
"""Environment variable: the file that takes a line for each outcome."""
OUTPUT = "RESIDUAL_LAB_GRADE_OUTPUT"
"""Environment variable: bytes that a kernel may send in one cell."""
ANSWER, GRADE, CHECK = "answer", "grade", "check"
"""Ids of the cells whose outcome is told apart."""
