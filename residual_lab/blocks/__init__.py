"""The systems that the lessons are about, a file a family, with the names that their papers use."""
