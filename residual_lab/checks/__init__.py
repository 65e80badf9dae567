"""The checks of the exercises, a file a lesson: they run in the learner's notebook and name the likely mistake.

They help; they are not the grade of record, since a notebook's owner can change whatever runs in it.
"""
